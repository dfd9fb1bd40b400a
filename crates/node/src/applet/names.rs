//! Names and addresses of the cluster for applets.
//!
//! In a container the system does it all. A plain process is told where the cluster's name server
//! is, and cluster addresses have stand-ins on the loopback network.

use super::os;
use crate::runtime::process::stand_in;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// The variable that holds the name server of plain processes, `ADDRESS:PORT`.
pub(crate) const SERVER: &str = "PLIMSOLL_DNS";
/// The variable that holds their search domains, separated by spaces.
pub(crate) const SEARCH: &str = "PLIMSOLL_SEARCH";
/// Fewer dots than this, and the search domains come first.
const DOTS: usize = 5;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a question is asked.
const TRIES: u32 = 2;

/// Where to connect for a host and a port.
pub(super) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let at = |ip| SocketAddr::new(ip, port);
    let found = look_up(host)?.into_iter().map(at);
    if server().is_none() {
        return Ok(found.collect());
    }
    Ok(found.map(stand_in).collect())
}

/// The addresses behind a name, as the cluster tells them.
pub(super) fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    if let Some(server) = server() {
        for name in candidates(host, &os::variable(SEARCH).unwrap_or_default()) {
            let found = ask(server, &name)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    let found = (host, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

fn server() -> Option<SocketAddr> {
    os::variable(SERVER)?.parse().ok()
}

/// The full names to try, in order.
fn candidates(host: &str, search: &str) -> Vec<String> {
    if host.ends_with('.') {
        return vec![host.to_owned()];
    }
    let own = format!("{host}.");
    let searched = search.split_whitespace().map(|d| format!("{host}.{d}."));
    if host.matches('.').count() >= DOTS {
        std::iter::once(own.clone()).chain(searched).collect()
    } else {
        searched.chain(std::iter::once(own.clone())).collect()
    }
}

/// Asks for the IPv4 addresses of a full name; none where it does not exist.
fn ask(server: SocketAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let name = Name::from_ascii(name).map_err(io::Error::other)?;
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or_default();
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, RecordType::A));
    let question = question.to_vec().map_err(io::Error::other)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    let mut answer = [0; 1500];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(&question)?;
        let length = match socket.recv(&mut answer) {
            Ok(length) => length,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let answer = Message::from_vec(answer.get(..length).unwrap_or_default());
        let answer = answer.map_err(io::Error::other)?;
        if answer.metadata.response_code == ResponseCode::ServFail {
            return Err(io::Error::other("the name server failed"));
        }
        let addresses = answer.answers.iter().filter_map(|record| {
            if let RData::A(address) = &record.data {
                Some(IpAddr::V4(address.0))
            } else {
                None
            }
        });
        return Ok(addresses.collect());
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::short("web", "web.a.svc. web.svc. web.")]
    #[case::with_its_namespace("web.a", "web.a.a.svc. web.a.svc. web.a.")]
    #[case::complete("web.a.svc.cluster.local.", "web.a.svc.cluster.local.")]
    #[case::long("a.b.c.d.e.f", "a.b.c.d.e.f. a.b.c.d.e.f.a.svc. a.b.c.d.e.f.svc.")]
    fn names_are_searched_as_a_resolver_does(#[case] host: &str, #[case] want: &str) {
        assert_eq!(candidates(host, "a.svc svc").join(" "), want);
    }
}
