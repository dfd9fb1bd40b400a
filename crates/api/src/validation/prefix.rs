//! Address ranges in CIDR notation.

use std::net::IpAddr;

/// An address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    address: IpAddr,
    length: u32,
}

impl Prefix {
    /// What is said of a text that is none.
    pub(super) const WANTED: &'static str =
        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

    /// Reads `10.0.0.0/8`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
        let length = digits.then(|| length.parse().ok())??;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Self { address, length })
    }

    /// Whether the range is one of IPv4.
    pub(super) fn is_v4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether the other range is a part of this one, and not all of it.
    pub(super) fn strictly_contains(&self, other: &Self) -> bool {
        self.is_v4() == other.is_v4()
            && other.length > self.length
            && self.network(self.length) == other.network(self.length)
    }

    /// The first `length` bits of the address, at the top of 128.
    fn network(&self, length: u32) -> u128 {
        let bits = match self.address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        };
        bits.checked_shr(128 - length).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("10.0.0.0/8", "10.1.0.0/16", true)]
    #[case("10.0.0.0/8", "10.0.0.0/8", false)]
    #[case("10.0.0.0/8", "11.0.0.0/16", false)]
    #[case("0.0.0.0/0", "11.0.0.0/16", true)]
    #[case("2001:db8::/32", "2001:db8:1::/48", true)]
    #[case("0.0.0.0/0", "2001:db8:1::/48", false)]
    fn containment(#[case] outer: &str, #[case] inner: &str, #[case] want: bool) {
        let [outer, inner] = [outer, inner].map(|text| Prefix::parse(text).unwrap());
        assert_eq!(outer.strictly_contains(&inner), want);
    }

    #[rstest]
    #[case("10.0.0.0")]
    #[case("10.0.0.0/33")]
    #[case("10.0.0.0/")]
    #[case("10.0.0.0/+8")]
    #[case("x/8")]
    fn refuses(#[case] text: &str) {
        assert_eq!(Prefix::parse(text), None);
    }
}
