//! Values while an expression runs. What comes from JSON stays there until it is looked at.

mod compare;
mod json;
mod list;
mod map;

pub(crate) use compare::{compare, equals};
pub(crate) use json::go_duration;
pub use list::List;
pub(crate) use list::union;
pub use map::{Key, Map, Shape};

use crate::authorizer::{Authorizer, Check, Decision};
use crate::library::net::Cidr;
use crate::library::semver::Semver;
use crate::library::url::Url;
use crate::types::OpaqueType;
use jiff::{SignedDuration, Timestamp};
use plimsoll_quantity::Quantity;
use std::net::IpAddr;
use std::sync::Arc;

/// A value; `'a` is the data it was read from.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// Text.
    Text(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(SignedDuration),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A type, by name.
    Type(Arc<str>),
    /// A value that may be absent.
    Optional(Option<Arc<Value<'a>>>),
    /// A value of one of the libraries.
    Opaque(Opaque<'a>),
}

/// Text, borrowed from the data or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// From the data.
    Borrowed(&'a str),
    /// Made on the way.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// A value of one of the libraries.
#[derive(Debug, Clone)]
pub enum Opaque<'a> {
    /// A quantity.
    Quantity(Quantity),
    /// A URL.
    Url(Arc<Url>),
    /// An address.
    Ip(IpAddr),
    /// A network.
    Cidr(Cidr),
    /// A version.
    Semver(Arc<Semver>),
    /// A named format.
    Format(&'static str),
    /// Who decides what the requester may do.
    Authorizer(&'a dyn Authorizer),
    /// A question to it, being put together.
    Check(Arc<Check<'a>>),
    /// Its answer.
    Decision(Arc<Decision>),
    /// The composed `variables`.
    Variables,
}

impl<'a> Value<'a> {
    /// Text made on the way.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Text::Shared(text.into()))
    }

    /// A list of values.
    pub fn list(items: Vec<Value<'a>>) -> Self {
        Self::List(List::Items(Arc::new(items)))
    }

    /// The name of its type.
    pub(crate) fn type_name(&self) -> String {
        match self {
            Self::Null => "null_type".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Uint(_) => "uint".to_owned(),
            Self::Double(_) => "double".to_owned(),
            Self::Text(_) => "string".to_owned(),
            Self::Bytes(_) => "bytes".to_owned(),
            Self::Timestamp(_) => "google.protobuf.Timestamp".to_owned(),
            Self::Duration(_) => "google.protobuf.Duration".to_owned(),
            Self::List(_) => "list".to_owned(),
            Self::Map(map) => map.name().map_or_else(|| "map".to_owned(), str::to_owned),
            Self::Type(_) => "type".to_owned(),
            Self::Optional(_) => "optional_type".to_owned(),
            Self::Opaque(opaque) => opaque.kind().name().to_owned(),
        }
    }

    /// How large it is, for its cost: bytes of text, items of a list, else 1.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::Text(text) => text.as_str().len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Optional(Some(inner)) => return inner.size(),
            _ => 1,
        };
        u64::try_from(size).unwrap_or(u64::MAX)
    }
}

impl Opaque<'_> {
    /// Its type.
    pub(crate) fn kind(&self) -> OpaqueType {
        match self {
            Self::Quantity(_) => OpaqueType::Quantity,
            Self::Url(_) => OpaqueType::Url,
            Self::Ip(_) => OpaqueType::Ip,
            Self::Cidr(_) => OpaqueType::Cidr,
            Self::Semver(_) => OpaqueType::Semver,
            Self::Format(_) => OpaqueType::Format,
            Self::Authorizer(_) => OpaqueType::Authorizer,
            Self::Check(check) => check.kind(),
            Self::Decision(_) => OpaqueType::Decision,
            Self::Variables => OpaqueType::Variables,
        }
    }
}
