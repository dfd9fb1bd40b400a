//! The cluster's name server: authority for the cluster domain, forwarder for the rest.

mod server;
mod zone;

pub use server::{Config, Server};
pub use zone::{Facts, Zone};

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::Ipv4Addr;

/// Endpoints come and go, so answers are short-lived (seconds).
const TTL: u32 = 5;

/// Answers a query from the zone; `None` when its name is not in the zone and may be forwarded.
/// `rotation` turns the order of several addresses.
pub fn answer(zone: &Zone<'_>, query: &Message, rotation: usize) -> Option<Message> {
    let mut response = reply(query);
    if query.metadata.op_code != OpCode::Query {
        response.metadata.response_code = ResponseCode::NotImp;
        return Some(response);
    }
    let [question] = query.queries.as_slice() else {
        response.metadata.response_code = ResponseCode::FormErr;
        return Some(response);
    };
    if question.query_class() != DNSClass::IN {
        response.metadata.response_code = ResponseCode::Refused;
        return Some(response);
    }
    let facts = zone.look_up(&plain(question.name()))?;
    response.metadata.authoritative = true;
    match facts {
        None => response.metadata.response_code = ResponseCode::NXDomain,
        Some(facts) => fill(zone, question, facts, rotation, &mut response),
    }
    if response.answers.is_empty() {
        response.authorities.extend(authority(zone));
    }
    Some(response)
}

/// An empty answer to a query.
pub(crate) fn reply(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(1232);
        response.set_edns(edns);
    }
    response
}

/// A name in lower case without its last dot.
pub(crate) fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn fill(zone: &Zone<'_>, question: &Query, facts: Facts, rotation: usize, response: &mut Message) {
    let name = question.name().clone();
    let kind = question.query_type();
    let wants = |wanted: RecordType| kind == wanted || kind == RecordType::ANY;
    if let Some(alias) = facts.alias {
        add_alias(zone, (&name, kind), &alias, response);
        return;
    }
    if wants(RecordType::A) {
        let records = rotated(facts.addresses, rotation).map(|ip| address(name.clone(), ip));
        response.answers.extend(records);
    }
    if wants(RecordType::SRV) {
        for (port, target) in facts.services {
            let Some(target_name) = parse(&target) else {
                continue;
            };
            let data = RData::SRV(SRV::new(0, 100, port, target_name.clone()));
            response
                .answers
                .push(Record::from_rdata(name.clone(), TTL, data));
            let known = zone.look_up(&target).flatten().unwrap_or_default();
            let records = known
                .addresses
                .into_iter()
                .map(|ip| address(target_name.clone(), ip));
            for record in records {
                if !response.additionals.contains(&record) {
                    response.additionals.push(record);
                }
            }
        }
    }
    if wants(RecordType::PTR) {
        for target in facts.names.iter().filter_map(|n| parse(n)) {
            let record = Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target)));
            response.answers.push(record);
        }
    }
    if let Some(text) = facts.text.filter(|_| wants(RecordType::TXT)) {
        let record = Record::from_rdata(name.clone(), TTL, RData::TXT(TXT::new(vec![text])));
        response.answers.push(record);
    }
    if wants(RecordType::SOA) && plain(&name) == zone.domain {
        response.answers.extend(authority(zone));
    }
}

/// An alias, and its addresses where the target is in the zone too.
fn add_alias(
    zone: &Zone<'_>,
    (name, kind): (&Name, RecordType),
    alias: &str,
    response: &mut Message,
) {
    let Some(target) = parse(alias) else { return };
    let record = Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
    response.answers.push(record);
    if kind == RecordType::A {
        let known = zone.look_up(alias).flatten().unwrap_or_default();
        let records = known
            .addresses
            .into_iter()
            .map(|ip| address(target.clone(), ip));
        response.answers.extend(records);
    }
}

fn address(name: Name, ip: Ipv4Addr) -> Record {
    Record::from_rdata(name, TTL, RData::A(A(ip)))
}

fn rotated(mut addresses: Vec<Ipv4Addr>, rotation: usize) -> impl Iterator<Item = Ipv4Addr> {
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
    let host = parse(&format!("ns.dns.{}", zone.domain))?;
    let contact = parse(&format!("hostmaster.{}", zone.domain))?;
    let data = RData::SOA(SOA::new(host, contact, 1, 7200, 1800, 86_400, TTL));
    Some(Record::from_rdata(parse(zone.domain)?, TTL, data))
}

#[cfg(test)]
mod tests;
