//! The handful of rtnetlink requests that a cluster's network needs, over a blocking socket.

use super::fault::{Doing, Fault};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const DELETE_LINK: u16 = 17;
const REQUEST_WITH_ACK: u16 = 0x1 | 0x4;
const CREATE: u16 = 0x200 | 0x400;
const ERROR: u16 = 2;

/// Where a route leads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Route {
    /// Destination network.
    pub(crate) to: Option<(Ipv4Addr, u8)>,
    /// Next hop.
    pub(crate) via: Option<Ipv4Addr>,
    /// Outgoing interface.
    pub(crate) interface: u32,
    /// The destination is this host itself (AnyIP).
    pub(crate) local: bool,
    /// Believe that the next hop is on the link.
    pub(crate) on_link: bool,
}

/// A netlink socket of the network namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens one in the current network namespace.
    pub(crate) fn open() -> Result<Self, Fault> {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )
        .doing(|| "open a netlink socket".into())?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Creates a veth pair: `name` here, `peer` directly in the namespace `peer_netns`.
    ///
    /// Making it there is ten times cheaper than moving it; both ends are down at first, because
    /// an end cannot come up before its peer exists.
    pub(crate) fn add_veth(
        &mut self,
        name: &str,
        peer: &str,
        peer_netns: impl AsFd,
    ) -> Result<(), Fault> {
        let netns = peer_netns.as_fd().as_raw_fd().to_ne_bytes();
        let mut message = Builder::new(&link_header(0, 0));
        message.attribute(3, &terminated(name));
        message.nest(18, |info| {
            info.attribute(1, b"veth");
            info.nest(2, |data| {
                data.nest(1, |end| {
                    end.bytes.extend(link_header(0, 0));
                    end.attribute(3, &terminated(peer));
                    end.attribute(28, &netns);
                });
            });
        });
        self.request(NEW_LINK, CREATE, message)
            .doing(|| format!("create veth {name}"))
    }

    /// Removes an interface (of a pair: both ends).
    pub(crate) fn delete_link(&mut self, interface: u32) -> Result<(), Fault> {
        let message = Builder::new(&link_header(interface, 0));
        self.request(DELETE_LINK, 0, message)
            .doing(|| format!("delete interface {interface}"))
    }

    /// Brings an interface up.
    pub(crate) fn up(&mut self, interface: u32) -> Result<(), Fault> {
        let message = Builder::new(&link_header(interface, 1));
        self.request(NEW_LINK, 0, message)
            .doing(|| format!("bring interface {interface} up"))
    }

    /// Adds `address`/32.
    pub(crate) fn add_address(&mut self, interface: u32, address: Ipv4Addr) -> Result<(), Fault> {
        let mut header = vec![AF_INET, 32, 0, 0];
        header.extend(interface.to_ne_bytes());
        let mut message = Builder::new(&header);
        message.attribute(2, &address.octets());
        message.attribute(1, &address.octets());
        self.request(NEW_ADDRESS, CREATE, message)
            .doing(|| format!("add address {address}"))
    }

    /// Adds a route; one that exists already is fine.
    pub(crate) fn add_route(&mut self, route: Route) -> Result<(), Fault> {
        const UNICAST: u8 = 1;
        const LOCAL: u8 = 2;
        let prefix = route.to.map_or(0, |(_, prefix)| prefix);
        let (table, scope, kind) = match (route.local, route.via) {
            (true, _) => (255, 254, LOCAL),
            (false, None) => (254, 253, UNICAST),
            (false, Some(_)) => (254, 0, UNICAST),
        };
        let mut header = vec![AF_INET, prefix, 0, 0, table, 3, scope, kind];
        header.extend(if route.on_link { 4_u32 } else { 0 }.to_ne_bytes());
        let mut message = Builder::new(&header);
        if let Some((network, _)) = route.to {
            message.attribute(1, &network.octets());
        }
        if let Some(hop) = route.via {
            message.attribute(5, &hop.octets());
        }
        message.attribute(4, &route.interface.to_ne_bytes());
        match self.request(NEW_ROUTE, CREATE, message) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno).doing(|| format!("add route {route:?}")),
        }
    }

    fn request(&mut self, kind: u16, flags: u16, message: Builder) -> Result<(), Errno> {
        self.sequence += 1;
        let body = message.bytes;
        let length = u32::try_from(body.len() + 16).map_err(|_| Errno::EMSGSIZE)?;
        let mut packet = length.to_ne_bytes().to_vec();
        packet.extend(kind.to_ne_bytes());
        packet.extend((REQUEST_WITH_ACK | flags).to_ne_bytes());
        packet.extend(self.sequence.to_ne_bytes());
        packet.extend([0; 4]);
        packet.extend(body);
        send(self.socket.as_raw_fd(), &packet, MsgFlags::empty())?;
        let mut answer = [0_u8; 4096];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let answer = answer.get(..length).unwrap_or_default();
        if word(answer, 4).map(|kind| kind & 0xffff) != Some(u32::from(ERROR)) {
            return Err(Errno::EBADMSG);
        }
        match word(answer, 16).map(u32::cast_signed) {
            Some(0) => Ok(()),
            Some(code) => Err(Errno::from_raw(-code)),
            None => Err(Errno::EBADMSG),
        }
    }
}

const AF_INET: u8 = 2;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_ne_bytes)
}

fn link_header(interface: u32, up: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(interface.to_ne_bytes());
    header.extend(up.to_ne_bytes());
    header.extend(up.to_ne_bytes());
    header
}

fn terminated(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The body of a request: a fixed header, then attributes.
#[derive(Debug)]
struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    fn new(header: &[u8]) -> Self {
        Self {
            bytes: header.to_vec(),
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |inner| inner.bytes.extend(value));
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self { bytes: Vec::new() };
        fill(&mut inner);
        let length = u16::try_from(inner.bytes.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(inner.bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_but_keep_their_length() {
        let mut builder = Builder::new(&[]);
        builder.attribute(3, b"ab\0");
        assert_eq!(builder.bytes, [7, 0, 3, 0, b'a', b'b', 0, 0]);
    }

    #[test]
    fn nested_attributes_count_their_padding() {
        let mut builder = Builder::new(&[]);
        builder.nest(18, |inner| inner.attribute(1, b"x"));
        assert_eq!(builder.bytes[..2], [12, 0]);
        assert_eq!(builder.bytes.len(), 12);
    }
}
