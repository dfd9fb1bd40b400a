//! The cluster's zone: which names exist and what they mean. Pure.

use super::reverse;
use crate::proxy::table::{Endpoint, Service, ServiceName, Slice, Table};
use hickory_proto::rr::RecordType;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// The zone as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Zone<'a> {
    /// `cluster.local`.
    pub domain: &'a str,
    /// Services and endpoints.
    pub table: &'a Table,
    /// The name server's own address.
    pub server: IpAddr,
    /// First address and prefix length of the Services' range: addresses in it that nobody has
    /// have no name anywhere.
    pub services: (Ipv4Addr, u8),
}

/// Where a service is found: one SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Port.
    pub port: u16,
    /// Name of the host.
    pub host: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What the zone says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The name is not in this zone.
    Elsewhere,
    /// It would be, but does not exist.
    Missing,
    /// It exists.
    Known(Facts),
}

impl From<Option<Facts>> for Found {
    fn from(facts: Option<Facts>) -> Self {
        facts.map_or(Self::Missing, Self::Known)
    }
}

/// What is known of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Addresses, each once.
    pub addresses: Vec<IpAddr>,
    /// Where it is served, if asked for.
    pub services: Vec<Target>,
    /// Another name for it.
    pub alias: Option<String>,
    /// Text.
    pub text: Option<String>,
    /// Names of an address.
    pub names: Vec<String>,
    /// Name servers.
    pub servers: Vec<String>,
}

impl Facts {
    fn text(text: &str) -> Self {
        Self {
            text: Some(text.to_owned()),
            ..Self::default()
        }
    }

    fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut seen = BTreeSet::new();
        let addresses = addresses.into_iter().filter(|ip| seen.insert(*ip));
        Self {
            addresses: addresses.collect(),
            ..Self::default()
        }
    }
}

impl Zone<'_> {
    /// Facts about a name, which is lower case and without its last dot, as far as they matter to
    /// a question for `kind`.
    pub fn look_up(&self, name: &str, kind: RecordType) -> Found {
        if let Some(address) = reverse::address(name) {
            return self.reverse(address);
        }
        if name == self.domain {
            let servers = vec![self.server_name()];
            return Found::Known(Facts {
                servers,
                ..Facts::default()
            });
        }
        let inside = name.strip_suffix(self.domain);
        let Some(inside) = inside.and_then(|name| name.strip_suffix('.')) else {
            return Found::Elsewhere;
        };
        let labels: Vec<&str> = inside.rsplit('.').collect();
        let exists = |known: bool| known.then(Facts::default);
        let facts = match labels.as_slice() {
            ["dns-version"] => Some(Facts::text("1.1.0")),
            ["svc" | "pod" | "dns"] => exists(true),
            ["dns", "ns"] => Some(Facts::addresses([self.server])),
            ["svc" | "pod", namespace] => exists(self.table.has_namespace(namespace)),
            ["svc", namespace, service, rest @ ..] => {
                let name = ((*namespace).to_owned(), (*service).to_owned());
                let service = self.table.service(&name);
                service.and_then(|service| self.service(&name, service, rest, kind))
            }
            ["pod", namespace, dashed] if self.table.has_namespace(namespace) => {
                undashed(dashed).map(|ip| Facts::addresses([ip]))
            }
            _ => None,
        };
        facts.into()
    }

    /// The name of the name server.
    pub fn server_name(&self) -> String {
        format!("ns.dns.{}", self.domain)
    }

    fn service(
        &self,
        name: &ServiceName,
        service: &Service,
        rest: &[&str],
        kind: RecordType,
    ) -> Option<Facts> {
        if service.spec.kind == "ExternalName" {
            return if rest.is_empty() {
                alias(service)
            } else {
                None
            };
        }
        match rest {
            [] => self.whole(name, service, kind),
            [protocol @ ("_tcp" | "_udp" | "_sctp")] => {
                let mut ports = service.spec.ports.iter();
                let known = ports.any(|port| transport(&port.protocol) == *protocol);
                known.then(Facts::default)
            }
            [protocol @ ("_tcp" | "_udp" | "_sctp"), port] => {
                let port = port.strip_prefix('_').filter(|port| !port.is_empty())?;
                let services = self.targets(name, service, Some((port, protocol)));
                (!services.is_empty()).then(|| Facts {
                    services,
                    ..Facts::default()
                })
            }
            [host] => self.endpoint(name, service, host),
            _ => None,
        }
    }

    fn whole(&self, name: &ServiceName, service: &Service, kind: RecordType) -> Option<Facts> {
        let mut facts = match service.cluster_ip() {
            Some(ip) => Facts::addresses([ip]),
            None => Facts::addresses(
                self.endpoints(name, service)
                    .flat_map(|(_, endpoint)| endpoint.addresses.iter().copied()),
            ),
        };
        if matches!(kind, RecordType::SRV | RecordType::ANY) {
            facts.services = self.targets(name, service, None);
        }
        // A Service without its own address and without endpoints has no name.
        (!facts.addresses.is_empty() || !service.is_headless()).then_some(facts)
    }

    /// Every endpoint with a name: the ready ones, or all where the Service publishes them.
    fn endpoints<'a>(
        &'a self,
        name: &ServiceName,
        service: &'a Service,
    ) -> impl Iterator<Item = (&'a Slice, &'a Endpoint)> {
        let all = service.spec.publish_not_ready_addresses;
        self.table
            .slices_of(name)
            .flat_map(|slice| slice.endpoints.iter().map(move |e| (&**slice, e)))
            .filter(move |(_, endpoint)| all || endpoint.conditions.is_ready())
    }

    /// The endpoints that are called so: by their host name, or by their address with dashes if
    /// they have none.
    fn endpoint(&self, name: &ServiceName, service: &Service, host: &str) -> Option<Facts> {
        let dashed = undashed(host);
        let endpoints = self.endpoints(name, service);
        let called = endpoints.flat_map(|(_, endpoint)| {
            let own = hostname(endpoint);
            let is_called = move |ip: &&IpAddr| match &own {
                Some(own) => own == host,
                None => dashed == Some(**ip),
            };
            endpoint.addresses.iter().filter(is_called).copied()
        });
        let facts = Facts::addresses(called);
        (!facts.addresses.is_empty()).then_some(facts)
    }

    /// Where a port is served, or every port.
    fn targets(
        &self,
        name: &ServiceName,
        service: &Service,
        wanted: Option<(&str, &str)>,
    ) -> Vec<Target> {
        let base = self.full(name);
        let is_wanted = |port: &str, protocol: &str| {
            wanted.is_none_or(|(name, transported)| {
                port.eq_ignore_ascii_case(name) && transport(protocol) == transported
            })
        };
        if let Some(ip) = service.cluster_ip() {
            let ports = service.spec.ports.iter();
            let ports = ports.filter(|port| is_wanted(&port.name, &port.protocol));
            return ports
                .map(|port| Target {
                    port: port.port,
                    host: base.clone(),
                    addresses: vec![ip],
                })
                .collect();
        }
        let mut targets = Vec::new();
        for (slice, endpoint) in self.endpoints(name, service) {
            let ports = slice.ports.iter().filter(|port| {
                let name = port.name.as_deref().unwrap_or_default();
                is_wanted(name, port.protocol.as_deref().unwrap_or_default())
            });
            for port in ports.filter_map(|port| port.port) {
                targets.extend(endpoint.addresses.iter().map(|ip| Target {
                    port,
                    host: format!("{}.{base}", label(endpoint, *ip)),
                    addresses: vec![*ip],
                }));
            }
        }
        targets
    }

    fn full(&self, (namespace, name): &ServiceName) -> String {
        format!("{name}.{namespace}.svc.{}", self.domain)
    }

    /// Who has an address.
    fn reverse(&self, address: IpAddr) -> Found {
        let mut names = Vec::new();
        for name in self.table.users_of(address) {
            let Some(service) = self.table.service(name) else {
                continue;
            };
            if service.cluster_ip() == Some(address) {
                return Found::Known(Facts {
                    names: vec![self.full(name)],
                    ..Facts::default()
                });
            }
            for (_, endpoint) in self.endpoints(name, service) {
                if endpoint.addresses.contains(&address) {
                    let made_up = hostname(endpoint).is_none();
                    let host = label(endpoint, address);
                    names.push((made_up, format!("{host}.{}", self.full(name))));
                }
            }
        }
        // Host names before names made of the address.
        names.sort();
        names.dedup();
        if !names.is_empty() {
            let names = names.into_iter().map(|(_, name)| name).collect();
            return Found::Known(Facts {
                names,
                ..Facts::default()
            });
        }
        // Departs: upstream forwards such questions. Nobody outside knows the answer.
        if self.is_ours(address) {
            Found::Missing
        } else {
            Found::Elsewhere
        }
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        let (first, bits) = self.services;
        let hosts = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
        let in_range = match address {
            IpAddr::V4(ip) => u32::from(ip) & !hosts == u32::from(first) & !hosts,
            IpAddr::V6(_) => false,
        };
        in_range || self.table.node_of(address).is_some()
    }
}

/// An external name. An address there is no name, and leads nowhere.
fn alias(service: &Service) -> Option<Facts> {
    let name = &service.spec.external_name;
    let name = name.trim_end_matches('.').to_lowercase();
    let is_name = !name.is_empty() && name.parse::<IpAddr>().is_err();
    is_name.then(|| Facts {
        alias: Some(name),
        ..Facts::default()
    })
}

fn transport(protocol: &str) -> String {
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    format!("_{}", protocol.to_lowercase())
}

fn hostname(endpoint: &Endpoint) -> Option<String> {
    let hostname = endpoint.hostname.as_deref()?;
    (!hostname.is_empty()).then(|| hostname.to_lowercase())
}

/// An endpoint's own name within its Service: its host name, or its address with dashes.
fn label(endpoint: &Endpoint, address: IpAddr) -> String {
    hostname(endpoint).unwrap_or_else(|| address.to_string().replace(['.', ':'], "-"))
}

/// The address that is written with dashes.
fn undashed(text: &str) -> Option<IpAddr> {
    let four = text.replace('-', ".").parse::<Ipv4Addr>().ok();
    let six = || text.replace('-', ":").parse().ok();
    four.map(IpAddr::V4).or_else(six)
}
