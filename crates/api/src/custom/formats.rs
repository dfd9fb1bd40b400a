//! `format` of schemas. Unknown formats accept everything.

use super::check::is_integer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a value has the format. Text formats only look at text, number formats at numbers.
pub(super) fn accepts(format: &str, value: &Value, numeric: bool) -> bool {
    match value {
        Value::String(text) if !numeric => text_accepts(format, text),
        Value::Number(number) if numeric => match format {
            "int32" => {
                number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) || fits_float(number)
            }
            "int64" => number.is_i64() || is_integer(value) && !number.is_u64(),
            "float" => number
                .as_f64()
                .is_some_and(|n| n.abs() <= f64::from(f32::MAX)),
            _ => true,
        },
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => true,
    }
}

/// A whole number written with a fraction, in the range of int32.
fn fits_float(number: &serde_json::Number) -> bool {
    let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
    number.is_f64() && number.as_f64().is_some_and(|n| range.contains(&n))
}

/// Whether this is a format that text is checked against.
pub(super) fn is_known(format: &str) -> bool {
    const KNOWN: [&str; 26] = [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "password",
        "date",
        "duration",
        "datetime",
        "date-time",
        "k8s-short-name",
    ];
    KNOWN.contains(&format) || format == "k8s-long-name"
}

fn text_accepts(format: &str, text: &str) -> bool {
    match format {
        "bsonobjectid" => text.len() == 24 && is_hex(text),
        "uri" => uri(text),
        "email" => email(text),
        "hostname" => hostname(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "mac" => mac(text),
        "uuid" => uuid(text, None),
        "uuid3" => uuid(text, Some('3')),
        "uuid4" => uuid(text, Some('4')),
        "uuid5" => uuid(text, Some('5')),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "creditcard" => credit_card(text),
        "ssn" => ssn(text),
        "hexcolor" => hex_color(text),
        "rgbcolor" => rgb_color(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => duration(text),
        "datetime" | "date-time" => date_time(text),
        "k8s-short-name" => crate::names::is_dns_label(text).is_ok(),
        "k8s-long-name" => crate::names::is_dns_subdomain(text).is_ok(),
        _ => true,
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn uri(text: &str) -> bool {
    let scheme = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let absolute = text.split_once(':').is_some_and(|(s, _)| scheme(s)) || text.starts_with('/');
    absolute && !text.chars().any(|c| c.is_ascii_control() || c == ' ')
}

fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    !local.is_empty()
        && local.chars().all(plain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && hostname(domain)
}

fn hostname(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 255 && text.split('.').all(label)
}

fn cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let digits = prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix: Option<u8> = prefix.parse().ok().filter(|_| digits);
    let longest = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(_), _) => 32,
        (_, Ok(_)) => 128,
        (Err(_), Err(_)) => return false,
    };
    prefix.is_some_and(|prefix| prefix <= longest)
}

fn mac(text: &str) -> bool {
    [':', '-'].iter().any(|separator| {
        let parts: Vec<&str> = text.split(*separator).collect();
        matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|p| p.len() == 2 && is_hex(p))
    })
}

fn uuid(text: &str, version: Option<char>) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    let dashed = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) || text.len() == 32;
    let has_version = version.is_none_or(|v| plain.chars().nth(12) == Some(v));
    let has_variant = matches!(version, None | Some('3'))
        || plain.chars().nth(16).is_some_and(|c| "89abAB".contains(c));
    plain.len() == 32 && is_hex(&plain) && dashed && has_version && has_variant
}

fn digits(text: &str) -> Option<Vec<u32>> {
    let plain = text.chars().filter(|c| !matches!(c, '-' | ' '));
    plain.map(|c| c.to_digit(10)).collect()
}

fn isbn10(text: &str) -> bool {
    let plain: Vec<char> = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let value = |(index, c): (usize, &char)| match c {
        'X' | 'x' if index == 9 => Some(10),
        c => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = plain.iter().enumerate().map(value).collect();
    values.is_some_and(|v| {
        v.len() == 10
            && v.iter()
                .zip((1..=10).rev())
                .map(|(d, w)| d * w)
                .sum::<u32>()
                % 11
                == 0
    })
}

fn isbn13(text: &str) -> bool {
    digits(text).is_some_and(|v| {
        v.len() == 13
            && v.iter()
                .zip([1, 3].iter().cycle())
                .map(|(d, w)| d * w)
                .sum::<u32>()
                % 10
                == 0
    })
}

fn credit_card(text: &str) -> bool {
    digits(text).is_some_and(|v| {
        let doubled = v
            .iter()
            .rev()
            .enumerate()
            .map(|(i, d)| match (i % 2, d * 2) {
                (0, _) => *d,
                (_, twice) => twice / 10 + twice % 10,
            });
        (12..=19).contains(&v.len()) && doubled.sum::<u32>() % 10 == 0
    })
}

fn ssn(text: &str) -> bool {
    let lengths = text.split(['-', ' ']).map(str::len).eq([3, 2, 4]);
    lengths
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '-' | ' '))
}

fn hex_color(text: &str) -> bool {
    let text = text.strip_prefix('#').unwrap_or(text);
    matches!(text.len(), 3 | 6) && is_hex(text)
}

fn rgb_color(text: &str) -> bool {
    let inside = text
        .strip_prefix("rgb(")
        .and_then(|rest| rest.strip_suffix(')'));
    inside.is_some_and(|inside| {
        let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
        parts.len() == 3 && parts.iter().all(|p| p.parse::<u8>().is_ok())
    })
}

/// `1h30m`, `-1.5s`, or words such as `3 days`.
fn duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let units = [
        "ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "w", "sec", "secs", "second", "seconds",
        "min", "mins", "minute", "minutes", "hour", "hours", "day", "days", "week", "weeks",
    ];
    let mut rest = text.trim();
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (amount, after) = rest.split_at(number);
        let after = after.trim_start();
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, more) = after.split_at(end);
        if amount.parse::<f64>().is_err() || !units.contains(&unit.trim()) {
            return false;
        }
        rest = more;
    }
    !text.is_empty()
}

fn date_time(text: &str) -> bool {
    let has_time = text.get(10..11).is_some_and(|t| matches!(t, "T" | "t"));
    has_time && !text.contains('[') && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("date-time", "2026-01-02T03:04:05Z", true)]
    #[case("date-time", "2026-01-02T03:04:05.678+01:00", true)]
    #[case("date-time", "2026-01-02", false)]
    #[case("date", "2026-01-02", true)]
    #[case("date", "2026-13-02", false)]
    #[case("duration", "1h30m", true)]
    #[case("duration", "-1.5s", true)]
    #[case("duration", "soon", false)]
    #[case("ipv4", "10.0.0.1", true)]
    #[case("ipv4", "10.0.0.256", false)]
    #[case("ipv6", "::1", true)]
    #[case("cidr", "10.0.0.0/8", true)]
    #[case("cidr", "10.0.0.0/33", false)]
    #[case("cidr", "fe80::/64", true)]
    #[case("uri", "https://example.com/x", true)]
    #[case("uri", "not a uri", false)]
    #[case("email", "a@example.com", true)]
    #[case("email", "example.com", false)]
    #[case("hostname", "web-1.example.com", true)]
    #[case("hostname", "-x", false)]
    #[case("uuid", "123e4567-e89b-12d3-a456-426614174000", true)]
    #[case("uuid4", "123e4567-e89b-12d3-a456-426614174000", false)]
    #[case("uuid4", "123e4567-e89b-42d3-a456-426614174000", true)]
    #[case("mac", "01:23:45:67:89:ab", true)]
    #[case("byte", "aGk=", true)]
    #[case("byte", "aGk", false)]
    #[case("isbn10", "0-306-40615-2", true)]
    #[case("isbn13", "978-0-306-40615-7", true)]
    #[case("creditcard", "4242 4242 4242 4242", true)]
    #[case("hexcolor", "#fff", true)]
    #[case("rgbcolor", "rgb(1, 2, 300)", false)]
    #[case("k8s-short-name", "My", false)]
    #[case("made-up", "anything", true)]
    fn text_formats(#[case] format: &str, #[case] text: &str, #[case] want: bool) {
        assert_eq!(accepts(format, &text.into(), false), want);
    }

    #[rstest]
    #[case("int32", 2_147_483_647_i64, true)]
    #[case("int32", 2_147_483_648, false)]
    #[case("int64", 2_147_483_648, true)]
    fn number_formats(#[case] format: &str, #[case] number: i64, #[case] want: bool) {
        assert_eq!(accepts(format, &number.into(), true), want);
    }
}
