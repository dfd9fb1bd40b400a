//! `url(…)` and its methods.

use super::{Cost, Pat, Row, Size, global, method};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::OpaqueType;
use crate::value::{Key, Map, Opaque, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const U: Pat = Pat::Lib(OpaqueType::Url);
const QUERY: Pat = Pat::Map(&Pat::Text, &Pat::List(&Pat::Text));

pub(super) const TABLE: &[Row] = &[
    ("url", global(&[Pat::Text], U, parse).cost(Cost::Scan)),
    (
        "isURL",
        global(&[Pat::Text], Pat::Bool, is_url).cost(Cost::Scan),
    ),
    (
        "getScheme",
        method(&[U], Pat::Text, scheme).size(Size::First),
    ),
    ("getHost", method(&[U], Pat::Text, host).size(Size::First)),
    (
        "getHostname",
        method(&[U], Pat::Text, hostname).size(Size::First),
    ),
    ("getPort", method(&[U], Pat::Text, port).size(Size::First)),
    (
        "getEscapedPath",
        method(&[U], Pat::Text, path).size(Size::First),
    ),
    ("getQuery", method(&[U], QUERY, query)),
];

/// An absolute URL or an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_ascii_control()) {
            return None;
        }
        // A fragment is never sent, so upstream's request form takes `#` as part of the rest.
        let (head, query) = text.split_once('?').unwrap_or((text, ""));
        if head.starts_with('/') && !head.starts_with("//") {
            let path = escaped_path(head)?;
            let (scheme, host) = (String::new(), String::new());
            return Some(Self {
                scheme,
                host,
                path,
                query: query.to_owned(),
            });
        }
        let (scheme, rest) = head.split_once(':')?;
        let mut letters = scheme.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
        if !first || !letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
            return None;
        }
        let rest = rest.strip_prefix('/')?;
        let (host, path) = match rest.strip_prefix('/') {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                rest.split_at_checked(end)?
            }
            None => ("", head.split_once(':')?.1),
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if !valid_host(host) {
            return None;
        }
        let path = escaped_path(path)?;
        let scheme = scheme.to_ascii_lowercase();
        Some(Self {
            scheme,
            host: host.to_owned(),
            path,
            query: query.to_owned(),
        })
    }

    fn split_host(&self) -> (&str, &str) {
        if let Some(rest) = self.host.strip_prefix('[')
            && let Some((inner, after)) = rest.split_once(']')
        {
            return (inner, after.strip_prefix(':').unwrap_or_default());
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }
}

fn valid_host(host: &str) -> bool {
    let allowed = |c: char| {
        c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]%<>\"".contains(c) || !c.is_ascii()
    };
    let port = match (host.strip_prefix('['), host.rsplit_once(':')) {
        (Some(rest), _) => match rest.split_once(']') {
            Some((_, "")) => Some(""),
            Some((_, after)) => after.strip_prefix(':'),
            None => None,
        },
        (None, Some((_, port))) => Some(port),
        (None, None) => Some(""),
    };
    host.chars().all(allowed) && port.is_some_and(|port| port.chars().all(|c| c.is_ascii_digit()))
}

/// The path with what needs it escaped; `None` for a broken escape.
fn escaped_path(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                if !pair.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                out.push('%');
                out.extend(pair.iter().map(|b| char::from(*b)));
            }
            b if b.is_ascii_alphanumeric() || b"-._~$&+,/:;=@!'()*[]".contains(&b) => {
                out.push(char::from(b));
            }
            b => {
                let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
                out.push('%');
                out.push(digit(b >> 4).to_ascii_uppercase());
                out.push(digit(b & 15).to_ascii_uppercase());
            }
        }
    }
    Some(out)
}

/// A query component without escapes.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut ahead = bytes.clone();
                if let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) {
                    out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    bytes = ahead;
                } else {
                    out.push(b'%');
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn parse<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Text(text)] = args else {
        return super::mismatch();
    };
    let text = text.as_str();
    let fail = || {
        EvalError::bad(format!(
            "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
        ))
    };
    Ok(Value::Opaque(Opaque::Url(Arc::new(
        Url::parse(text).ok_or_else(fail)?,
    ))))
}

fn is_url<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] => Ok(Value::Bool(Url::parse(text.as_str()).is_some())))
}

fn part<'a>(args: &[Value<'a>], of: fn(&Url) -> &str) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Url(url))] => Ok(Value::text(of(url))))
}

fn scheme<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |url| &url.scheme)
}

fn host<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |url| &url.host)
}

fn hostname<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |url| url.split_host().0)
}

fn port<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |url| url.split_host().1)
}

fn path<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |url| &url.path)
}

fn query<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Opaque(Opaque::Url(url))] = args else {
        return super::mismatch();
    };
    let mut found: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for pair in url.query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        found
            .entry(unescaped(key))
            .or_default()
            .push(Value::text(unescaped(value)));
    }
    let entries = found
        .into_iter()
        .map(|(key, values)| (Key::Text(key.into()), Value::list(values)));
    Ok(Value::Map(Map::entries(entries.collect())))
}
