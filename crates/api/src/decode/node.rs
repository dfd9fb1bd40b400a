//! The walk: one visitor that expects what the schema says.

use super::{Context, Segment, scalar};
use crate::schema::{self, FieldDef, FieldType, Item, Shape, TypeDef};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A place that expects a value of a type. Nulls come out as `None`.
pub(super) struct Node<'c> {
    context: &'c mut Context,
    ty: FieldType,
    /// The struct that has the field, for messages.
    owner: &'static str,
}

impl<'c> Node<'c> {
    pub(super) fn root(context: &'c mut Context, ty: FieldType) -> Self {
        Self {
            context,
            ty,
            owner: "",
        }
    }

    fn child(&mut self, ty: FieldType, owner: &'static str) -> Node<'_> {
        Node {
            context: self.context,
            ty,
            owner,
        }
    }

    /// The type's row if an object of known fields is expected.
    fn row(&self) -> Option<&'static TypeDef> {
        match self.ty {
            FieldType::One(Item::Type(id)) => Some(schema::get(id)),
            FieldType::One(_)
            | FieldType::List(_)
            | FieldType::Map(_)
            | FieldType::MapOfLists(_) => None,
        }
    }

    fn accepts_anything(&self) -> bool {
        self.row().is_some_and(|row| match row.shape {
            Shape::RawExtension
            | Shape::FieldsV1
            | Shape::Json
            | Shape::JsonSchemaOrArray
            | Shape::JsonSchemaOrBool
            | Shape::JsonSchemaOrStrings => true,
            Shape::Object
            | Shape::Quantity
            | Shape::IntOrString
            | Shape::Time
            | Shape::MicroTime => false,
        })
    }

    fn refuse<E: Error>(self, why: String) -> E {
        self.context.refusal = Some(why);
        E::custom("refused")
    }

    /// The refusal of a value of the wrong type; `found` is JSON's word for what came.
    fn mismatch<E: Error>(self, found: &str) -> E {
        let path = self.context.text(false);
        let ty = go_type(self.ty);
        let why = if path.is_empty() {
            format!("json: cannot unmarshal {found} into Go value of type {ty}")
        } else {
            let owner = self.owner;
            format!(
                "json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {ty}"
            )
        };
        self.refuse(why)
    }

    fn scalar<E: Error>(
        self,
        found: &str,
        read: Result<Option<Value>, String>,
    ) -> Result<Option<Value>, E> {
        match read {
            Ok(Some(value)) => Ok(Some(value)),
            Ok(None) => Err(self.mismatch(found)),
            Err(why) => Err(self.refuse(why)),
        }
    }

    fn object<'de, A: MapAccess<'de>>(
        mut self,
        row: &'static TypeDef,
        mut access: A,
    ) -> Result<Option<Value>, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(FieldName(row))? {
            let field = match key {
                Ok(field) => field,
                Err(unknown) => {
                    let path = self.context.path_to(&unknown);
                    self.context
                        .problems
                        .push(format!("unknown field {path:?}"));
                    access.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            self.context.path.push(Segment::Field(field.name));
            let value = access.next_value_seed(self.child(field.ty, row.short_name()))?;
            self.context.path.pop();
            if let Some(value) = value
                && map.insert(field.name.to_owned(), value).is_some()
            {
                self.duplicate(field.name);
            }
        }
        Ok(Some(Value::Object(map)))
    }

    fn keyed<'de, A: MapAccess<'de>>(
        mut self,
        ty: FieldType,
        mut access: A,
    ) -> Result<Option<Value>, A::Error> {
        let owner = self.owner;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.context.path.push(Segment::Key(key));
            let value = access.next_value_seed(self.child(ty, owner))?;
            let Some(Segment::Key(key)) = self.context.path.pop() else {
                continue;
            };
            if map.contains_key(&key) {
                self.duplicate(&key);
            }
            map.insert(key, value.unwrap_or_else(|| zero(ty)));
        }
        Ok(Some(Value::Object(map)))
    }

    fn duplicate(&mut self, name: &str) {
        let path = self.context.path_to(name);
        self.context
            .problems
            .push(format!("duplicate field {path:?}"));
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        if self.accepts_anything() {
            let value: Value = serde::Deserialize::deserialize(from)?;
            return Ok((!value.is_null()).then_some(value));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&go_type(self.ty))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<Value>, E> {
        if self.ty == FieldType::One(Item::Bool) {
            return Ok(Some(Value::Bool(value)));
        }
        Err(self.mismatch("bool"))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<Value>, E> {
        let read = scalar::integer(self.ty, value);
        self.scalar(&format!("number {value}"), read)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<Value>, E> {
        if let Ok(value) = i64::try_from(value) {
            return self.visit_i64(value);
        }
        let read = scalar::number(self.ty, &value.to_string(), Value::from(value));
        self.scalar(&format!("number {value}"), read)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<Value>, E> {
        let read = scalar::number(self.ty, &value.to_string(), Value::from(value));
        self.scalar(&format!("number {value}"), read)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<Value>, E> {
        let read = scalar::text(self.ty, value);
        self.scalar("string", read)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Option<Value>, E> {
        if self.ty == FieldType::One(Item::String) {
            return Ok(Some(Value::String(value)));
        }
        self.visit_str(&value)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Option<Value>, A::Error> {
        let FieldType::List(item) = self.ty else {
            return Err(self.mismatch("array"));
        };
        let owner = self.owner;
        let mut items = Vec::new();
        let ty = FieldType::One(item);
        loop {
            self.context.path.push(Segment::Index(items.len()));
            let next = access.next_element_seed(self.child(ty, owner))?;
            self.context.path.pop();
            let Some(value) = next else { break };
            items.push(value.unwrap_or_else(|| zero(ty)));
        }
        Ok(Some(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Option<Value>, A::Error> {
        match (self.ty, self.row()) {
            (_, Some(row)) if row.shape == Shape::Object => self.object(row, access),
            (FieldType::Map(item), _) => self.keyed(FieldType::One(item), access),
            (FieldType::MapOfLists(item), _) => self.keyed(FieldType::List(item), access),
            (FieldType::One(_) | FieldType::List(_), _) => Err(self.mismatch("object")),
        }
    }
}

/// Reads a key as the field it names, or as unknown text.
struct FieldName(&'static TypeDef);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Result<&'static FieldDef, String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Result<&'static FieldDef, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(key).ok_or_else(|| key.to_owned()))
    }
}

/// What a null element of a list or map stands for.
pub(crate) fn zero(ty: FieldType) -> Value {
    match ty {
        FieldType::List(_) => Value::Array(Vec::new()),
        FieldType::Map(_) | FieldType::MapOfLists(_) => Value::Object(Map::new()),
        FieldType::One(Item::String | Item::Bytes) => Value::String(String::new()),
        FieldType::One(Item::Int32 | Item::Int64 | Item::Double) => Value::from(0),
        FieldType::One(Item::Bool) => Value::Bool(false),
        FieldType::One(Item::Type(id)) => match schema::get(id).shape {
            Shape::Object => Value::Object(Map::new()),
            Shape::Quantity => Value::from("0"),
            Shape::IntOrString => Value::from(0),
            Shape::Time
            | Shape::MicroTime
            | Shape::RawExtension
            | Shape::FieldsV1
            | Shape::Json
            | Shape::JsonSchemaOrArray
            | Shape::JsonSchemaOrBool
            | Shape::JsonSchemaOrStrings => Value::Null,
        },
    }
}

/// The type's name in the words of upstream's messages.
fn go_type(ty: FieldType) -> String {
    match ty {
        FieldType::One(item) => go_item(item),
        FieldType::List(item) => format!("[]{}", go_item(item)),
        FieldType::Map(item) => format!("map[string]{}", go_item(item)),
        FieldType::MapOfLists(item) => format!("map[string][]{}", go_item(item)),
    }
}

fn go_item(item: Item) -> String {
    match item {
        Item::String => "string".to_owned(),
        Item::Int32 => "int32".to_owned(),
        Item::Int64 => "int64".to_owned(),
        Item::Double => "float64".to_owned(),
        Item::Bool => "bool".to_owned(),
        Item::Bytes => "[]uint8".to_owned(),
        Item::Type(id) => {
            let mut parts = schema::get(id).name.rsplit('.');
            let name = parts.next().unwrap_or_default();
            format!("{}.{name}", parts.next().unwrap_or_default())
        }
    }
}
