//! Pod addresses of one node: unique while in use, reused as late as possible.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// A `pod_cidr` that cannot hold pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pod CIDR {0:?} is not an IPv4 range of at least 4 addresses, like 10.244.1.0/24")]
pub struct BadCidr(pub String);

/// The addresses of one node.
#[derive(Debug, Clone)]
pub struct Pool {
    base: u32,
    size: u32,
    next: u32,
    used: BTreeSet<u32>,
}

impl Pool {
    /// The addresses of a range like `10.244.1.0/24`, without the first two and the last.
    pub fn new(cidr: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr(cidr.to_owned());
        let (base, bits) = cidr.split_once('/').ok_or_else(bad)?;
        let base: Ipv4Addr = base.parse().map_err(|_| bad())?;
        let bits: u32 = bits.parse().map_err(|_| bad())?;
        if !(1..=30).contains(&bits) {
            return Err(bad());
        }
        let size = 1_u32 << (32 - bits);
        let base = u32::from(base) & !(size - 1);
        Ok(Self {
            base,
            size,
            next: 2,
            used: BTreeSet::new(),
        })
    }

    /// The node's own address in the range.
    pub fn gateway(&self) -> IpAddr {
        Ipv4Addr::from(self.base + 1).into()
    }

    /// Whether an address is in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => u32::from(ip).wrapping_sub(self.base) < self.size,
            IpAddr::V6(_) => false,
        }
    }

    /// An address nobody uses; `None` when all are in use.
    pub fn take(&mut self) -> Option<IpAddr> {
        let usable = self.size - 3;
        for _ in 0..usable {
            let offset = self.next;
            self.next = if offset + 2 >= self.size {
                2
            } else {
                offset + 1
            };
            if self.used.insert(offset) {
                return Some(Ipv4Addr::from(self.base + offset).into());
            }
        }
        None
    }

    /// Gives an address back.
    pub fn free(&mut self, ip: IpAddr) {
        if let IpAddr::V4(ip) = ip {
            self.used.remove(&u32::from(ip).wrapping_sub(self.base));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_address_is_reused_only_after_all_others() {
        let mut pool = Pool::new("10.244.1.0/29").unwrap();
        let first = pool.take().unwrap();
        assert_eq!(first.to_string(), "10.244.1.2");
        assert!(pool.contains(first) && !pool.contains("10.244.1.8".parse().unwrap()));
        pool.free(first);
        let rest: Vec<String> = (0..5).map(|_| pool.take().unwrap().to_string()).collect();
        assert_eq!(
            rest,
            [
                "10.244.1.3",
                "10.244.1.4",
                "10.244.1.5",
                "10.244.1.6",
                "10.244.1.2"
            ]
        );
        assert_eq!(pool.take(), None);
    }

    #[rstest::rstest]
    #[case("10.244.1.0")]
    #[case("10.244.1.0/33")]
    #[case("fd00::/64")]
    #[case("10.244.1.0/31")]
    fn a_range_that_holds_no_pods_is_refused(#[case] cidr: &str) {
        assert_eq!(Pool::new(cidr).unwrap_err(), BadCidr(cidr.to_owned()));
    }
}
