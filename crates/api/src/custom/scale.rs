//! The `scale` subresource of custom resources.

use super::definition::ScalePaths;
use crate::meta;
use crate::status::ApiError;
use serde_json::Value;

/// What a Scale shows of an object: wished for and present replicas, and the selector as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) wanted: i64,
    pub(crate) present: i64,
    pub(crate) selector: String,
}

impl ScalePaths {
    /// Reads an object's replicas.
    ///
    /// # Errors
    /// 500 where the object has no replicas.
    pub(crate) fn read(&self, object: &Value) -> Result<Replicas, ApiError> {
        let wanted = find(object, &self.spec_replicas).and_then(Value::as_i64);
        let wanted = wanted.ok_or_else(|| {
            let path = format!(".{}", self.spec_replicas.join("."));
            ApiError::internal(format!("the spec replicas field {path:?} does not exist"))
        })?;
        let present = find(object, &self.status_replicas).and_then(Value::as_i64);
        let selector = self.selector.as_ref().and_then(|path| find(object, path));
        Ok(Replicas {
            wanted,
            present: present.unwrap_or_default(),
            selector: selector
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// Writes an object's replicas.
    pub(crate) fn write(&self, object: &mut Value, replicas: i64) {
        if let Some((last, parents)) = self.spec_replicas.split_last() {
            let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
            meta::object_mut(object, &parents).insert(last.clone(), replicas.into());
        }
    }
}

fn find<'v>(object: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}
