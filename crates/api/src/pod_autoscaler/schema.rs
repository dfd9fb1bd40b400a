//! The schema of `spec`.

use super::metrics::{api_version_rule, metrics};
use crate::definition::schema::{
    LONGEST_NAME, Reason, count, object, path_segment, quantity, rule, rule_at, text, with, word,
};
use serde_json::{Value, json};

/// Schedules of one autoscaler.
const MOST_SCHEDULES: u32 = 50;
/// Policies of one direction.
const MOST_POLICIES: u32 = 50;
/// Go's notation of a length of time, without a sign.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// Five fields, or a name for them. What the fields mean is read when the autoscaler is.
const CRON: &str = r"^\s*(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[0-9*?,/-]+\s+[0-9*?,/-]+\s+[0-9*?,/-]+\s+[0-9A-Za-z*?,/-]+\s+[0-9A-Za-z*?,/-]+)\s*$";

pub(super) fn spec() -> Value {
    let min = "The lower bound. 0 is allowed with an Object or External metric: the workload is \
               scaled to zero and back.";
    object(
        "What is asked for.",
        json!({
            "scaleTargetRef": scale_target(),
            "minReplicas": with(count(min, 0), json!({"default": 1})),
            "maxReplicas": count("The upper bound.", 1),
            "metrics": metrics(),
            "behavior": behavior(),
            "schedules": schedules(),
            "syncPeriod": sync_period(),
        }),
        &["scaleTargetRef", "maxReplicas"],
        bounds(),
    )
}

fn bounds() -> Vec<Value> {
    let from_outside = "self.minReplicas > 0 || (has(self.metrics) && \
                        self.metrics.exists(m, has(m.object) || has(m.external)))";
    vec![
        rule_at(
            ".maxReplicas",
            Reason::Invalid,
            "self.minReplicas <= self.maxReplicas",
            "must be greater than or equal to `minReplicas`",
        ),
        rule_at(
            ".metrics",
            Reason::Forbidden,
            from_outside,
            "must specify at least one Object or External metric to support scaling to zero \
             replicas",
        ),
        rule_at(
            ".schedules",
            Reason::Invalid,
            "!has(self.schedules) || self.schedules.all(s, !has(s.minReplicas) || \
             s.minReplicas <= self.maxReplicas)",
            "minReplicas of a schedule must be less than or equal to `maxReplicas`",
        ),
        rule_at(
            ".schedules",
            Reason::Invalid,
            "!has(self.schedules) || self.schedules.all(s, !has(s.maxReplicas) || \
             s.maxReplicas >= self.minReplicas)",
            "maxReplicas of a schedule must be greater than or equal to `minReplicas`",
        ),
    ]
}

fn scale_target() -> Value {
    let described = "Its API version. Only a ReplicationController's may be without a group.";
    object(
        "What is scaled: anything that has a scale subresource.",
        json!({
            "apiVersion": with(text(described, LONGEST_NAME), api_version_rule()),
            "kind": path_segment("Its kind, e.g. Deployment."),
            "name": path_segment("Its name."),
        }),
        &["kind", "name"],
        vec![rule_at(
            ".apiVersion",
            Reason::Invalid,
            "self.kind == 'ReplicationController' || \
             (has(self.apiVersion) && self.apiVersion.contains('/'))",
            "apiVersion must specify API group",
        )],
    )
}

fn behavior() -> Value {
    let growth = json!([
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ]);
    let shrinking = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let up = "How fast it may grow.";
    let down = "How fast it may shrink. The stabilization window is the controller's (5 minutes) \
                unless given.";
    object(
        "How fast the replica count may move. Absent and empty are not the same: an autoscaler \
         without behavior at most doubles at a time (or grows to 4), and remembers only what \
         was asked for before it shrinks.",
        json!({
            "scaleUp": direction(up, &growth, Some(0)),
            "scaleDown": direction(down, &shrinking, None),
        }),
        &[],
        Vec::new(),
    )
}

/// The rules of one direction, with upstream's defaults field by field.
fn direction(description: &str, policies: &Value, window: Option<u32>) -> Value {
    let mut seconds = json!({
        "description": "How far back recommendations are looked at, in seconds.",
        "type": "integer", "format": "int32", "minimum": 0, "maximum": 3600,
    });
    let mut all = json!({"selectPolicy": "Max", "policies": policies});
    if let Some(window) = window {
        seconds = with(seconds, json!({"default": window}));
        all = with(all, json!({"stabilizationWindowSeconds": window}));
    }
    let select = word("Which policy wins.", &["Max", "Min", "Disabled"]);
    let tolerance = quantity(
        "How far from its target a metric may be without a move in this direction, e.g. 0.05. \
         The controller's (0.1) unless given.",
        (
            "!quantity(self).isLessThan(quantity('0'))",
            "self >= 0",
            "must be greater or equal to zero",
        ),
    );
    let schema = object(
        description,
        json!({
            "stabilizationWindowSeconds": seconds,
            "selectPolicy": with(select, json!({"default": "Max"})),
            "policies": {
                "description": "Limits per period; selectPolicy says which one counts.",
                "type": "array", "maxItems": MOST_POLICIES, "x-kubernetes-list-type": "atomic",
                "default": policies,
                "items": policy(),
            },
            "tolerance": tolerance,
        }),
        &[],
        vec![rule_at(
            ".policies",
            Reason::Required,
            "!has(self.policies) || self.policies.size() > 0",
            "must specify at least one Policy",
        )],
    );
    with(schema, json!({"default": all}))
}

fn policy() -> Value {
    object(
        "So many pods, or so many percent, per period.",
        json!({
            "type": word("The unit.", &["Pods", "Percent"]),
            "value": count("How many pods or percent.", 1),
            "periodSeconds": with(
                count("The length of the period in seconds.", 1),
                json!({"maximum": 1800}),
            ),
        }),
        &["type", "value", "periodSeconds"],
        Vec::new(),
    )
}

fn schedules() -> Value {
    json!({
        "description": "Times at which the lower bound is raised or the upper bound lowered. Of \
                        the schedules in force, the largest minReplicas and the smallest \
                        maxReplicas count; where they disagree, the maximum wins.",
        "type": "array",
        "maxItems": MOST_SCHEDULES,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": schedule(),
    })
}

fn schedule() -> Value {
    let zone = "The time zone of start and end, as in the IANA database, e.g. Europe/Berlin.";
    let zone_rule = rule("self.lowerAscii() != 'local'", "must name a time zone");
    let length = "How long it lasts from each start, e.g. 2h30m. Give this or end.";
    let length_rule = rule(
        "duration(self) >= duration('1m')",
        "must be at least one minute",
    );
    object(
        "A recurring time with bounds of its own.",
        json!({
            "name": with(
                text("A name for messages.", 63),
                json!({"pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}),
            ),
            "start": cron("When it begins: minute hour day month weekday, or e.g. @daily."),
            "end": cron("When it ends, in the same notation. Give this or duration."),
            "duration": with(
                text(length, 32),
                json!({"pattern": DURATION, "x-kubernetes-validations": [length_rule]}),
            ),
            "timeZone": with(
                text(zone, 64),
                json!({
                    "default": "UTC", "minLength": 1, "x-kubernetes-validations": [zone_rule],
                }),
            ),
            "minReplicas": count("The lower bound meanwhile, if it is larger.", 0),
            "maxReplicas": count("The upper bound meanwhile, if it is smaller.", 1),
        }),
        &["name", "start"],
        schedule_rules(),
    )
}

fn schedule_rules() -> Vec<Value> {
    vec![
        rule_at(
            ".end",
            Reason::Required,
            "has(self.end) || has(self.duration)",
            "must set either an end or a duration",
        ),
        rule_at(
            ".duration",
            Reason::Forbidden,
            "!has(self.end) || !has(self.duration)",
            "may not set both an end and a duration",
        ),
        rule_at(
            ".end",
            Reason::Invalid,
            "!has(self.end) || self.end != self.start",
            "must differ from `start`",
        ),
        rule_at(
            ".minReplicas",
            Reason::Required,
            "has(self.minReplicas) || has(self.maxReplicas)",
            "must set minReplicas, maxReplicas or both",
        ),
        rule_at(
            ".maxReplicas",
            Reason::Invalid,
            "!has(self.minReplicas) || !has(self.maxReplicas) || \
             self.minReplicas <= self.maxReplicas",
            "must be greater than or equal to `minReplicas`",
        ),
    ]
}

fn cron(description: &str) -> Value {
    with(text(description, 200), json!({"pattern": CRON}))
}

fn sync_period() -> Value {
    let described = "How long it goes unevaluated at most, e.g. 5s; the controller's (15s) unless \
                     given. Metrics, pods and edits are looked at sooner.";
    let rules = [rule(
        "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
        "must be between 1s and 1h",
    )];
    with(
        text(described, 32),
        json!({"pattern": DURATION, "x-kubernetes-validations": rules}),
    )
}
