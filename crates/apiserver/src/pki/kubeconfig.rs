//! Kubeconfig files.

use super::{KeyedCert, PkiError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_api::meta;
use serde_json::{Value, json};

/// What a kubeconfig context needs.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Name of the context, the cluster and the user.
    pub name: &'a str,
    /// `https://127.0.0.1:6443`.
    pub server: &'a str,
    /// The authority's certificate, PEM.
    pub ca: &'a str,
    /// The user's certificate.
    pub client: &'a KeyedCert,
}

impl Context<'_> {
    /// The lists of a kubeconfig and this context's entry in each.
    fn entries(&self) -> [(&'static str, Value); 3] {
        let cluster = json!({
            "certificate-authority-data": STANDARD.encode(self.ca),
            "server": self.server,
        });
        let user = json!({
            "client-certificate-data": STANDARD.encode(&self.client.cert),
            "client-key-data": STANDARD.encode(&self.client.key),
        });
        let context = json!({"cluster": self.name, "user": self.name});
        [
            ("clusters", json!({"name": self.name, "cluster": cluster})),
            ("contexts", json!({"name": self.name, "context": context})),
            ("users", json!({"name": self.name, "user": user})),
        ]
    }
}

/// A kubeconfig with one context.
pub fn kubeconfig(context: &Context<'_>) -> String {
    merge_kubeconfig("", context).unwrap_or_else(|_unwritable| {
        // JSON is YAML too, and can say anything.
        let mut config = json!({"apiVersion": "v1", "kind": "Config"});
        for (list, entry) in context.entries() {
            meta::object_mut(&mut config, &[]).insert(list.to_owned(), json!([entry]));
        }
        meta::object_mut(&mut config, &[]).insert("current-context".into(), context.name.into());
        config.to_string()
    })
}

/// `existing` with the context added or replaced and made current; everything else stays, except
/// comments and layout.
///
/// # Errors
/// [`PkiError::Unusable`] if `existing` is not a kubeconfig, or cannot be written back unchanged.
pub fn merge_kubeconfig(existing: &str, context: &Context<'_>) -> Result<String, PkiError> {
    let bad = |why: String| PkiError::Unusable {
        what: "the kubeconfig".to_owned(),
        why,
    };
    let parsed: Value = if existing.trim().is_empty() {
        Value::Null
    } else {
        serde_saphyr::from_str(existing).map_err(|error| bad(error.to_string()))?
    };
    let mut config = match parsed {
        Value::Null => json!({"apiVersion": "v1", "kind": "Config"}),
        Value::Object(_) => parsed,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(bad("not a mapping".to_owned()));
        }
    };
    let Some(map) = config.as_object_mut() else {
        return Err(bad("not a mapping".to_owned()));
    };
    for (list, entry) in context.entries() {
        let held = map.entry(list).or_insert(Value::Null);
        if held.is_null() {
            *held = json!([]);
        }
        let items = held
            .as_array_mut()
            .ok_or_else(|| bad(format!("{list} is not a list")))?;
        match items
            .iter_mut()
            .find(|item| item.get("name") == entry.get("name"))
        {
            Some(old) => *old = entry,
            None => items.push(entry),
        }
    }
    map.insert("current-context".to_owned(), context.name.into());
    let text = serde_saphyr::to_string(&config).map_err(|error| bad(error.to_string()))?;
    // A user's file is at stake: what was written must read as what was meant.
    match serde_saphyr::from_str::<Value>(&text) {
        Ok(again) if again == config => Ok(text),
        Ok(_) | Err(_) => Err(bad(
            "it holds a value that cannot be written back".to_owned()
        )),
    }
}
