//! Lists: a slice of JSON or values made on the way.

use super::{Value, equals};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::{ListKind, ListType, Type};
use serde_json::Value as Json;
use std::sync::Arc;

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// From the data, with its declared type if it has one.
    Json(&'a [Json], Option<Arc<ListType>>),
    /// Made on the way.
    Items(Arc<Vec<Value<'a>>>),
    /// Made on the way, its items told apart otherwise than by place.
    Keyed(Arc<Vec<Value<'a>>>, Arc<ListType>),
}

impl<'a> List<'a> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Items(items) | Self::Keyed(items, _) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at a place, if there is one.
    ///
    /// # Errors
    /// [`EvalError::BadData`] if the item is not what its schema declares.
    pub fn get(&self, index: usize) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Json(items, ty) => {
                let element = ty.as_ref().map_or(&Type::Dyn, |ty| &ty.element.ty);
                items
                    .get(index)
                    .map(|item| Value::of_json(item, element))
                    .transpose()
            }
            Self::Items(items) | Self::Keyed(items, _) => Ok(items.get(index).cloned()),
        }
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> {
        (0..self.len()).filter_map(|index| self.get(index).transpose())
    }

    /// How its items are told apart.
    pub(crate) fn kind(&self) -> &ListKind {
        match self {
            Self::Json(_, Some(ty)) | Self::Keyed(_, ty) => &ty.kind,
            Self::Json(_, None) | Self::Items(_) => &ListKind::Atomic,
        }
    }

    fn ty(&self) -> Option<&Arc<ListType>> {
        match self {
            Self::Json(_, ty) => ty.as_ref(),
            Self::Keyed(_, ty) => Some(ty),
            Self::Items(_) => None,
        }
    }
}

/// `a + b`: the items of both; in sets and keyed lists what `b` has replaces what is the same in
/// `a`, in `a`'s place.
pub(crate) fn union<'a>(
    a: &List<'a>,
    b: &List<'a>,
    meter: &mut Meter,
) -> Result<Value<'a>, EvalError> {
    let mut items: Vec<Value<'a>> = a.iter().collect::<Result<_, _>>()?;
    let Some(ty) = a.ty().filter(|ty| ty.kind != ListKind::Atomic) else {
        for item in b.iter() {
            items.push(item?);
        }
        return Ok(Value::list(items));
    };
    for item in b.iter() {
        let item = item?;
        let mut twin = None;
        for (index, own) in items.iter().enumerate() {
            if same(own, &item, (&ty.kind, &mut *meter))? {
                twin = Some(index);
                break;
            }
        }
        match twin.and_then(|index| items.get_mut(index)) {
            Some(own) => *own = item,
            None => items.push(item),
        }
    }
    Ok(Value::List(List::Keyed(Arc::new(items), Arc::clone(ty))))
}

/// Whether two items are the same one.
pub(crate) fn same(
    a: &Value<'_>,
    b: &Value<'_>,
    (kind, meter): (&ListKind, &mut Meter),
) -> Result<bool, EvalError> {
    let (ListKind::Map(keys), Value::Map(a), Value::Map(b)) = (kind, a, b) else {
        return equals(a, b, meter);
    };
    for key in keys {
        let equal = match (a.json_field(key)?, b.json_field(key)?) {
            (Some(a), Some(b)) => equals(&a, &b, meter)?,
            (None, None) => true,
            _ => false,
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}
