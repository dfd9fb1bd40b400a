//! Addresses and ports of Services: handed out in memory, learned from the store at start.

use crate::call::Run;
use crate::random::Random;
use crate::resource::write::Writer;
use crate::server::ClusterSettings;
use crate::store::{ListQuery, Store};
use parking_lot::Mutex;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Random picks before a free value is searched for in order.
const RANDOM_PICKS: usize = 32;

/// What is taken.
#[derive(Debug, Clone, Default)]
struct Taken {
    addresses: BTreeSet<u32>,
    ports: BTreeSet<u16>,
}

/// Hands out Service addresses and node ports.
#[derive(Debug)]
pub(crate) struct Allocator {
    taken: Mutex<Taken>,
    first: u32,
    last: u32,
    ports: RangeInclusive<u16>,
}

/// Values taken by a write that has not happened yet; given back unless kept.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    allocator: &'a Allocator,
    addresses: Vec<u32>,
    ports: Vec<u16>,
    /// Given back once the write has happened: the old values it no longer uses.
    freed: Option<(Vec<u32>, Vec<u16>)>,
    kept: bool,
}

impl Claim<'_> {
    /// The write happened.
    pub(crate) fn keep(mut self) {
        self.kept = true;
        let Some((addresses, ports)) = self.freed.take() else {
            return;
        };
        let mut taken = self.allocator.taken.lock();
        taken.addresses.retain(|a| !addresses.contains(a));
        taken.ports.retain(|p| !ports.contains(p));
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.kept || (self.addresses.is_empty() && self.ports.is_empty()) {
            return;
        }
        let mut taken = self.allocator.taken.lock();
        for address in &self.addresses {
            taken.addresses.remove(address);
        }
        for port in &self.ports {
            taken.ports.remove(port);
        }
    }
}

impl Allocator {
    /// An allocator that knows what the stored Services use.
    pub(crate) fn new(store: &Store, settings: &ClusterSettings) -> Self {
        let prefix = u32::from(settings.service_prefix.clamp(8, 30));
        let size = 1_u32 << (32 - prefix);
        let base = u32::from(settings.service_network) & !(size - 1);
        let allocator = Self {
            taken: Mutex::default(),
            first: base + 1,
            last: base + size - 2,
            ports: settings.node_ports.clone(),
        };
        let query = ListQuery {
            resource: "services".into(),
            ..ListQuery::default()
        };
        let stored = store
            .list(&query)
            .map(|page| page.entries)
            .unwrap_or_default();
        for entry in stored {
            let service: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
            let mut taken = allocator.taken.lock();
            taken.addresses.extend(addresses(&service));
            taken.ports.extend(ports(&service));
        }
        allocator
    }

    /// The address of `default/kubernetes`.
    pub(crate) fn first_address(&self) -> Ipv4Addr {
        self.first.into()
    }

    /// Fills in what a Service leaves open and takes what it names. Other kinds pass.
    pub(crate) fn claim<'a>(
        &'a self,
        writer: &Writer<'_>,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Claim<'a>, ApiError> {
        let (addresses, ports) = (Vec::new(), Vec::new());
        let mut claim = Claim {
            allocator: self,
            addresses,
            ports,
            freed: None,
            kept: false,
        };
        if !is_service(writer.kind) {
            return Ok(claim);
        }
        let mut errors = self.claim_ports(writer, service, old, &mut claim);
        errors.extend(self.claim_address(writer, service, old, &mut claim));
        if !errors.is_empty() {
            return Err(ApiError::invalid(
                "",
                "Service",
                meta::name(service),
                &errors,
            ));
        }
        if let Some(old) = old {
            let (now_addresses, now_ports) = (self::addresses(service), self::ports(service));
            let gone = |a: &u32| !now_addresses.contains(a);
            let closed = |p: &u16| !now_ports.contains(p);
            let old_addresses = self::addresses(old).into_iter().filter(gone).collect();
            let old_ports = self::ports(old).into_iter().filter(closed).collect();
            claim.freed = Some((old_addresses, old_ports));
        }
        Ok(claim)
    }

    /// Frees what a deleted Service used.
    pub(crate) fn release(&self, kind: &Kind, service: &Value) {
        if !is_service(kind) {
            return;
        }
        let mut taken = self.taken.lock();
        for address in addresses(service) {
            taken.addresses.remove(&address);
        }
        for port in ports(service) {
            taken.ports.remove(&port);
        }
    }

    fn claim_address(
        &self,
        writer: &Writer<'_>,
        service: &mut Value,
        old: Option<&Value>,
        claim: &mut Claim<'_>,
    ) -> Option<FieldError> {
        if meta::text(service, &["spec", "type"]) == "ExternalName" {
            return None;
        }
        let asked = meta::text(service, &["spec", "clusterIP"]).to_owned();
        let asked = match asked.as_str() {
            "None" => {
                set_addresses(service, "None");
                return None;
            }
            "" if writer.run == Run::Dry => {
                // A dry run shows a placeholder: what it would get is not decided.
                set_addresses(service, &Ipv4Addr::from(self.first - 1).to_string());
                return None;
            }
            "" => None,
            text => Some(text.to_owned()),
        };
        let mut taken = self.taken.lock();
        let address = match &asked {
            None => pick(
                &writer.server.0.random,
                self.first..=self.last,
                &taken.addresses,
            )
            .ok_or_else(|| FieldError::forbidden("spec.clusterIPs", "the range is full")),
            Some(text) => self.named(text, old, &taken),
        };
        let address = match address {
            Ok(address) => address,
            Err(error) => return Some(error),
        };
        if writer.run == Run::Real && taken.addresses.insert(address) {
            claim.addresses.push(address);
        }
        drop(taken);
        set_addresses(service, &Ipv4Addr::from(address).to_string());
        None
    }

    fn named(&self, text: &str, old: Option<&Value>, taken: &Taken) -> Result<u32, FieldError> {
        let refuse = |why: String| Err(FieldError::invalid("spec.clusterIPs", &json!([text]), why));
        let Ok(address) = text.parse::<Ipv4Addr>() else {
            return refuse("must be a valid IPv4 address".into());
        };
        let address = u32::from(address);
        let own = old.is_some_and(|old| addresses(old).contains(&address));
        if !(self.first..=self.last).contains(&address) {
            return refuse(format!(
                "failed to allocate IP {text}: the provided network does not match the current range"
            ));
        }
        if taken.addresses.contains(&address) && !own {
            return refuse(format!(
                "failed to allocate IP {text}: provided IP is already allocated"
            ));
        }
        Ok(address)
    }

    fn claim_ports(
        &self,
        writer: &Writer<'_>,
        service: &mut Value,
        old: Option<&Value>,
        claim: &mut Claim<'_>,
    ) -> Vec<FieldError> {
        let wants = match meta::text(service, &["spec", "type"]) {
            "NodePort" => true,
            "LoadBalancer" => {
                let path = ["spec", "allocateLoadBalancerNodePorts"];
                meta::at(service, &path).and_then(Value::as_bool) != Some(false)
            }
            _ => false,
        };
        let own = old.map(ports).unwrap_or_default();
        let mut errors = Vec::new();
        let list = meta::object_mut(service, &["spec"]).get_mut("ports");
        let mut mine: Vec<u16> = Vec::new();
        for (index, port) in list
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .enumerate()
        {
            let asked = meta::integer(port, &["nodePort"]).filter(|p| *p != 0);
            let mut taken = self.taken.lock();
            let chosen = match asked {
                None if !wants || writer.run == Run::Dry => continue,
                None => self.free_port(writer, &taken),
                Some(asked) => u16::try_from(asked).ok().filter(|p| {
                    let free = !taken.ports.contains(p) || own.contains(p) || mine.contains(p);
                    self.ports.contains(p) && free
                }),
            };
            let Some(chosen) = chosen else {
                let field = format!("spec.ports[{index}].nodePort");
                errors.push(self.port_error(field, asked));
                continue;
            };
            mine.push(chosen);
            if writer.run == Run::Real && taken.ports.insert(chosen) {
                claim.ports.push(chosen);
            }
            meta::as_object(port).insert("nodePort".into(), chosen.into());
        }
        errors.extend(self.claim_health_port(writer, service, (&own, &mine), claim));
        errors
    }

    /// Takes the port at which load balancers ask whether nodes have endpoints: a free one, or one
    /// that was the Service's `own`, but none of the node ports that it has now (`mine`).
    fn claim_health_port(
        &self,
        writer: &Writer<'_>,
        service: &mut Value,
        (own, mine): (&[u16], &[u16]),
        claim: &mut Claim<'_>,
    ) -> Option<FieldError> {
        let is = |key: &str, value: &str| meta::text(service, &["spec", key]) == value;
        let needed = is("type", "LoadBalancer") && is("externalTrafficPolicy", "Local");
        if !needed {
            return None;
        }
        let asked = meta::integer(service, &["spec", "healthCheckNodePort"]);
        let mut taken = self.taken.lock();
        let chosen = match asked.filter(|port| *port != 0) {
            None if writer.run == Run::Dry => return None,
            None => self.free_port(writer, &taken),
            Some(asked) => u16::try_from(asked).ok().filter(|port| {
                let free = !taken.ports.contains(port) || own.contains(port);
                free && !mine.contains(port) && self.ports.contains(port)
            }),
        };
        let Some(chosen) = chosen else {
            let field = "spec.healthCheckNodePort".to_owned();
            return Some(self.port_error(field, asked));
        };
        if writer.run == Run::Real && taken.ports.insert(chosen) {
            claim.ports.push(chosen);
        }
        drop(taken);
        let spec = meta::object_mut(service, &["spec"]);
        spec.insert("healthCheckNodePort".into(), chosen.into());
        None
    }

    fn free_port(&self, writer: &Writer<'_>, taken: &Taken) -> Option<u16> {
        let range = u32::from(*self.ports.start())..=u32::from(*self.ports.end());
        let used = taken.ports.iter().map(|p| u32::from(*p)).collect();
        let picked = pick(&writer.server.0.random, range, &used)?;
        u16::try_from(picked).ok()
    }

    fn port_error(&self, field: String, asked: Option<i64>) -> FieldError {
        let in_range = asked
            .and_then(|p| u16::try_from(p).ok())
            .is_some_and(|port| self.ports.contains(&port));
        let why = if in_range {
            "provided port is already allocated".to_owned()
        } else {
            let (start, end) = (self.ports.start(), self.ports.end());
            format!(
                "provided port is not in the valid range. The range of valid ports is {start}-{end}"
            )
        };
        FieldError::invalid(field, &json!(asked.unwrap_or_default()), why)
    }
}

fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Service"
}

fn set_addresses(service: &mut Value, address: &str) {
    let spec = meta::object_mut(service, &["spec"]);
    spec.insert("clusterIP".into(), address.into());
    spec.insert("clusterIPs".into(), json!([address]));
}

/// A free value of the range, at random; `None` if all are taken.
fn pick(random: &Random, range: RangeInclusive<u32>, taken: &BTreeSet<u32>) -> Option<u32> {
    let size = range.end() - range.start() + 1;
    let mut tries = (0..RANDOM_PICKS).map(|_| range.start() + random.below(size));
    tries
        .find(|value| !taken.contains(value))
        .or_else(|| range.clone().find(|value| !taken.contains(value)))
}

fn addresses(service: &Value) -> Vec<u32> {
    let address = meta::text(service, &["spec", "clusterIP"]);
    address
        .parse::<Ipv4Addr>()
        .ok()
        .map(u32::from)
        .into_iter()
        .collect()
}

fn ports(service: &Value) -> Vec<u16> {
    let list = meta::list(service, &["spec", "ports"]).iter();
    let health = meta::integer(service, &["spec", "healthCheckNodePort"]);
    list.filter_map(|p| meta::integer(p, &["nodePort"]))
        .chain(health)
        .filter_map(|p| u16::try_from(p).ok())
        .filter(|p| *p != 0)
        .collect()
}
