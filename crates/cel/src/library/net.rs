//! `ip(…)`, `cidr(…)` and their methods.

use super::{Cost, Pat, Row, Size, global, method};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::OpaqueType;
use crate::value::{Opaque, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

type Outcome<'a> = Result<Value<'a>, EvalError>;

const IP: Pat = Pat::Lib(OpaqueType::Ip);
const CIDR: Pat = Pat::Lib(OpaqueType::Cidr);

pub(super) const TABLE: &[Row] = &[
    ("ip", global(&[Pat::Text], IP, ip).cost(Cost::Scan)),
    ("ip", method(&[CIDR], IP, ip)),
    (
        "isIP",
        global(&[Pat::Text], Pat::Bool, is_ip).cost(Cost::Scan),
    ),
    (
        "ip.isCanonical",
        global(&[Pat::Text], Pat::Bool, is_canonical).cost(Cost::Scan),
    ),
    ("family", method(&[IP], Pat::Int, family)),
    ("isUnspecified", method(&[IP], Pat::Bool, is_unspecified)),
    ("isLoopback", method(&[IP], Pat::Bool, is_loopback)),
    (
        "isLinkLocalMulticast",
        method(&[IP], Pat::Bool, is_link_local_multicast),
    ),
    (
        "isLinkLocalUnicast",
        method(&[IP], Pat::Bool, is_link_local_unicast),
    ),
    (
        "isGlobalUnicast",
        method(&[IP], Pat::Bool, is_global_unicast),
    ),
    ("cidr", global(&[Pat::Text], CIDR, cidr).cost(Cost::Scan)),
    (
        "isCIDR",
        global(&[Pat::Text], Pat::Bool, is_cidr).cost(Cost::Scan),
    ),
    (
        "containsIP",
        method(&[CIDR, Pat::Text], Pat::Bool, contains_ip),
    ),
    ("containsIP", method(&[CIDR, IP], Pat::Bool, contains_ip)),
    (
        "containsCIDR",
        method(&[CIDR, Pat::Text], Pat::Bool, contains_cidr),
    ),
    (
        "containsCIDR",
        method(&[CIDR, CIDR], Pat::Bool, contains_cidr),
    ),
    ("masked", method(&[CIDR], CIDR, masked)),
    ("prefixLength", method(&[CIDR], Pat::Int, prefix_length)),
    (
        "string",
        method(&[IP], Pat::Text, string).size(Size::Most(45)),
    ),
    (
        "string",
        method(&[CIDR], Pat::Text, string).size(Size::Most(49)),
    ),
];

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address = address_of(address)?;
        let all_digits = prefix.chars().all(|c| c.is_ascii_digit());
        let no_zeros = prefix == "0" || !prefix.starts_with('0');
        let prefix: u8 = prefix.parse().ok().filter(|_| all_digits && no_zeros)?;
        (prefix <= bits(address)).then_some(Self { address, prefix })
    }

    fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
            }
        };
        Self {
            address,
            prefix: self.prefix,
        }
    }

    fn contains(self, other: IpAddr) -> bool {
        let other = Self {
            address: other,
            prefix: self.prefix,
        };
        bits(self.address) == bits(other.address) && self.masked().address == other.masked().address
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address; neither zones nor IPv4 inside IPv6 are taken.
fn address_of(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (!mapped).then_some(address)
}

fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let fail = || {
        EvalError::bad(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        ))
    };
    address_of(text).ok_or_else(fail)
}

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    let fail = || {
        EvalError::bad(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): no '/'"
        ))
    };
    Cidr::parse(text).ok_or_else(fail)
}

fn ip<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let address = match args {
        [Value::Text(text)] => parse_ip(text.as_str())?,
        [Value::Opaque(Opaque::Cidr(cidr))] => cidr.address,
        _ => return super::mismatch(),
    };
    Ok(Value::Opaque(Opaque::Ip(address)))
}

fn is_ip<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] => Ok(Value::Bool(address_of(text.as_str()).is_some())))
}

fn is_canonical<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] =>
        Ok(Value::Bool(parse_ip(text.as_str())?.to_string() == text.as_str())))
}

fn test<'a>(args: &[Value<'a>], holds: fn(IpAddr) -> bool) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Ip(ip))] => Ok(Value::Bool(holds(*ip))))
}

fn family<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Ip(ip))] =>
        Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 })))
}

fn is_unspecified<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    test(args, |ip| ip.is_unspecified())
}

fn is_loopback<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    test(args, |ip| ip.is_loopback())
}

fn link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => v6.segments().first().is_some_and(|s| s & 0xff0f == 0xff02),
    }
}

fn link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_link_local_multicast<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    test(args, link_local_multicast)
}

fn is_link_local_unicast<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    test(args, link_local_unicast)
}

fn is_global_unicast<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    test(args, |ip| {
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
        !(broadcast || special || link_local_unicast(ip))
    })
}

fn cidr<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] =>
        Ok(Value::Opaque(Opaque::Cidr(parse_cidr(text.as_str())?))))
}

fn is_cidr<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] => Ok(Value::Bool(Cidr::parse(text.as_str()).is_some())))
}

fn contains_ip<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let (cidr, ip) = match args {
        [Value::Opaque(Opaque::Cidr(cidr)), Value::Text(text)] => (cidr, parse_ip(text.as_str())?),
        [
            Value::Opaque(Opaque::Cidr(cidr)),
            Value::Opaque(Opaque::Ip(ip)),
        ] => (cidr, *ip),
        _ => return super::mismatch(),
    };
    Ok(Value::Bool(cidr.contains(ip)))
}

fn contains_cidr<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let (cidr, other) = match args {
        [Value::Opaque(Opaque::Cidr(cidr)), Value::Text(text)] => {
            (cidr, parse_cidr(text.as_str())?)
        }
        [
            Value::Opaque(Opaque::Cidr(cidr)),
            Value::Opaque(Opaque::Cidr(other)),
        ] => (cidr, *other),
        _ => return super::mismatch(),
    };
    Ok(Value::Bool(
        other.prefix >= cidr.prefix && cidr.contains(other.address),
    ))
}

fn masked<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Cidr(cidr))] =>
        Ok(Value::Opaque(Opaque::Cidr(cidr.masked()))))
}

fn prefix_length<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Cidr(cidr))] => Ok(Value::Int(cidr.prefix.into())))
}

fn string<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Opaque(Opaque::Ip(ip))] => Ok(Value::text(ip.to_string())),
        [Value::Opaque(Opaque::Cidr(cidr))] => Ok(Value::text(cidr.to_string())),
        _ => super::mismatch(),
    }
}
