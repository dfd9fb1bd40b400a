//! The frame of the CustomResourceDefinitions that are brought along, and the pieces ([`schema`])
//! that their schemas are put together from.

pub(crate) mod schema;

use serde_json::{Map, Value, json};

/// Where objects of a kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Each in a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// What a definition says of its kind, schema and columns aside. The singular and the kind of lists
/// follow from the kind; `status` is a subresource.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// API group.
    pub(crate) group: &'static str,
    /// All that are served, with one schema; the first is stored.
    pub(crate) versions: &'static [&'static str],
    /// The kind, e.g. `PodAutoscaler`.
    pub(crate) kind: &'static str,
    /// The resource, e.g. `podautoscalers`.
    pub(crate) plural: &'static str,
    /// What people type instead.
    pub(crate) short_names: &'static [&'static str],
    /// Groups of resources that it is listed with, e.g. `all`.
    pub(crate) categories: &'static [&'static str],
    /// Where its objects are.
    pub(crate) scope: Scope,
}

impl Frame {
    /// The CustomResourceDefinition, ready to be created or printed: what the kind is for, the
    /// schemas of `spec` and `status`, and the columns of `kubectl get`.
    pub(crate) fn definition(
        &self,
        description: &str,
        spec: Value,
        status: Value,
        columns: Vec<Value>,
    ) -> Value {
        let schema = whole(description, spec, status);
        let columns = Value::Array(columns);
        let version = |(position, name): (usize, &&str)| {
            json!({
                "name": name,
                "served": true,
                "storage": position == 0,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
            })
        };
        let versions: Vec<Value> = self.versions.iter().enumerate().map(version).collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{}", self.plural, self.group)},
            "spec": {
                "group": self.group,
                "scope": match self.scope {
                    Scope::Namespaced => "Namespaced",
                    Scope::Cluster => "Cluster",
                },
                "names": self.names(),
                "versions": versions,
            },
        })
    }

    fn names(&self) -> Value {
        let mut names = Map::new();
        names.insert("plural".into(), self.plural.into());
        names.insert("singular".into(), self.kind.to_lowercase().into());
        names.insert("kind".into(), self.kind.into());
        names.insert("listKind".into(), format!("{}List", self.kind).into());
        if !self.short_names.is_empty() {
            names.insert("shortNames".into(), json!(self.short_names));
        }
        if !self.categories.is_empty() {
            names.insert("categories".into(), json!(self.categories));
        }
        Value::Object(names)
    }
}

fn whole(description: &str, spec: Value, status: Value) -> Value {
    let mut properties = Map::new();
    let version = schema::plain("The version of this representation.");
    properties.insert("apiVersion".into(), version);
    properties.insert("kind".into(), schema::plain("What this object is."));
    properties.insert("metadata".into(), json!({"type": "object"}));
    properties.insert("spec".into(), spec);
    properties.insert("status".into(), status);
    let properties = Value::Object(properties);
    schema::object(description, properties, &["spec"], Vec::new())
}

/// A column of `kubectl get`: its name, type (`string`, `integer`, `date`), JSONPath and meaning.
pub(crate) fn column(name: &str, kind: &str, path: &str, description: &str) -> Value {
    json!({"name": name, "type": kind, "jsonPath": path, "description": description})
}

/// A column that shows the status of one condition.
pub(crate) fn condition_column(name: &str, condition: &str, description: &str) -> Value {
    let path = format!(".status.conditions[?(@.type==\"{condition}\")].status");
    column(name, "string", &path, description)
}

/// The column that ends every table.
pub(crate) fn age() -> Value {
    let path = ".metadata.creationTimestamp";
    column("Age", "date", path, "How old it is.")
}

#[cfg(test)]
mod tests {
    use super::{Frame, Scope, age, condition_column};
    use serde_json::json;

    const TIDES: Frame = Frame {
        group: "sea.example",
        versions: &["v2", "v1"],
        kind: "TideTable",
        plural: "tidetables",
        short_names: &[],
        categories: &["all"],
        scope: Scope::Cluster,
    };

    #[test]
    fn the_first_version_is_stored_and_all_are_served_with_one_schema() {
        let columns = vec![
            condition_column("High", "HighWater", "Whether it is."),
            age(),
        ];
        let definition = TIDES.definition("When.", json!({"type": "object"}), json!({}), columns);
        let versions = definition["spec"]["versions"].as_array().unwrap();
        let stored: Vec<_> = versions.iter().map(|version| &version["storage"]).collect();
        assert_eq!(stored, [&json!(true), &json!(false)]);
        assert_eq!(versions[0]["schema"], versions[1]["schema"]);
        assert_eq!(definition["metadata"]["name"], "tidetables.sea.example");
        assert_eq!(definition["spec"]["scope"], "Cluster");
        assert_eq!(
            definition["spec"]["names"],
            json!({
                "plural": "tidetables", "singular": "tidetable", "kind": "TideTable",
                "listKind": "TideTableList", "categories": ["all"],
            })
        );
        assert_eq!(
            versions[0]["additionalPrinterColumns"][0]["jsonPath"],
            ".status.conditions[?(@.type==\"HighWater\")].status"
        );
    }
}
