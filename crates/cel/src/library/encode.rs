//! `base64.…` and `jsonpatch.escapeKey`.

use super::{Cost, Pat, Row, Size, global};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::Value;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub(super) const TABLE: &[Row] = &[
    (
        "base64.encode",
        global(&[Pat::Bytes], Pat::Text, encode)
            .cost(Cost::Scan)
            .size(Size::Sum),
    ),
    (
        "base64.decode",
        global(&[Pat::Text], Pat::Bytes, decode)
            .cost(Cost::Scan)
            .size(Size::First),
    ),
    (
        "jsonpatch.escapeKey",
        global(&[Pat::Text], Pat::Text, escape_key)
            .cost(Cost::Scan)
            .size(Size::Sum),
    ),
];

fn encode<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Bytes(bytes)] => Ok(Value::text(STANDARD.encode(bytes))))
}

fn decode<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Text(text)] = args else {
        return super::mismatch();
    };
    let text = text.as_str();
    let decoded = STANDARD
        .decode(text)
        .or_else(|_| STANDARD_NO_PAD.decode(text));
    decoded
        .map(|bytes| Value::Bytes(bytes.into()))
        .map_err(|error| EvalError::bad(format!("illegal base64 data: {error}")))
}

fn escape_key<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] =>
        Ok(Value::text(text.as_str().replace('~', "~0").replace('/', "~1"))))
}
