//! Another writer of `spec.replicas`.

use super::{Finding, FindingKind};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

/// How long a change by somebody else is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(15);

/// Who wrote the count last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) manager: String,
    /// `Apply` or `Update`.
    pub(super) operation: String,
    /// `scale`, or empty.
    pub(super) subresource: String,
    pub(super) time: Option<Timestamp>,
}

/// A change of the count by somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: i32,
    pub(super) to: i32,
    /// When it was seen.
    pub(super) at: Timestamp,
    /// `None` where the target does not say.
    pub(super) author: Option<Author>,
}

/// The newest writer of `spec.replicas` other than `own`.
pub(super) fn author(managed: &[ManagedFieldsEntry], own: &str) -> Option<Author> {
    let owns_replicas = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    };
    let newest = managed
        .iter()
        .filter(owns_replicas)
        .filter(|entry| entry.manager.as_deref() != Some(own))
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    Some(Author {
        manager: newest.manager.clone().unwrap_or_default(),
        operation: newest.operation.clone().unwrap_or_default(),
        subresource: newest.subresource.clone().unwrap_or_default(),
        time: newest.time.as_ref().map(|time| time.0),
    })
}

/// Finds somebody else who changed the count lately.
pub(super) fn other_writer(target: &str, change: &Change, now: Timestamp) -> Option<Finding> {
    if now.duration_since(change.at) >= REMEMBERED {
        return None;
    }
    let Change {
        from,
        to,
        at,
        author,
    } = change;
    let (who, at) = match author {
        Some(author) => (describe(author), author.time.unwrap_or(*at)),
        None => ("an unknown writer".to_owned(), *at),
    };
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
    let by_hand = author
        .as_ref()
        .is_some_and(|author| author.subresource == "scale");
    let advice = if by_hand {
        "set minReplicas and maxReplicas of the autoscaler instead, or hold it with `plimsoll hold`"
    } else {
        "remove replicas from the manifest; with kubectl apply, hand the field over first \
         (kubectl apply edit-last-applied, or server-side apply without replicas)"
    };
    Some(Finding {
        kind: FindingKind::OtherReplicasWriter,
        object: author
            .as_ref()
            .map(|author| author.manager.clone())
            .unwrap_or_default(),
        message: format!(
            "spec.replicas of {target} was changed from {from} to {to} by {who} at {at}"
        ),
        advice: advice.into(),
    })
}

fn describe(author: &Author) -> String {
    let Author {
        manager,
        operation,
        subresource,
        ..
    } = author;
    if subresource.is_empty() {
        format!("{manager} ({operation})")
    } else {
        format!("{manager} ({operation} of {subresource})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Author, Change, author, other_writer};
    use jiff::{SignedDuration, Timestamp};
    use rstest::rstest;
    use serde_json::json;

    fn entry(manager: &str, time: &str, fields: &serde_json::Value) -> serde_json::Value {
        json!({ "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": fields })
    }

    #[rstest]
    #[case::the_newest(&["plimsoll", "kubectl", "helm"], Some("helm"))]
    #[case::never_ourselves(&["helm", "plimsoll"], Some("helm"))]
    #[case::nobody(&["plimsoll"], None)]
    fn the_author_owns_the_field(#[case] managers: &[&str], #[case] want: Option<&str>) {
        let entries = managers.iter().enumerate().map(|(second, manager)| {
            let time = format!("2026-01-01T12:00:{second:02}Z");
            entry(manager, &time, &json!({ "f:spec": { "f:replicas": {} } }))
        });
        let other = entry(
            "editor",
            "2026-01-01T13:00:00Z",
            &json!({ "f:spec": { "f:paused": {} } }),
        );
        let entries: Vec<_> = entries.chain([other]).collect();
        let entries: Vec<_> = entries
            .into_iter()
            .map(|e| serde_json::from_value(e).unwrap())
            .collect();
        assert_eq!(
            author(&entries, "plimsoll").map(|a| a.manager).as_deref(),
            want
        );
    }

    fn change(subresource: &str) -> Change {
        Change {
            from: 4,
            to: 2,
            at: Timestamp::UNIX_EPOCH,
            author: Some(Author {
                manager: "kubectl".into(),
                operation: "Update".into(),
                subresource: subresource.into(),
                time: Some(Timestamp::UNIX_EPOCH),
            }),
        }
    }

    #[rstest]
    #[case::by_a_manifest(
        "",
        "changed from 4 to 2 by kubectl (Update) at",
        "remove replicas from the manifest"
    )]
    #[case::by_hand("scale", "by kubectl (Update of scale) at", "plimsoll hold")]
    fn the_advice_fits_the_writer(
        #[case] subresource: &str,
        #[case] message: &str,
        #[case] advice: &str,
    ) {
        let found = other_writer(
            "Deployment web",
            &change(subresource),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
        assert!(found.message.contains(message), "{}", found.message);
        assert!(found.advice.contains(advice), "{}", found.advice);
    }

    #[test]
    fn a_change_is_forgotten_after_a_while() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(15);
        assert_eq!(other_writer("Deployment web", &change(""), now), None);
    }
}
