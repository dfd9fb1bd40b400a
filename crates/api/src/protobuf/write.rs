//! Objects to messages, straight from JSON text or from a value: no tree in between.
//!
//! Departs: fields that JSON leaves out are left out here too. Upstream writes those that it holds
//! by value as zeros; a decoder reads an absent field as its zero, so only the size differs.

use super::wire::{Reader, Wire, put_bytes, put_double, put_integer, put_nested};
use crate::schema::{self, FieldDef, FieldType, Item, Shape, TypeDef, TypeId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Encodes what `source` holds as a value of the type.
pub(super) fn value<'de, D>(ty: TypeId, source: D, out: &mut Vec<u8>) -> Result<(), D::Error>
where
    D: Deserializer<'de>,
{
    let row = schema::get(ty);
    if row.shape == Shape::Object {
        return message(row, source, out);
    }
    // The other shapes are written as fields; what remains of one without its tag and length is
    // the value.
    let mut field = Vec::new();
    let one = One {
        name: row.short_name(),
        item: Item::Type(ty),
        number: 1,
        out: &mut field,
    };
    one.deserialize(source)?;
    if let Ok(Some((_, Wire::Bytes(content)))) = Reader::new(&field).next() {
        out.extend_from_slice(content);
    }
    Ok(())
}

/// Encodes what `source` holds as a message of an object type.
pub(super) fn message<'de, D>(
    row: &'static TypeDef,
    source: D,
    out: &mut Vec<u8>,
) -> Result<(), D::Error>
where
    D: Deserializer<'de>,
{
    Message { row, out }.deserialize(source)
}

/// The fields of an object, without a tag or a length of their own.
struct Message<'o> {
    row: &'static TypeDef,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of type {}", self.row.short_name())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut embedded: Vec<(&'static [u16], Vec<u8>)> = Vec::new();
        while let Some(field) = map.next_key_seed(Key(self.row))? {
            let Some(field) = field.filter(|f| f.number != 0) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let path = field.embedded();
            if path.is_empty() {
                map.next_value_seed(Field::of(field, self.out))?;
                continue;
            }
            let known = embedded.iter().position(|(other, _)| *other == path);
            let index = known.unwrap_or_else(|| {
                embedded.push((path, Vec::new()));
                embedded.len() - 1
            });
            if let Some((_, inner)) = embedded.get_mut(index) {
                map.next_value_seed(Field::of(field, inner))?;
            }
        }
        embedded.sort_by_key(|(path, _)| *path);
        nest(&embedded, 0, self.out);
        Ok(())
    }
}

/// Writes the messages that an object's message embeds, from `depth` of their paths on. Those with
/// a common beginning share a message; the shorter path sorts first.
fn nest(parts: &[(&[u16], Vec<u8>)], depth: usize, out: &mut Vec<u8>) {
    let number = |part: &(&[u16], Vec<u8>)| part.0.get(depth).copied();
    for group in parts.chunk_by(|one, other| number(one) == number(other)) {
        let Some(first) = group.first() else { continue };
        match number(first) {
            None => out.extend_from_slice(&first.1),
            Some(next) => put_nested(out, next, |out| nest(group, depth + 1, out)),
        }
    }
}

/// A key as the field it names.
struct Key(&'static TypeDef);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static FieldDef>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static FieldDef>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

/// A field of any type, with its tag. A null writes nothing.
struct Field<'o> {
    name: &'static str,
    ty: FieldType,
    number: u16,
    out: &'o mut Vec<u8>,
}

impl<'o> Field<'o> {
    fn of(field: &FieldDef, out: &'o mut Vec<u8>) -> Self {
        Self {
            name: field.name,
            ty: field.ty,
            number: field.number,
            out,
        }
    }

    /// One value of the field, or an element of another field's value.
    fn item<'a>(&self, item: Item, number: u16, out: &'a mut Vec<u8>) -> One<'a> {
        let name = self.name;
        One {
            name,
            item,
            number,
            out,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        if let FieldType::One(item) = self.ty {
            let one = One {
                name: self.name,
                item,
                number: self.number,
                out: self.out,
            };
            return one.deserialize(source);
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list or map for {}", self.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let FieldType::List(item) = self.ty else {
            return Err(A::Error::custom(format_args!("{}: no list", self.name)));
        };
        loop {
            let element = One {
                name: self.name,
                item,
                number: self.number,
                out: &mut *self.out,
            };
            if list.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }

    /// Entries go out sorted by key, as upstream writes them.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let start = self.out.len();
        let mut entries: Vec<(String, std::ops::Range<usize>)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let mut entry = Vec::with_capacity(key.len() + 16);
            put_bytes(&mut entry, 1, key.as_bytes());
            match self.ty {
                FieldType::Map(item) => {
                    map.next_value_seed(self.item(item, 2, &mut entry))?;
                }
                FieldType::MapOfLists(item) => {
                    let mut elements = Vec::new();
                    map.next_value_seed(Field {
                        name: self.name,
                        ty: FieldType::List(item),
                        number: 1,
                        out: &mut elements,
                    })?;
                    put_bytes(&mut entry, 2, &elements);
                }
                FieldType::One(_) | FieldType::List(_) => {
                    return Err(A::Error::custom(format_args!("{}: no map", self.name)));
                }
            }
            let from = self.out.len();
            put_bytes(self.out, self.number, &entry);
            entries.push((key, from..self.out.len()));
        }
        if !entries.is_sorted_by(|one, other| one.0 <= other.0) {
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            let parts = entries
                .iter()
                .filter_map(|(_, at)| self.out.get(at.clone()));
            let sorted: Vec<u8> = parts.flatten().copied().collect();
            self.out.truncate(start);
            self.out.extend_from_slice(&sorted);
        }
        Ok(())
    }
}

/// A single value, with its tag. A null writes nothing.
struct One<'o> {
    name: &'static str,
    item: Item,
    number: u16,
    out: &'o mut Vec<u8>,
}

impl One<'_> {
    /// The row of the value's type, if it has one.
    fn row(&self) -> Option<&'static TypeDef> {
        match self.item {
            Item::Type(id) => Some(schema::get(id)),
            Item::String | Item::Int32 | Item::Int64 | Item::Double | Item::Bool | Item::Bytes => {
                None
            }
        }
    }

    fn shape(&self) -> Option<Shape> {
        self.row().map(|row| row.shape)
    }

    fn wrong<E: Error>(&self) -> E {
        E::custom(format_args!("{}: not of its protobuf type", self.name))
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        let raw = [Shape::RawExtension, Shape::FieldsV1, Shape::Json];
        if !self.shape().is_some_and(|shape| raw.contains(&shape)) {
            return source.deserialize_any(self);
        }
        let json = Box::<RawValue>::deserialize(source)?;
        if json.get() != "null" {
            let text = json.get().as_bytes();
            put_nested(self.out, self.number, |out| put_bytes(out, 1, text));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for {}", self.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match (self.item, self.shape()) {
            (Item::Bool, _) => put_integer(self.out, self.number, i64::from(value)),
            (_, Some(Shape::JsonSchemaOrBool)) => {
                let put = |out: &mut Vec<u8>| put_integer(out, 1, i64::from(value));
                put_nested(self.out, self.number, put);
            }
            (_, _) => return Err(self.wrong()),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match (self.item, self.shape()) {
            (Item::Int32 | Item::Int64, _) => put_integer(self.out, self.number, value),
            #[expect(clippy::cast_precision_loss, reason = "JSON has no other doubles")]
            (Item::Double, _) => put_double(self.out, self.number, value as f64),
            (_, Some(Shape::Quantity)) => {
                let text = value.to_string();
                put_nested(self.out, self.number, |out| {
                    put_bytes(out, 1, text.as_bytes());
                });
            }
            (_, Some(Shape::IntOrString)) => put_nested(self.out, self.number, |out| {
                put_integer(out, 1, 0);
                put_integer(out, 2, value);
                put_bytes(out, 3, b"");
            }),
            (_, _) => return Err(self.wrong()),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(self.wrong()),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if self.item != Item::Double {
            return Err(self.wrong());
        }
        put_double(self.out, self.number, value);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match (self.item, self.shape()) {
            (Item::String, _) => put_bytes(self.out, self.number, text.as_bytes()),
            (Item::Bytes, _) => {
                let bytes = STANDARD.decode(text).map_err(|_| self.wrong())?;
                put_bytes(self.out, self.number, &bytes);
            }
            (_, Some(Shape::Quantity)) => {
                put_nested(self.out, self.number, |out| {
                    put_bytes(out, 1, text.as_bytes());
                });
            }
            (_, Some(Shape::IntOrString)) => put_nested(self.out, self.number, |out| {
                put_integer(out, 1, 1);
                put_integer(out, 2, 0);
                put_bytes(out, 3, text.as_bytes());
            }),
            (_, Some(Shape::Time | Shape::MicroTime)) => {
                let time: Timestamp = text.parse().map_err(|_| self.wrong::<E>())?;
                put_nested(self.out, self.number, |out| {
                    put_integer(out, 1, time.as_second());
                    put_integer(out, 2, i64::from(time.subsec_nanosecond()));
                });
            }
            (_, _) => return Err(self.wrong()),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Some(row) = self.row() else {
            return Err(self.wrong());
        };
        let Some(number) = (match row.shape {
            Shape::Object => None,
            Shape::JsonSchemaOrBool => Some(2),
            Shape::JsonSchemaOrArray | Shape::JsonSchemaOrStrings => Some(1),
            Shape::Quantity
            | Shape::IntOrString
            | Shape::Time
            | Shape::MicroTime
            | Shape::RawExtension
            | Shape::FieldsV1
            | Shape::Json => return Err(self.wrong()),
        }) else {
            return nested(self.out, self.number, |out| {
                Message { row, out }.visit_map(map)
            });
        };
        let row = schema_props();
        nested(self.out, self.number, |out| {
            if number == 2 {
                // Upstream allows what it has a schema for.
                put_integer(out, 1, 1);
            }
            nested(out, number, |out| Message { row, out }.visit_map(map))
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let item = match self.shape() {
            Some(Shape::JsonSchemaOrStrings) => Item::String,
            Some(Shape::JsonSchemaOrArray) => Item::Type(super::json_schema_props()),
            _ => return Err(self.wrong()),
        };
        let name = self.name;
        nested(self.out, self.number, |out| {
            loop {
                let element = One {
                    name,
                    item,
                    number: 2,
                    out: &mut *out,
                };
                if list.next_element_seed(element)?.is_none() {
                    return Ok(());
                }
            }
        })
    }
}

fn schema_props() -> &'static TypeDef {
    schema::get(super::json_schema_props())
}

/// Like [`put_nested`], for contents that may fail.
fn nested<E>(
    out: &mut Vec<u8>,
    number: u16,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut outcome = Ok(());
    put_nested(out, number, |out| outcome = write(out));
    outcome
}
