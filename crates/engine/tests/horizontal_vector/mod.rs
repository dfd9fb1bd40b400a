//! One recorded decision: how its inputs map to ours, and what must come out.

mod data;

use data::{
    class_text, conditions, custom_sample, differ, event, facts, failure, items, or, read,
    ready_pod, resource_sample, scale,
};
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::limit::{self, Range};
use plimsoll_engine::horizontal::memory::{Memory, change_within};
use plimsoll_engine::horizontal::milli::{self, Suffixes};
use plimsoll_engine::horizontal::observed::{
    Observed, Reading, Sample, Scale, Selection, Settings,
};
use plimsoll_engine::horizontal::pod::Facts;
use plimsoll_engine::horizontal::spec::{Behavior, Metric, Spec};
use plimsoll_engine::horizontal::{Decision, Status, Step, decide, render, replay, stabilize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Vector<'a> {
    raw: &'a Value,
    input: &'a Value,
    expected: &'a Value,
}

impl<'a> Vector<'a> {
    pub(crate) fn new(raw: &'a Value) -> Self {
        Self {
            raw,
            input: &raw["input"],
            expected: &raw["expected"],
        }
    }

    pub(crate) fn id(&self) -> &'a str {
        self.raw["id"].as_str().unwrap_or_default()
    }

    /// What differs; `None` for kinds that are not about decisions.
    pub(crate) fn differences(&self) -> Option<Vec<String>> {
        Some(match self.raw["kind"].as_str()? {
            "calc" | "group-pods" | "requests" => self.calculation(),
            "reconcile" => self.pass(),
            "trace" => self.series(),
            "quantity" => {
                let resource = self.input["resource"].as_str().unwrap();
                let raw = self.input["rawMilli"].as_i64().unwrap();
                let got = milli::format(raw, Suffixes::of_resource(resource));
                differ("quantity", &json!(got), &self.expected["quantity"])
            }
            "clamp" | "rate-limit" => self.limited(),
            "stabilize-legacy" | "stabilize-behavior" => self.stabilized(),
            "store-event" => self.stored(),
            other => vec![format!("unknown kind {other}")],
        })
    }

    fn now(&self) -> Timestamp {
        self.input["now"].as_str().unwrap().parse().unwrap()
    }

    fn number(&self, key: &str) -> i32 {
        i32::try_from(self.input[key].as_i64().unwrap_or_default()).unwrap()
    }

    fn memory(&self) -> Memory {
        let mut history = self.input["history"].clone();
        if let Some(history) = history.as_object_mut() {
            history.retain(|_, value| !value.is_null());
        }
        read(&history)
    }

    /// Whether the original had seen the target before.
    fn is_known(&self) -> bool {
        !self.input["history"]["recommendations"].is_null()
    }

    fn settings(&self) -> Settings {
        let flags = &self.input["controller"];
        let seconds = |key: &str| SignedDuration::from_secs(flags[key].as_i64().unwrap_or(300));
        let gate = |key: &str| flags["featureGates"][key].as_bool().unwrap_or_default();
        Settings {
            tolerance: flags["tolerance"].as_f64().unwrap_or(0.1),
            downscale_stabilization: seconds("downscaleStabilizationSeconds"),
            cpu_initialization: seconds("cpuInitializationPeriodSeconds"),
            readiness_delay: seconds("initialReadinessDelaySeconds"),
            scale_to_zero: gate("HPAScaleToZero"),
            configurable_tolerance: gate("HPAConfigurableTolerance"),
            pod_level_resources: gate("PodLevelResources"),
            ..Settings::default()
        }
    }

    fn behavior(&self) -> Option<Behavior> {
        self.input
            .get("behavior")
            .filter(|b| !b.is_null())
            .map(read)
    }

    fn pods(&self, selector: &str) -> Vec<Arc<Facts>> {
        let wanted: Vec<(&str, &str)> = selector
            .split(',')
            .filter_map(|part| part.split_once('='))
            .collect();
        let selected = |pod: &&Value| {
            wanted
                .iter()
                .all(|(key, value)| pod["metadata"]["labels"][*key] == json!(value))
        };
        let pods = self.input["pods"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(selected);
        pods.map(|pod| Arc::new(facts(pod))).collect()
    }

    fn reading(&self, metric: &Metric) -> Result<Reading, String> {
        let metrics = &self.input["metrics"];
        match metric {
            Metric::Resource {
                name, container, ..
            } => {
                let source = &metrics["resource"];
                failure(source)?;
                let items = source["items"].as_array().into_iter().flatten();
                let sample = |item| resource_sample(item, name, container.as_deref());
                Ok(Reading::PerPod(items.filter_map(sample).collect()))
            }
            Metric::Pods { metric, .. } => {
                if metric
                    .selector
                    .as_ref()
                    .is_some_and(|s| s.to_string().contains("Bogus"))
                {
                    return Err("bad selector".into());
                }
                let source = self.source("custom", &metric.name)?;
                Ok(Reading::PerPod(items(source).map(custom_sample).collect()))
            }
            Metric::Object { metric, .. } => {
                let source = self.source("custom", &metric.name)?;
                let first = items(source).next().ok_or("no item")?;
                Ok(Reading::Single(milli::read(&first["value"]).unwrap()))
            }
            Metric::External { metric, .. } => {
                let source = self.source("external", &metric.name)?;
                let values = items(source).map(|item| milli::read(&item["value"]).unwrap());
                Ok(Reading::Series(values.collect()))
            }
            Metric::Unknown { .. } => Err("unknown".into()),
        }
    }

    fn source(&self, api: &str, name: &str) -> Result<&'a Value, String> {
        let sources = self.input["metrics"][api].as_array().into_iter().flatten();
        let found = sources
            .into_iter()
            .find(|source| source["metric"] == json!(name));
        let found = found.ok_or("no such metric")?;
        failure(found)?;
        Ok(found)
    }

    fn observed(&self, hpa: &Value, scale: Scale) -> Observed {
        let spec: Spec = read(&hpa["spec"]);
        let readings = spec
            .metrics
            .iter()
            .map(|metric| self.reading(metric))
            .collect();
        let selector = match &scale.selector {
            Selection::Valid(text) => Arc::clone(text),
            Selection::Missing | Selection::Invalid(_) => "".into(),
        };
        let pods = self.pods(&selector);
        let rivals = self.input["otherHpas"].as_array().into_iter().flatten();
        let bad_version = spec.scale_target_ref.api_version.matches('/').count() > 1;
        Observed {
            now: self.now(),
            settings: self.settings(),
            namespace: "default".into(),
            status: read(&hpa["status"]),
            scale: if bad_version {
                Err("unexpected GroupVersion".into())
            } else {
                Ok(scale)
            },
            pods,
            rivals: rivals.map(|other| other["name"].to_string()).collect(),
            readings,
            memory: Some(self.memory()).filter(|_| self.is_known()),
            spec: Arc::new(spec),
        }
    }

    /// One metric on its own, as the original's calculator is called.
    fn calculation(&self) -> Vec<String> {
        let metric = self.input.get("metric").cloned().unwrap_or_else(|| {
            let (name, container) = (&self.input["resource"], &self.input["container"]);
            // Without a request the groups are all there is to compare.
            let target = match self.raw["kind"].as_str() {
                Some("group-pods") => json!({ "type": "AverageValue", "averageValue": "1" }),
                _ => json!({ "type": "Utilization", "averageUtilization": 100 }),
            };
            match container.as_str() {
                None => {
                    json!({ "type": "Resource", "resource": { "name": name, "target": target }})
                }
                Some(_) => json!({ "type": "ContainerResource", "containerResource": {
                    "name": name, "container": container, "target": target } }),
            }
        });
        let metric: Metric = read(&metric);
        let selector = self.input["podSelector"].as_str().unwrap_or_default();
        let tolerances = &self.input["tolerances"];
        let mut settings = self.settings();
        let mut behavior = Behavior::default();
        if !tolerances.is_null() {
            behavior.scale_up.tolerance = tolerances["scaleUp"].as_f64();
            behavior.scale_down.tolerance = tolerances["scaleDown"].as_f64();
        }
        settings.configurable_tolerance = true;
        let observed = Observed {
            now: self.now(),
            settings,
            namespace: self.input["namespace"].as_str().unwrap_or("default").into(),
            status: Status::default(),
            scale: Ok(Scale {
                spec_replicas: self.number("specReplicas"),
                status_replicas: self.number("statusReplicas"),
                selector: Selection::Valid(selector.into()),
            }),
            pods: self.pods(selector),
            rivals: Vec::new(),
            readings: vec![self.reading(&metric)],
            memory: None,
            spec: Arc::new(Spec {
                metrics: vec![metric],
                behavior: Some(behavior),
                ..Spec::default()
            }),
        };
        let mut observed = observed;
        if let (Some("group-pods"), Ok(Reading::PerPod(samples))) =
            (self.raw["kind"].as_str(), &mut observed.readings[0])
        {
            samples.push(self.stranger());
        }
        let answer = plimsoll_engine::horizontal::propose(&observed, 0);
        self.compare_calculation(&observed, answer)
    }

    /// A value of a name that is no pod: groups are formed even where no pod has a value.
    fn stranger(&self) -> Sample {
        let window = SignedDuration::ZERO;
        Sample {
            pod: "stranger".into(),
            value: 0,
            timestamp: self.now(),
            window,
        }
    }

    fn compare_calculation(
        &self,
        observed: &Observed,
        answer: (
            Result<plimsoll_engine::horizontal::Answer, String>,
            Vec<Step>,
        ),
    ) -> Vec<String> {
        let (answer, trace) = answer;
        match self.raw["kind"].as_str() {
            Some("group-pods") => return self.compare_groups(&trace),
            Some("requests") => {
                let want = &self.expected["requestsMilli"];
                let settings = observed.settings;
                let name = self.input["resource"].as_str().unwrap();
                let got: Result<BTreeMap<_, _>, _> = observed
                    .pods
                    .iter()
                    .map(|pod| {
                        let container = self.input["container"].as_str();
                        Ok((
                            pod.name.to_string(),
                            pod.request(name, container, &settings)?,
                        ))
                    })
                    .collect::<Result<_, String>>();
                return match got {
                    Err(_) => differ("error", &json!(true), &self.expected["error"]),
                    Ok(got) => differ("requests", &json!(got), want),
                };
            }
            _ => {}
        }
        match answer {
            Err(error) if self.expected["error"] == json!(true) => {
                let class = self.expected["errorClass"].as_str().unwrap_or_default();
                if error.contains(class_text(class)) {
                    vec![]
                } else {
                    vec![error]
                }
            }
            Err(error) => vec![format!("failed: {error}")],
            Ok(answer) => {
                let expected = self.expected;
                let mut differences = differ(
                    "replicas",
                    &json!(answer.replicas),
                    &expected["desiredReplicas"],
                );
                differences.extend(differ(
                    "value",
                    &json!(answer.value),
                    &expected["valueMilli"],
                ));
                let percent = json!(answer.utilization);
                differences.extend(differ("percent", &percent, &expected["utilizationPercent"]));
                if !differences.is_empty() {
                    differences.extend(render(&trace));
                }
                differences
            }
        }
    }

    fn compare_groups(&self, trace: &[Step]) -> Vec<String> {
        let list = |key: &str| -> Vec<String> {
            let names = self.expected[key].as_array().into_iter().flatten();
            let mut names: Vec<String> = names
                .map(|name| name.as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        let (mut unready, mut missing, mut ignored) = (vec![], vec![], vec![]);
        for step in trace {
            if let Step::Uncounted {
                ignored: i,
                unready: u,
                missing: m,
            } = step
            {
                let text = |names: &[Arc<str>]| -> Vec<String> {
                    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
                    names.sort();
                    names
                };
                (unready, missing, ignored) = (text(u), text(m), text(i));
            }
        }
        let mut differences = Vec::new();
        for (key, got) in [
            ("unreadyPods", unready),
            ("missingPods", missing),
            ("ignoredPods", ignored),
        ] {
            differences.extend(differ(key, &json!(got), &json!(list(key))));
        }
        differences
    }

    fn pass(&self) -> Vec<String> {
        let hpa = &self.input["hpa"];
        let observed = self.observed(hpa, scale(&self.input["scale"]["object"]));
        let decision = decide(&observed);
        let mut differences = self.compare_pass(&observed, &decision);
        if let Some(again) = replay(&decision.trace)
            && again != decision.replicas
        {
            differences.push(format!("replayed {again}, decided {}", decision.replicas));
        }
        if !differences.is_empty() {
            differences.extend(render(&decision.trace));
        }
        differences
    }

    fn compare_pass(&self, observed: &Observed, decision: &Decision) -> Vec<String> {
        let expected = self.expected;
        let mut all = Vec::new();
        let mut check = |what: &str, got: Value, want: Value| {
            all.extend(differ(what, &got, &want));
        };
        check(
            "error",
            json!(decision.error.is_some()),
            expected["error"].clone(),
        );
        let writes: Vec<i32> = decision.write.into_iter().collect();
        check(
            "writes",
            json!(writes),
            or(&expected["scaleWrites"], json!([])),
        );
        let status = &decision.status;
        check(
            "current",
            json!(status.current_replicas),
            expected["statusCurrentReplicas"].clone(),
        );
        check(
            "desired",
            json!(status.desired_replicas),
            expected["statusDesiredReplicas"].clone(),
        );
        let moved = decision.write.is_some();
        check(
            "scale time",
            json!(moved),
            expected["lastScaleTimeIsNow"].clone(),
        );
        let written = *status != observed.status;
        check("written", json!(written), expected["statusWritten"].clone());
        let unread = decision
            .trace
            .iter()
            .any(|step| matches!(step, Step::Unreadable { .. }));
        if !unread {
            let metrics = json!(status.current_metrics);
            check(
                "metrics",
                metrics,
                or(&expected["currentMetrics"], Value::Null),
            );
        }
        check(
            "conditions",
            conditions(status, observed),
            expected["conditions"].clone(),
        );
        let events: Vec<Value> = decision.events.iter().map(event).collect();
        check("events", json!(events), or(&expected["events"], json!([])));
        check(
            "memory",
            json!(decision.memory.clone().unwrap_or_default()),
            expected["historyAfter"].clone(),
        );
        all
    }

    fn series(&self) -> Vec<String> {
        let mut hpa = self.input["hpa"].clone();
        let mut scale = scale(&self.input["scale"]["object"]);
        let mut memory = None;
        let mut all = Vec::new();
        let steps = self.input["steps"].as_array().unwrap();
        for (step, want) in steps.iter().zip(self.expected["steps"].as_array().unwrap()) {
            let mut observed = self.observed(&hpa, scale.clone());
            observed.now += SignedDuration::from_secs(step["at"].as_i64().unwrap());
            observed.memory = memory;
            let total = step["totalUsageMilli"].as_i64().unwrap();
            self.add_pods(&mut observed, total);
            let decision = decide(&observed);
            let at = &step["at"];
            let status = &decision.status;
            let got = json!(status.desired_replicas);
            all.extend(differ(
                &format!("{at}: desired"),
                &got,
                &want["desiredReplicas"],
            ));
            let got = conditions(status, &observed);
            all.extend(differ(
                &format!("{at}: conditions"),
                &got,
                &want["conditions"],
            ));
            let remembered: Vec<i32> = decision
                .memory
                .iter()
                .flat_map(|m| &m.recommendations)
                .map(|r| r.replicas)
                .collect();
            all.extend(differ(
                &format!("{at}: memory"),
                &json!(remembered),
                &want["recommendations"],
            ));
            hpa["status"] = json!(status);
            scale.spec_replicas = decision.replicas;
            scale.status_replicas = decision.replicas;
            memory = decision.memory;
        }
        all
    }

    fn add_pods(&self, observed: &mut Observed, total: i64) {
        let count = observed.scale.as_ref().unwrap().spec_replicas;
        let request = self.input["podRequestMilli"].as_i64().unwrap();
        observed.pods = (0..count)
            .map(|index| Arc::new(ready_pod(index, request)))
            .collect();
        let sample = |pod: &Arc<Facts>| Sample {
            pod: Arc::clone(&pod.name),
            value: total / i64::from(count),
            timestamp: observed.now,
            window: SignedDuration::from_secs(30),
        };
        observed.readings = vec![Ok(Reading::PerPod(
            observed.pods.iter().map(sample).collect(),
        ))];
    }

    fn limited(&self) -> Vec<String> {
        let range = Range {
            min: self.number("minReplicas"),
            max: self.number("maxReplicas"),
        };
        let (current, wanted) = (
            self.number("currentReplicas"),
            self.number("desiredReplicas"),
        );
        let step = match self.behavior() {
            None => limit::without_behavior(current, wanted, range),
            Some(behavior) => {
                let memory = self.memory();
                limit::with_behavior(current, wanted, range, (&behavior, &memory), self.now())
            }
        };
        let Step::Limited {
            reason, replicas, ..
        } = step
        else {
            return vec!["step".into()];
        };
        let mut all = differ(
            "replicas",
            &json!(replicas),
            &self.expected["desiredReplicas"],
        );
        all.extend(differ(
            "reason",
            &json!(reason.reason()),
            &self.expected["reason"],
        ));
        all
    }

    fn stabilized(&self) -> Vec<String> {
        let mut memory = self.memory();
        let (settings, now) = (self.settings(), self.now());
        let (current, wanted) = (
            self.number("currentReplicas"),
            self.number("desiredReplicas"),
        );
        let step = match self.behavior() {
            None => stabilize::without_behavior(wanted, &mut memory, &settings, now),
            Some(b) => stabilize::with_behavior((current, wanted), &mut memory, &b, &settings, now),
        };
        let Step::Stabilized { replicas, .. } = step else {
            return vec!["step".into()];
        };
        let mut all = differ(
            "replicas",
            &json!(replicas),
            &self.expected["desiredReplicas"],
        );
        all.extend(differ(
            "memory",
            &json!(memory),
            &self.expected["historyAfter"],
        ));
        all
    }

    fn stored(&self) -> Vec<String> {
        let mut memory = self.memory();
        let (from, to) = (self.number("prevReplicas"), self.number("newReplicas"));
        let events = if to > from {
            &memory.scale_up_events
        } else {
            &memory.scale_down_events
        };
        let change = change_within(events, self.number("periodSeconds"), self.now());
        memory.record_scale(self.behavior().as_ref(), from, to, self.now());
        let mut all = differ("memory", &json!(memory), &self.expected["historyAfter"]);
        all.extend(differ(
            "change",
            &json!(change),
            &self.expected["changeInPeriod"],
        ));
        all
    }
}
