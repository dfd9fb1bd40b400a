//! The cluster's network: one namespace with the gateway, one point-to-point link per pod.

use super::fault::{Doing, Fault};
use super::netlink::{Netlink, Route};
use super::protocol::{Cidr, LauncherConfig, Purpose};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt,
};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The next hop of every pod: the same link-local address on each host end, so that no address of
/// the pods' range is spent on it.
const POD_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const LINK_TO_HOST: &str = "plimsoll0";

/// The cluster's network namespace, in which the helper itself lives.
#[derive(Debug)]
pub(crate) struct ClusterNetwork {
    cluster: OwnedFd,
    host: Option<OwnedFd>,
    links: u64,
}

/// A pod's network namespace; it lives as long as this (or a process in it).
#[derive(Debug)]
pub(crate) struct PodNetwork {
    /// The namespace.
    pub(crate) netns: OwnedFd,
    link: String,
}

impl ClusterNetwork {
    /// Leaves the host's network for a new one with the gateway and the Services' range.
    pub(crate) fn enter(config: &LauncherConfig, keep_host: bool) -> Result<Self, Fault> {
        let host = if keep_host { Some(current()?) } else { None };
        unshare(CloneFlags::CLONE_NEWNET).doing(|| "make the cluster's network".into())?;
        let cluster = current()?;
        let mut netlink = Netlink::open()?;
        let loopback = index("lo")?;
        netlink.up(loopback)?;
        netlink.add_address(loopback, config.gateway)?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").doing(|| "enable forwarding".into())?;
        let services = Some((config.service_cidr.address, config.service_cidr.prefix));
        let route = Route {
            to: services,
            interface: loopback,
            local: true,
            ..Route::default()
        };
        netlink.add_route(route)?;
        Ok(Self {
            cluster,
            host,
            links: 0,
        })
    }

    /// Links the host to the cluster; `routes` is the host's table, in `/proc/net/route` form.
    ///
    /// Nothing is added where a range is already routed elsewhere.
    pub(crate) fn link_host(&self, config: &LauncherConfig, routes: &str) -> Result<(), Fault> {
        let host = self.host.as_ref().ok_or_else(|| Fault::new("not root"))?;
        for range in [config.pod_cidr, config.service_cidr] {
            if let Some(device) = conflict(routes, range) {
                let Cidr { address, prefix } = range;
                let what = format!("the host already routes {address}/{prefix} to {device}");
                return Err(Fault::new(what));
            }
        }
        let mut netlink = Netlink::open()?;
        netlink.add_veth("host0", LINK_TO_HOST, host)?;
        let near = index("host0")?;
        let to = Some((config.host_address, 32));
        self.in_namespace(host, || -> Result<(), Fault> {
            let mut netlink = Netlink::open()?;
            let far = index(LINK_TO_HOST)?;
            netlink.up(far)
        })?;
        netlink.up(near)?;
        netlink.add_route(Route {
            to,
            interface: near,
            ..Route::default()
        })?;
        self.in_namespace(host, || {
            let mut netlink = Netlink::open()?;
            let interface = index(LINK_TO_HOST)?;
            netlink.add_address(interface, config.host_address)?;
            [config.pod_cidr, config.service_cidr]
                .into_iter()
                .try_for_each(|range| {
                    let to = Some((range.address, range.prefix));
                    let via = Some(config.gateway);
                    netlink.add_route(Route {
                        to,
                        via,
                        interface,
                        on_link: true,
                        local: false,
                    })
                })
        })
    }

    /// Removes the link to the host now; the namespace's end would do it a little later.
    pub(crate) fn unlink_host() {
        let _absent = index("host0").and_then(|link| Netlink::open()?.delete_link(link));
    }

    /// Makes a pod's namespace with `eth0`, its address and its default route.
    pub(crate) fn add_pod(&mut self, address: Ipv4Addr) -> Result<PodNetwork, Fault> {
        self.links += 1;
        let link = format!("pod{}", self.links);
        unshare(CloneFlags::CLONE_NEWNET).doing(|| "make the pod's network".into())?;
        let netns = current();
        self.come_home()?;
        let netns = netns?;
        let mut netlink = Netlink::open()?;
        netlink.add_veth(&link, "eth0", &netns)?;
        let near = index(&link)?;
        netlink.add_address(near, POD_GATEWAY)?;
        netlink.up(near)?;
        self.in_namespace(&netns, || {
            // As other runtimes do: programs that are not root serve on port 80, too.
            let _absent = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
            let mut netlink = Netlink::open()?;
            netlink.up(index("lo")?)?;
            let interface = index("eth0")?;
            netlink.up(interface)?;
            netlink.add_address(interface, address)?;
            let to = Some((POD_GATEWAY, 32));
            netlink.add_route(Route {
                to,
                interface,
                ..Route::default()
            })?;
            netlink.add_route(Route {
                via: Some(POD_GATEWAY),
                interface,
                ..Route::default()
            })
        })?;
        let to = Some((address, 32));
        netlink.add_route(Route {
            to,
            interface: near,
            ..Route::default()
        })?;
        Ok(PodNetwork { netns, link })
    }

    /// The network of pods that share their node's: the host's as root, else the cluster's.
    pub(crate) fn node(&self) -> Result<PodNetwork, Fault> {
        let netns = self.host.as_ref().unwrap_or(&self.cluster);
        let netns = netns
            .try_clone()
            .doing(|| "keep the node's network".into())?;
        Ok(PodNetwork {
            netns,
            link: String::new(),
        })
    }

    /// Removes a pod's link; its namespace goes with the last process in it.
    pub(crate) fn remove_pod(pod: &PodNetwork) -> Result<(), Fault> {
        if pod.link.is_empty() {
            return Ok(());
        }
        Netlink::open()?.delete_link(index(&pod.link)?)
    }

    /// Does something inside another network.
    pub(crate) fn in_namespace<T>(
        &self,
        netns: impl AsFd,
        work: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        setns(netns, CloneFlags::CLONE_NEWNET).doing(|| "enter a network".into())?;
        let result = work();
        self.come_home()?;
        result
    }

    fn come_home(&self) -> Result<(), Fault> {
        setns(&self.cluster, CloneFlags::CLONE_NEWNET)
            .doing(|| "return to the cluster's network".into())
    }
}

/// Makes a socket in the cluster's network, not blocking.
pub(crate) fn open_socket(purpose: Purpose, address: SocketAddr) -> Result<OwnedFd, Fault> {
    let IpAddr::V4(ip) = address.ip() else {
        return Err(Fault::new(format!("{address} is not an IPv4 address")));
    };
    let kind = match purpose {
        Purpose::Listen | Purpose::Connect => SockType::Stream,
        Purpose::Datagram => SockType::Datagram,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Inet, kind, flags, None).doing(|| "make a socket".into())?;
    if purpose == Purpose::Connect {
        return Ok(made);
    }
    setsockopt(&made, sockopt::ReuseAddr, &true).doing(|| "set reuseaddr".into())?;
    let [a, b, c, d] = ip.octets();
    bind(
        made.as_raw_fd(),
        &SockaddrIn::new(a, b, c, d, address.port()),
    )
    .doing(|| format!("bind {address}"))?;
    if purpose == Purpose::Listen {
        let backlog = Backlog::new(1024).unwrap_or(Backlog::MAXCONN);
        listen(&made, backlog).doing(|| format!("listen on {address}"))?;
    }
    Ok(made)
}

fn current() -> Result<OwnedFd, Fault> {
    let file = fs::File::open("/proc/self/ns/net").doing(|| "open /proc/self/ns/net".into())?;
    Ok(file.into())
}

fn index(name: &str) -> Result<u32, Fault> {
    if_nametoindex(name).doing(|| format!("find interface {name}"))
}

/// The device of a route in `routes` (text of `/proc/net/route`) that overlaps `range`.
fn conflict(routes: &str, range: Cidr) -> Option<String> {
    routes.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let device = columns.next()?;
        let address = network_order(columns.next()?)?;
        let mask = network_order(columns.nth(5)?)?;
        let prefix = u8::try_from(u32::from(mask).count_ones()).ok()?;
        let clash = prefix > 0 && range.overlaps(Cidr { address, prefix });
        clash.then(|| device.to_owned())
    })
}

/// The kernel prints addresses as the hexadecimal number that the bytes are in memory.
fn network_order(text: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(text, 16)
        .ok()
        .map(|number| Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
        eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\n\
        eth0\t000011AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
        vpn0\t0000640A\t00000000\t0001\t0\t0\t0\t0000FFFF\n";

    #[test]
    fn the_default_route_is_no_conflict() {
        let pods = Cidr {
            address: Ipv4Addr::new(10, 244, 0, 0),
            prefix: 16,
        };
        assert_eq!(conflict(ROUTES, pods), None);
    }

    #[test]
    fn a_route_inside_the_range_is_a_conflict() {
        let services = Cidr {
            address: Ipv4Addr::new(10, 96, 0, 0),
            prefix: 12,
        };
        assert_eq!(conflict(ROUTES, services).as_deref(), Some("vpn0"));
    }

    #[test]
    fn a_route_around_the_range_is_a_conflict() {
        let pods = Cidr {
            address: Ipv4Addr::new(172, 17, 0, 128),
            prefix: 25,
        };
        assert_eq!(conflict(ROUTES, pods).as_deref(), Some("eth0"));
    }
}
