//! `namespaces/finalize`: the last word on a namespace.

use crate::call::Call;
use crate::http::respond::Response;
use crate::resource::decode;
use crate::resource::patch::Part;
use crate::resource::write::Writer;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// Replaces `spec.finalizers`; the namespace goes once they are empty and deletion has begun.
pub(super) async fn update(call: &Call) -> Result<Response, ApiError> {
    let sent = decode::object(call)?;
    super::named(&sent, call)?;
    let finalizers = meta::at(&sent, &["spec", "finalizers"]).cloned();
    let step = |old: &Value| {
        let mut new = old.clone();
        let version = meta::at(&sent, &["metadata", "resourceVersion"]).cloned();
        let metadata = meta::object_mut(&mut new, &["metadata"]);
        metadata.shift_remove("resourceVersion");
        if let Some(version) = version {
            metadata.insert("resourceVersion".into(), version);
        }
        let spec = meta::object_mut(&mut new, &["spec"]);
        spec.shift_remove("finalizers");
        if let Some(Value::Array(list)) = finalizers.clone().filter(|f| f != &Value::Array(vec![]))
        {
            spec.insert("finalizers".into(), Value::Array(list));
        }
        Ok(new)
    };
    let writer = Writer::of(call, call.run()?);
    let written = writer.update(&call.key(), Part::Other, &step).await?;
    call.object(200, &written)
}
