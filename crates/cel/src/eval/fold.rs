//! Macros over lists and maps.

use super::{Eval, Outcome};
use crate::ast::{Fold, FoldKind};
use crate::error::EvalError;
use crate::library::lists::sort_by;
use crate::value::{Key, Map, Value};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What has been gathered so far.
#[derive(Default)]
struct Gathered<'a> {
    count: u64,
    failure: Option<EvalError>,
    items: Vec<Value<'a>>,
    keys: Vec<Value<'a>>,
    entries: BTreeMap<Key, Value<'a>>,
}

impl<'p, 'a> Eval<'p, 'a> {
    #[inline(never)]
    pub(super) fn fold(&mut self, fold: &'p Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let mut gathered = Gathered::default();
        match &range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let Some(item) = list.get(index)? else {
                        break;
                    };
                    let place = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let pair = match fold.second {
                        Some(_) => (place, Some(item)),
                        None => (item, None),
                    };
                    if let ControlFlow::Break(value) = self.step(fold, pair, &mut gathered)? {
                        return Ok(value);
                    }
                }
            }
            Value::Map(map) => {
                for key in map.keys() {
                    let second = match fold.second {
                        Some(_) => map.get(&key)?,
                        None => None,
                    };
                    let pair = (key.value(), second);
                    if let ControlFlow::Break(value) = self.step(fold, pair, &mut gathered)? {
                        return Ok(value);
                    }
                }
            }
            _ => return Err(EvalError::NoSuchOverload),
        }
        finish(fold.kind, gathered)
    }

    /// One element; breaks with the macro's value if that is settled.
    fn step(
        &mut self,
        fold: &'p Fold,
        (first, second): (Value<'a>, Option<Value<'a>>),
        gathered: &mut Gathered<'a>,
    ) -> Result<ControlFlow<Value<'a>>, EvalError> {
        self.meter.charge(2)?;
        let depth = self.scope.len();
        self.scope.push((&fold.first, first.clone()));
        if let (Some(name), Some(second)) = (&fold.second, second) {
            self.scope.push((name, second));
        }
        let kept = match &fold.filter {
            Some(filter) => self.eval(filter).and_then(|value| boolean(&value)),
            None => Ok(true),
        };
        let value = match kept {
            Ok(true) => Some(self.eval(&fold.body)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        self.scope.truncate(depth);
        match value {
            Some(value) => gather(fold.kind, first, (value, gathered)),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

fn boolean(value: &Value<'_>) -> Result<bool, EvalError> {
    match value {
        Value::Bool(b) => Ok(*b),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn gather<'a>(
    kind: FoldKind,
    first: Value<'a>,
    (value, gathered): (Outcome<'a>, &mut Gathered<'a>),
) -> Result<ControlFlow<Value<'a>>, EvalError> {
    match kind {
        FoldKind::All | FoldKind::Exists => {
            let decisive = kind == FoldKind::Exists;
            match value.and_then(|value| boolean(&value)) {
                Ok(holds) if holds == decisive => {
                    return Ok(ControlFlow::Break(Value::Bool(decisive)));
                }
                Ok(_) => {}
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                // Like the operators: another element may still decide.
                Err(error) => {
                    gathered.failure.get_or_insert(error);
                }
            }
        }
        FoldKind::ExistsOne => gathered.count += u64::from(boolean(&value?)?),
        FoldKind::Map => gathered.items.push(value?),
        FoldKind::Filter => {
            if boolean(&value?)? {
                gathered.items.push(first);
            }
        }
        FoldKind::SortBy => {
            gathered.keys.push(value?);
            gathered.items.push(first);
        }
        FoldKind::TransformMap => {
            let key = Key::of(&first).ok_or(EvalError::NoSuchOverload)?;
            gathered.entries.insert(key, value?);
        }
        FoldKind::TransformMapEntry => insert(&value?, &mut gathered.entries)?,
    }
    Ok(ControlFlow::Continue(()))
}

fn insert<'a>(value: &Value<'a>, entries: &mut BTreeMap<Key, Value<'a>>) -> Result<(), EvalError> {
    let Value::Map(map) = value else {
        return Err(EvalError::NoSuchOverload);
    };
    for key in map.keys() {
        let value = map.get(&key)?.unwrap_or(Value::Null);
        if entries.contains_key(&key) {
            return Err(EvalError::bad(format!(
                "insert failed: key {key} already exists"
            )));
        }
        entries.insert(key, value);
    }
    Ok(())
}

fn finish(kind: FoldKind, gathered: Gathered<'_>) -> Outcome<'_> {
    match kind {
        FoldKind::All | FoldKind::Exists => {
            let value = Value::Bool(kind == FoldKind::All);
            gathered.failure.map_or(Ok(value), Err)
        }
        FoldKind::ExistsOne => Ok(Value::Bool(gathered.count == 1)),
        FoldKind::Map | FoldKind::Filter => Ok(Value::list(gathered.items)),
        FoldKind::SortBy => sort_by(gathered.items, gathered.keys),
        FoldKind::TransformMap | FoldKind::TransformMapEntry => {
            Ok(Value::Map(Map::entries(gathered.entries)))
        }
    }
}
