//! Messages to objects.

use super::wire::{Reader, Wire};
use super::{MAGIC, Malformed};
use crate::decode::node::zero;
use crate::decode::scalar::{micros, whole_seconds};
use crate::schema::{self, FieldDef, FieldType, Item, Shape, TypeDef, TypeId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Decodes a message. `depth` counts down.
pub(super) fn message(ty: TypeId, raw: &[u8], depth: usize) -> Result<Value, Malformed> {
    let row = schema::get(ty);
    let place = Place {
        name: row.short_name(),
        depth,
    };
    Ok(place.typed(ty, raw)?.unwrap_or(Value::Null))
}

/// Where a value is read, for messages and against endless nesting.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    depth: usize,
}

impl Place {
    fn deeper(self, name: &'static str) -> Result<Self, Malformed> {
        let depth = self.depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        Ok(Self { name, depth })
    }

    /// A value of a type of the table; `None` where it stands for absence.
    fn typed(self, ty: TypeId, raw: &[u8]) -> Result<Option<Value>, Malformed> {
        let row = schema::get(ty);
        match row.shape {
            Shape::Object => {
                let mut map = Map::new();
                self.fields(row, &mut Vec::new(), raw, &mut map)?;
                Ok(Some(Value::Object(map)))
            }
            Shape::Quantity => self.quantity(raw).map(Some),
            Shape::IntOrString => self.int_or_string(raw).map(Some),
            Shape::Time => Ok(self.time(raw)?.map(|time| Value::from(whole_seconds(time)))),
            Shape::MicroTime => Ok(self.time(raw)?.map(|time| Value::from(micros(time)))),
            Shape::RawExtension | Shape::FieldsV1 | Shape::Json => self.embedded_json(raw),
            Shape::JsonSchemaOrArray | Shape::JsonSchemaOrBool | Shape::JsonSchemaOrStrings => {
                self.schema_or(row.shape, raw)
            }
        }
    }

    /// Reads the fields of a message that `prefix` leads to inside an object's own message.
    fn fields(
        self,
        row: &'static TypeDef,
        prefix: &mut Vec<u16>,
        raw: &[u8],
        map: &mut Map<String, Value>,
    ) -> Result<(), Malformed> {
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.next()? {
            let here = |f: &&FieldDef| f.number == number && f.embedded() == prefix.as_slice();
            if let Some(field) = row.fields.iter().find(here) {
                self.deeper(field.name)?.field(field, wire, map)?;
                continue;
            }
            prefix.push(number);
            if row.fields.iter().any(|f| f.embedded().starts_with(prefix)) {
                let inner = wire.bytes(row.short_name())?;
                self.deeper(self.name)?.fields(row, prefix, inner, map)?;
            }
            prefix.pop();
        }
        Ok(())
    }

    fn field(
        self,
        field: &FieldDef,
        wire: Wire<'_>,
        map: &mut Map<String, Value>,
    ) -> Result<(), Malformed> {
        match field.ty {
            FieldType::One(item) => {
                let keep_zero = field.required() || field.tells_zero_from_absent();
                let value = self.item(item, wire)?;
                match value.filter(|value| keep_zero || !is_zero(item, value)) {
                    Some(value) => drop(map.insert(field.name.to_owned(), value)),
                    None => drop(map.shift_remove(field.name)),
                }
            }
            FieldType::List(item) => {
                let list = map
                    .entry(field.name)
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    self.elements(item, wire, list)?;
                }
            }
            FieldType::Map(item) => {
                let (key, value) = self.entry(wire)?;
                let value = match value {
                    Some(wire) => self.item(item, wire)?,
                    None => None,
                };
                let value = value.unwrap_or_else(|| zero(FieldType::One(item)));
                crate::meta::as_object(map.entry(field.name).or_insert(Value::Null))
                    .insert(key, value);
            }
            FieldType::MapOfLists(item) => {
                let (key, value) = self.entry(wire)?;
                let mut list = Vec::new();
                if let Some(wire) = value {
                    let mut reader = Reader::new(wire.bytes(self.name)?);
                    while let Some((1, element)) = reader.next()? {
                        self.elements(item, element, &mut list)?;
                    }
                }
                crate::meta::as_object(map.entry(field.name).or_insert(Value::Null))
                    .insert(key, Value::Array(list));
            }
        }
        Ok(())
    }

    /// One element of a repeated field, or several packed ones.
    fn elements(self, item: Item, wire: Wire<'_>, list: &mut Vec<Value>) -> Result<(), Malformed> {
        let numeric = matches!(item, Item::Int32 | Item::Int64 | Item::Bool | Item::Double);
        let Wire::Bytes(packed) = wire else {
            list.extend(self.item(item, wire)?);
            return Ok(());
        };
        if !numeric {
            list.extend(self.item(item, wire)?);
            return Ok(());
        }
        let mut reader = Reader::new(packed);
        while !reader.is_empty() {
            let element = if item == Item::Double {
                Wire::Fixed64(u64::from_le_bytes(reader.array()?))
            } else {
                Wire::Varint(reader.varint()?)
            };
            list.extend(self.item(item, element)?);
        }
        Ok(())
    }

    /// Key and value of a map entry.
    fn entry(self, wire: Wire<'_>) -> Result<(String, Option<Wire<'_>>), Malformed> {
        let mut reader = Reader::new(wire.bytes(self.name)?);
        let (mut key, mut value) = (String::new(), None);
        while let Some((number, wire)) = reader.next()? {
            match number {
                1 => wire.text(self.name)?.clone_into(&mut key),
                2 => value = Some(wire),
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn item(self, item: Item, wire: Wire<'_>) -> Result<Option<Value>, Malformed> {
        Ok(Some(match item {
            Item::String => Value::from(wire.text(self.name)?),
            Item::Bytes => Value::from(STANDARD.encode(wire.bytes(self.name)?)),
            Item::Int64 => Value::from(wire.integer(self.name)?),
            Item::Int32 => Value::from(self.small(wire)?),
            Item::Bool => Value::from(wire.integer(self.name)? != 0),
            Item::Double => {
                let Wire::Fixed64(bits) = wire else {
                    return Err(Malformed::WrongWireType(self.name));
                };
                // JSON has no infinities; such a value is dropped.
                return Ok(serde_json::Number::from_f64(f64::from_bits(bits)).map(Value::Number));
            }
            Item::Type(id) => return self.typed(id, wire.bytes(self.name)?),
        }))
    }

    /// An int32: only the low 32 bits count, as in every protobuf decoder.
    fn small(self, wire: Wire<'_>) -> Result<i32, Malformed> {
        let low = wire.integer(self.name)?.cast_unsigned() & u64::from(u32::MAX);
        Ok(u32::try_from(low).unwrap_or_default().cast_signed())
    }

    fn quantity(self, raw: &[u8]) -> Result<Value, Malformed> {
        let mut text = "0";
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.next()? {
            if number == 1 {
                text = wire.text(self.name)?;
            }
        }
        if text.is_empty() {
            text = "0";
        }
        let quantity: plimsoll_quantity::Quantity = text.parse().map_err(|e| Malformed::Value {
            field: self.name,
            why: format!("{e}"),
        })?;
        Ok(Value::from(quantity.to_string()))
    }

    fn int_or_string(self, raw: &[u8]) -> Result<Value, Malformed> {
        let (mut is_text, mut number_value, mut text) = (false, 0, "");
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.next()? {
            match number {
                1 => is_text = wire.integer(self.name)? == 1,
                2 => number_value = self.small(wire)?,
                3 => text = wire.text(self.name)?,
                _ => {}
            }
        }
        Ok(if is_text {
            Value::from(text)
        } else {
            Value::from(number_value)
        })
    }

    fn time(self, raw: &[u8]) -> Result<Option<Timestamp>, Malformed> {
        let (mut seconds, mut nanos) = (0, 0);
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.next()? {
            match number {
                1 => seconds = wire.integer(self.name)?,
                2 => nanos = self.small(wire)?,
                _ => {}
            }
        }
        if (seconds, nanos) == (0, 0) {
            return Ok(None);
        }
        let time = Timestamp::new(seconds, nanos);
        time.map(Some).map_err(|e| Malformed::Value {
            field: self.name,
            why: e.to_string(),
        })
    }

    /// JSON inside a message, or another enveloped message.
    fn embedded_json(self, raw: &[u8]) -> Result<Option<Value>, Malformed> {
        let mut inner: &[u8] = &[];
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.next()? {
            if number == 1 {
                inner = wire.bytes(self.name)?;
            }
        }
        if inner.is_empty() {
            return Ok(None);
        }
        if let Some(enveloped) = inner.strip_prefix(MAGIC) {
            return self.enveloped(enveloped).map(Some);
        }
        let value: Value = serde_json::from_slice(inner).map_err(|e| Malformed::Value {
            field: self.name,
            why: e.to_string(),
        })?;
        Ok((!value.is_null()).then_some(value))
    }

    fn enveloped(self, raw: &[u8]) -> Result<Value, Malformed> {
        let envelope = super::open(raw)?;
        let (group, version) = envelope
            .api_version
            .split_once('/')
            .unwrap_or(("", &envelope.api_version));
        let Some(ty) = schema::by_kind(group, version, &envelope.kind) else {
            let why = format!("no kind {:?} in {:?}", envelope.kind, envelope.api_version);
            return Err(Malformed::Value {
                field: self.name,
                why,
            });
        };
        let mut object = message(ty, envelope.raw, self.deeper(self.name)?.depth)?;
        super::name_type(&mut object, &envelope);
        Ok(object)
    }

    /// The unions of JSON schema: a schema, or a list, a boolean, a list of strings.
    fn schema_or(self, shape: Shape, raw: &[u8]) -> Result<Option<Value>, Malformed> {
        let ty = super::json_schema_props();
        let place = self.deeper(self.name)?;
        let (mut schema, mut list, mut allows) = (None, Vec::new(), None);
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.next()? {
            match (shape, number) {
                (Shape::JsonSchemaOrBool, 1) => allows = Some(wire.integer(self.name)? != 0),
                (Shape::JsonSchemaOrBool, 2) | (_, 1) => {
                    schema = place.typed(ty, wire.bytes(self.name)?)?;
                }
                (Shape::JsonSchemaOrStrings, 2) => list.push(Value::from(wire.text(self.name)?)),
                (_, 2) => list.extend(place.typed(ty, wire.bytes(self.name)?)?),
                _ => {}
            }
        }
        Ok(schema.or_else(|| match allows {
            Some(allows) => Some(Value::from(allows)),
            None => (!list.is_empty()).then_some(Value::Array(list)),
        }))
    }
}

/// Whether a value is what upstream writes for a field nobody set.
fn is_zero(item: Item, value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(set) => !set,
        Value::Array(_) | Value::Object(_) => false,
        Value::Null => !matches!(item, Item::Type(_)),
    }
}
