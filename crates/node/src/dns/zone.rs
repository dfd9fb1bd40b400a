//! The cluster's zone: which names exist and what they mean. Pure.

use crate::proxy::table::{Endpoint, Service, ServiceName, Slice, Table};
use std::net::{IpAddr, Ipv4Addr};

/// The zone as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Zone<'a> {
    /// `cluster.local`.
    pub domain: &'a str,
    /// Services and endpoints.
    pub table: &'a Table,
}

/// What is known of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// (port, target name) pairs.
    pub services: Vec<(u16, String)>,
    /// Another name for it.
    pub alias: Option<String>,
    /// Text.
    pub text: Option<String>,
    /// Names of an address.
    pub names: Vec<String>,
}

impl Zone<'_> {
    /// Facts about a name, which is lower case and without its last dot. Outer `None`: the name is
    /// not in this zone. Inner `None`: it does not exist.
    pub fn look_up(&self, name: &str) -> Option<Option<Facts>> {
        if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
            return self.reverse(reversed).map(Some);
        }
        if name == self.domain {
            return Some(Some(Facts::default()));
        }
        let inside = name.strip_suffix(self.domain)?.strip_suffix('.')?;
        let labels: Vec<&str> = inside.rsplit('.').collect();
        Some(match labels.as_slice() {
            ["dns-version"] => Some(Facts {
                text: Some("1.1.0".into()),
                ..Facts::default()
            }),
            ["svc" | "pod"] => Some(Facts::default()),
            ["svc", namespace] => self.has_namespace(namespace).then(Facts::default),
            ["svc", namespace, service, rest @ ..] => self.service(namespace, service, rest),
            ["pod", _namespace] => Some(Facts::default()),
            ["pod", _namespace, dashed] => {
                let ip = dashed.replace('-', ".").parse().ok();
                ip.map(|ip| Facts {
                    addresses: vec![ip],
                    ..Facts::default()
                })
            }
            _ => None,
        })
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        self.table.services.keys().any(|(n, _)| n == namespace)
    }

    fn service(&self, namespace: &str, name: &str, rest: &[&str]) -> Option<Facts> {
        let key = (namespace.to_owned(), name.to_owned());
        let service = self.table.services.get(&key)?;
        match rest {
            [] => Some(self.whole(&key, service)),
            [protocol @ ("_tcp" | "_udp")] => {
                let known = |p: &str| format!("_{}", transport(p)) == *protocol;
                service
                    .spec
                    .ports
                    .iter()
                    .any(|p| known(&p.protocol))
                    .then(Facts::default)
            }
            [protocol @ ("_tcp" | "_udp"), port] => self.port(&key, service, protocol, port),
            [host] => self.endpoint(&key, service, host),
            _ => None,
        }
    }

    fn whole(&self, key: &ServiceName, service: &Service) -> Facts {
        if service.spec.kind == "ExternalName" {
            let target = service
                .spec
                .external_name
                .trim_end_matches('.')
                .to_lowercase();
            return Facts {
                alias: Some(target),
                ..Facts::default()
            };
        }
        let addresses = match service.cluster_ip() {
            Some(IpAddr::V4(ip)) => vec![ip],
            Some(IpAddr::V6(_)) => Vec::new(),
            None => self
                .endpoints(key, service)
                .filter_map(|(_, e)| ipv4(e))
                .collect(),
        };
        Facts {
            addresses,
            ..Facts::default()
        }
    }

    /// Every endpoint with a name: the ready ones, or all where the Service publishes them.
    fn endpoints<'a>(
        &'a self,
        key: &ServiceName,
        service: &'a Service,
    ) -> impl Iterator<Item = (&'a Slice, &'a Endpoint)> {
        let all = service.spec.publish_not_ready_addresses;
        self.table
            .slices_of(key)
            .flat_map(|slice| slice.endpoints.iter().map(move |e| (&**slice, e)))
            .filter(move |(_, endpoint)| all || endpoint.conditions.is_ready())
    }

    fn endpoint(&self, key: &ServiceName, service: &Service, host: &str) -> Option<Facts> {
        let named = self
            .endpoints(key, service)
            .filter(|(_, e)| label(e).as_deref() == Some(host));
        let mut addresses: Vec<Ipv4Addr> = named.filter_map(|(_, e)| ipv4(e)).collect();
        addresses.dedup();
        (!addresses.is_empty()).then(|| Facts {
            addresses,
            ..Facts::default()
        })
    }

    fn port(
        &self,
        key: &ServiceName,
        service: &Service,
        protocol: &str,
        port: &str,
    ) -> Option<Facts> {
        let (protocol, port) = (protocol.strip_prefix('_')?, port.strip_prefix('_')?);
        let base = self.full(key);
        let services: Vec<(u16, String)> = if service.is_headless() {
            let mut targets = Vec::new();
            for (slice, endpoint) in self.endpoints(key, service) {
                let same = slice.ports.iter().filter(|p| {
                    p.name.as_deref() == Some(port)
                        && transport(p.protocol.as_deref().unwrap_or_default()) == protocol
                });
                let Some(label) = label(endpoint) else {
                    continue;
                };
                targets.extend(same.filter_map(|p| Some((p.port?, format!("{label}.{base}")))));
            }
            targets
        } else {
            let same = |p: &&crate::proxy::table::ServicePort| {
                p.name == port && transport(&p.protocol) == protocol
            };
            let ports = service.spec.ports.iter().filter(same);
            ports.map(|p| (p.port, base.clone())).collect()
        };
        (!services.is_empty()).then(|| Facts {
            services,
            ..Facts::default()
        })
    }

    fn full(&self, (namespace, name): &ServiceName) -> String {
        format!("{name}.{namespace}.svc.{}", self.domain)
    }

    fn reverse(&self, reversed: &str) -> Option<Facts> {
        let mut octets: Vec<&str> = reversed.split('.').collect();
        octets.reverse();
        let ip: Ipv4Addr = octets.join(".").parse().ok()?;
        let mut names = Vec::new();
        for (key, service) in &self.table.services {
            if service.cluster_ip() == Some(ip.into()) {
                names.push(self.full(key));
                continue;
            }
            for (_, endpoint) in self.endpoints(key, service) {
                if ipv4(endpoint) == Some(ip) && endpoint.hostname.is_some() {
                    names.extend(label(endpoint).map(|l| format!("{l}.{}", self.full(key))));
                }
            }
        }
        (!names.is_empty()).then(|| Facts {
            names,
            ..Facts::default()
        })
    }
}

fn transport(protocol: &str) -> String {
    if protocol.is_empty() {
        "tcp".to_owned()
    } else {
        protocol.to_lowercase()
    }
}

fn ipv4(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}

/// The endpoint's own name within its Service: its host name, or its address with dashes.
fn label(endpoint: &Endpoint) -> Option<String> {
    match endpoint.hostname.as_deref().filter(|h| !h.is_empty()) {
        Some(hostname) => Some(hostname.to_lowercase()),
        None => Some(ipv4(endpoint)?.to_string().replace('.', "-")),
    }
}
