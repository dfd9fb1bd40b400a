//! The order of a merged list: elements the patch names come in the patch's order, the others in
//! the order they had, and the two runs are zipped by the original positions.
//!
//! Parity: where the original says nothing about two elements, the patch's comes first, so an
//! added container precedes the ones that were there.

use serde_json::Value;
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Where `item` is in `list`, by its merge key or, for scalars, by its value.
pub(super) fn position(list: &[Value], item: &Value, merge_key: Option<&str>) -> Option<usize> {
    let wanted = identity(item, merge_key);
    list.iter()
        .position(|other| identity(other, merge_key) == wanted)
}

fn identity<'v>(value: &'v Value, merge_key: Option<&str>) -> Option<&'v Value> {
    match merge_key {
        Some(key) => value.get(key),
        None => Some(value),
    }
}

/// Orders `merged` as told by the patch's order and the original list.
pub(super) fn arrange(
    merged: Vec<Value>,
    patch_order: &[Value],
    original: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let mut patched = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let original_position = position(original, &item, merge_key);
        match position(patch_order, &item, merge_key) {
            Some(at) => patched.push((at, original_position, item)),
            None => others.push((original_position, item)),
        }
    }
    patched.sort_by_key(|(at, _, _)| *at);
    others.sort_by_key(|(at, _)| Reverse(at.map(Reverse)));
    let mut patched: VecDeque<_> = patched.into();
    let mut others: VecDeque<_> = others.into();
    let mut list = Vec::with_capacity(patched.len() + others.len());
    loop {
        let other_first = match (others.front(), patched.front()) {
            (None, None) => return list,
            (Some(_), None) => true,
            (Some((Some(other), _)), Some((_, Some(patch), _))) => other < patch,
            (_, Some(_)) => false,
        };
        if other_first {
            list.extend(others.pop_front().map(|(_, item)| item));
        } else {
            list.extend(patched.pop_front().map(|(_, _, item)| item));
        }
    }
}
