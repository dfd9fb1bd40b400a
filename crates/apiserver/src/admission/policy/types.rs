//! Built-in kinds as the types of expressions.

use plimsoll_api::schema::{self, FieldType, Item, Shape, TypeId};
use plimsoll_cel::{Decl, FieldDecl, ObjectType, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads types, each once. Those that contain themselves are not looked into further.
#[derive(Debug, Default)]
pub(super) struct Types {
    known: BTreeMap<TypeId, Type>,
}

impl Types {
    /// The type of a built-in type's values.
    pub(super) fn of(&mut self, id: TypeId) -> Type {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let def = schema::get(id);
        if !matches!(def.shape, Shape::Object) {
            // Quantities, times, int-or-string: what they are in JSON is checked when it is used.
            return Type::Dyn;
        }
        self.known.insert(id, Type::Dyn);
        let mut fields = BTreeMap::new();
        for field in def.fields {
            let ty = match field.ty {
                FieldType::One(item) => self.item(item),
                FieldType::List(item) => Type::list(Decl::new(self.item(item))),
                FieldType::Map(item) => Type::map(Decl::new(self.item(item))),
                FieldType::MapOfLists(item) => {
                    let list = Type::list(Decl::new(self.item(item)));
                    Type::map(Decl::new(list))
                }
            };
            let declared = FieldDecl {
                json: field.name.to_owned(),
                decl: Decl::new(ty),
            };
            fields.insert(field.name.to_owned(), declared);
        }
        let name = def.name.to_owned();
        let object = Type::Object(Arc::new(ObjectType {
            name,
            fields,
            open: false,
        }));
        self.known.insert(id, object.clone());
        object
    }

    fn item(&mut self, item: Item) -> Type {
        match item {
            Item::Type(id) => self.of(id),
            Item::Bool => Type::Bool,
            // Bytes are text in JSON.
            Item::String | Item::Bytes => Type::String,
            Item::Int32 | Item::Int64 => Type::Int,
            Item::Double => Type::Double,
        }
    }
}
