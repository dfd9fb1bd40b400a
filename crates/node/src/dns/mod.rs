//! The cluster's name server: authority for the cluster domain, forwarder for the rest.

mod forward;
mod reverse;
mod server;
mod wire;
mod zone;

pub use server::{Config, Server};
pub use zone::{Facts, Found, Target, Zone};

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Endpoints come and go, so answers are short-lived (seconds).
const TTL: u32 = 5;
/// Most aliases that are followed for one question.
const ALIASES: usize = 8;

/// What the zone says to a query.
#[derive(Debug)]
pub enum Answer {
    /// All there is to say.
    Whole(Message),
    /// The name is another one's alias, which is not in the zone: what it stands for is missing.
    Alias(Message, Name),
    /// The name is not in the zone and may be forwarded.
    Elsewhere,
}

/// Answers a query from the zone. `rotation` turns the order of several addresses.
pub fn answer(zone: &Zone<'_>, query: &Message, rotation: usize) -> Answer {
    let mut response = reply(query);
    if query.metadata.op_code != OpCode::Query {
        response.metadata.response_code = ResponseCode::NotImp;
        return Answer::Whole(response);
    }
    let [question] = query.queries.as_slice() else {
        response.metadata.response_code = ResponseCode::FormErr;
        return Answer::Whole(response);
    };
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        response.metadata.response_code = ResponseCode::Refused;
        return Answer::Whole(response);
    }
    let kind = question.query_type();
    response.metadata.authoritative = true;
    let missing = match zone.look_up(&plain(question.name()), kind) {
        Found::Elsewhere => return Answer::Elsewhere,
        Found::Missing => {
            response.metadata.response_code = ResponseCode::NXDomain;
            None
        }
        Found::Known(facts) => resolve(zone, question, facts, rotation, &mut response),
    };
    if let Some(target) = missing {
        return Answer::Alias(response, target);
    }
    if response.answers.is_empty() {
        response.authorities.extend(authority(zone));
    }
    Answer::Whole(response)
}

/// An empty answer to a query.
pub(crate) fn reply(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(wire::LARGEST);
        response.set_edns(edns);
    }
    response
}

/// A name in lower case without its last dot.
pub(crate) fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// Follows aliases and adds what the name they end at has. Returns a name outside the zone at
/// which they end.
fn resolve(
    zone: &Zone<'_>,
    question: &Query,
    mut facts: Facts,
    rotation: usize,
    response: &mut Message,
) -> Option<Name> {
    let kind = question.query_type();
    let mut name = question.name().clone();
    for _ in 0..ALIASES {
        let Some(alias) = facts.alias.take() else {
            fill(zone, (&name, kind), facts, rotation, response);
            return None;
        };
        let target = parse(&alias)?;
        let data = RData::CNAME(CNAME(target.clone()));
        response.answers.push(Record::from_rdata(name, TTL, data));
        if matches!(kind, RecordType::CNAME | RecordType::ANY) {
            return None;
        }
        match zone.look_up(&alias, kind) {
            Found::Elsewhere => return Some(target),
            Found::Missing => {
                response.metadata.response_code = ResponseCode::NXDomain;
                return None;
            }
            Found::Known(known) => facts = known,
        }
        name = target;
    }
    response.metadata.response_code = ResponseCode::ServFail;
    None
}

fn fill(
    zone: &Zone<'_>,
    (name, kind): (&Name, RecordType),
    facts: Facts,
    rotation: usize,
    response: &mut Message,
) {
    let wants = |wanted: RecordType| kind == wanted || kind == RecordType::ANY;
    let record = |data: RData| Record::from_rdata(name.clone(), TTL, data);
    let addresses = rotated(facts.addresses, rotation);
    let addresses = addresses.filter(|ip| wants(family(*ip)));
    response
        .answers
        .extend(addresses.map(|ip| record(data(ip))));
    if wants(RecordType::SRV) {
        add_targets(name, facts.services, response);
    }
    if wants(RecordType::PTR) {
        let names = facts.names.iter().filter_map(|n| parse(n));
        response
            .answers
            .extend(names.map(|target| record(RData::PTR(PTR(target)))));
    }
    if wants(RecordType::NS) {
        let servers = facts.servers.iter().filter_map(|n| parse(n));
        for server in servers {
            let glue = Record::from_rdata(server.clone(), TTL, data(zone.server));
            response.additionals.push(glue);
            response.answers.push(record(RData::NS(NS(server))));
        }
    }
    if let Some(text) = facts.text.filter(|_| wants(RecordType::TXT)) {
        response
            .answers
            .push(record(RData::TXT(TXT::new(vec![text]))));
    }
    if wants(RecordType::SOA) && plain(name) == zone.domain {
        response.answers.extend(authority(zone));
    }
}

/// The hosts that serve a port, and their addresses beside them.
fn add_targets(name: &Name, targets: Vec<Target>, response: &mut Message) {
    let weight = 100 / u16::try_from(targets.len()).unwrap_or(u16::MAX).max(1);
    let mut told = BTreeSet::new();
    for target in targets {
        let Some(host) = parse(&target.host) else {
            continue;
        };
        let service = RData::SRV(SRV::new(0, weight.max(1), target.port, host.clone()));
        let record = Record::from_rdata(name.clone(), TTL, service);
        response.answers.push(record);
        for ip in target.addresses {
            if told.insert((target.host.clone(), ip)) {
                let record = Record::from_rdata(host.clone(), TTL, data(ip));
                response.additionals.push(record);
            }
        }
    }
}

fn family(ip: IpAddr) -> RecordType {
    match ip {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::AAAA,
    }
}

fn data(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn rotated(mut addresses: Vec<IpAddr>, rotation: usize) -> impl Iterator<Item = IpAddr> {
    if let Some(by) = rotation.checked_rem(addresses.len()) {
        addresses.rotate_left(by);
    }
    addresses.into_iter()
}

fn parse(name: &str) -> Option<Name> {
    let mut parsed = Name::from_ascii(name).ok()?;
    parsed.set_fqdn(true);
    Some(parsed)
}

/// The record that tells resolvers how long a name may be remembered not to exist.
fn authority(zone: &Zone<'_>) -> Option<Record> {
    let host = parse(&zone.server_name())?;
    let contact = parse(&format!("hostmaster.{}", zone.domain))?;
    let data = RData::SOA(SOA::new(host, contact, 1, 7200, 1800, 86_400, TTL));
    Some(Record::from_rdata(parse(zone.domain)?, TTL, data))
}

#[cfg(test)]
mod tests;
