//! Which type may stand where another is wanted.

use crate::types::{Decl, ListKind, ListType, MapType, Type};
use std::sync::Arc;

/// Whether a value of type `given` may stand where `wanted` is.
pub(crate) fn assignable(wanted: &Type, given: &Type) -> bool {
    match (wanted, given) {
        (Type::Dyn, _) | (_, Type::Dyn) => true,
        (Type::List(a), Type::List(b)) => assignable(&a.element.ty, &b.element.ty),
        (Type::Map(a), Type::Map(b)) => {
            assignable(&a.key.ty, &b.key.ty) && assignable(&a.value.ty, &b.value.ty)
        }
        (Type::Object(a), Type::Object(b)) => Arc::ptr_eq(a, b) || a.name == b.name,
        (Type::Object(_), Type::Map(_)) | (Type::Map(_), Type::Object(_)) => false,
        (Type::Optional(a), Type::Optional(b)) => assignable(a, b),
        (ty, Type::Null) | (Type::Null, ty) => nullable(ty),
        (a, b) => a == b,
    }
}

fn nullable(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Timestamp | Type::Duration
    )
}

/// The type of a value that is of one type or the other.
pub(crate) fn join(a: &Type, b: &Type) -> Type {
    match (a, b) {
        (Type::Null, other) | (other, Type::Null) if nullable(other) => other.clone(),
        (Type::List(x), Type::List(y)) => {
            let element = both(&x.element, &y.element);
            Type::List(Arc::new(ListType {
                element,
                kind: ListKind::Atomic,
            }))
        }
        (Type::Map(x), Type::Map(y)) => {
            let (key, value) = (both(&x.key, &y.key), both(&x.value, &y.value));
            Type::Map(Arc::new(MapType { key, value }))
        }
        (Type::Object(x), Type::Object(y)) if x.name == y.name => a.clone(),
        (Type::Optional(x), Type::Optional(y)) => Type::optional(join(x, y)),
        (a, b) if a == b => a.clone(),
        _ => Type::Dyn,
    }
}

fn both(a: &Decl, b: &Decl) -> Decl {
    Decl::sized(join(&a.ty, &b.ty), a.max.max(b.max))
}
