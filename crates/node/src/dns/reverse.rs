//! Names of addresses: `in-addr.arpa` and `ip6.arpa`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a name for reverse look-ups is about; `None` for other names.
pub(super) fn address(name: &str) -> Option<IpAddr> {
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<&str> = reversed.split('.').collect();
        octets.reverse();
        return octets.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let reversed = name.strip_suffix(".ip6.arpa")?;
    let mut number: u128 = 0;
    let mut digits = 0;
    for label in reversed.rsplit('.') {
        let digit = label.chars().next().filter(|_| label.len() == 1)?;
        number = (number << 4) | u128::from(digit.to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then(|| Ipv6Addr::from(number).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::four("20.0.96.10.in-addr.arpa", Some("10.96.0.20"))]
    #[case::six(
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        Some("fd00::1")
    )]
    #[case::a_range("0.96.10.in-addr.arpa", None)]
    #[case::too_much("1.20.0.96.10.in-addr.arpa", None)]
    #[case::no_octet("300.0.96.10.in-addr.arpa", None)]
    #[case::a_short_six("1.0.d.f.ip6.arpa", None)]
    #[case::no_digit(
        "g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        None
    )]
    #[case::a_name("web.default.svc.cluster.local", None)]
    fn addresses_are_read_backwards(#[case] name: &str, #[case] want: Option<&str>) {
        assert_eq!(address(name).map(|ip| ip.to_string()).as_deref(), want);
    }
}
