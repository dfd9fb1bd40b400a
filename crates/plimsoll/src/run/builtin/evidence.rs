//! What the traces of another controller say. Pure.

use jiff::{SignedDuration, Timestamp};

/// Traces are fresh for so long. Upstream's controller looks every 15 s, but writes only changes.
const FRESH: SignedDuration = SignedDuration::from_secs(90);
/// Upstream's names of the controller, in `--controllers`.
const NAMES: [&str; 2] = [
    "horizontal-pod-autoscaler-controller",
    "horizontalpodautoscaling",
];

/// Who wrote the status of an autoscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusWriter {
    /// `NAMESPACE/NAME` of the autoscaler.
    pub(crate) autoscaler: String,
    /// `metadata.managedFields[].manager`.
    pub(crate) manager: String,
    /// When.
    pub(crate) at: Option<Timestamp>,
}

/// A pod that runs controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControllerPod {
    /// Name of the pod.
    pub(crate) name: String,
    /// Its command line; empty where the image's own is used.
    pub(crate) command: Vec<String>,
    /// The part of a `plimsoll up` that the pod describes, which has a pod for each part.
    pub(crate) part: Option<String>,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Writers of autoscalers' status, ourselves left out.
    pub(crate) writers: Vec<StatusWriter>,
    /// Running pods in `kube-system`.
    pub(crate) pods: Vec<ControllerPod>,
}

/// Whether another controller obeys HorizontalPodAutoscalers, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does.
    Active(String),
    /// It does not.
    Absent(String),
    /// That cannot be seen.
    Unknown(String),
}

impl Evidence {
    /// Judges at the time `now`.
    pub(crate) fn judge(&self, now: Timestamp) -> Verdict {
        if let Some(writer) = self.writers.iter().find(|writer| writer.is_fresh(now)) {
            return Verdict::Active(format!(
                "{} wrote the status of hpa {} less than {} s ago",
                writer.manager,
                writer.autoscaler,
                FRESH.as_secs()
            ));
        }
        if let Some(pod) = self.pods.iter().find(|pod| pod.runs_it() == Some(true)) {
            let name = &pod.name;
            return Verdict::Active(format!("pod kube-system/{name} runs it"));
        }
        if let Some(pod) = self.pods.first()
            && self.pods.iter().all(|pod| pod.runs_it() == Some(false))
        {
            let name = &pod.name;
            return Verdict::Absent(format!(
                "pod kube-system/{name} runs without horizontal-pod-autoscaler-controller"
            ));
        }
        let past = self.writers.first().map(|writer| &writer.manager);
        Verdict::Unknown(match past {
            Some(manager) => format!("{manager} wrote autoscalers' status, but not lately"),
            None => "no trace of one".to_owned(),
        })
    }
}

impl StatusWriter {
    /// A clock that is ahead of ours makes a trace fresh.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.at.is_some_and(|at| now.duration_since(at) < FRESH)
    }
}

impl ControllerPod {
    /// Whether it runs the controller; `None` if its command line does not say.
    fn runs_it(&self) -> Option<bool> {
        if let Some(part) = &self.part {
            return Some(part == "horizontal-pod-autoscaler");
        }
        if self.command.is_empty() {
            return None;
        }
        let Some(list) = self.controllers() else {
            return Some(true);
        };
        let listed: Vec<&str> = list.split(',').map(str::trim).collect();
        if NAMES
            .iter()
            .any(|name| listed.contains(&format!("-{name}").as_str()))
        {
            return Some(false);
        }
        let named = NAMES.iter().any(|name| listed.contains(name));
        Some(named || listed.contains(&"*"))
    }

    /// The value of `--controllers`, which may be an argument of its own or words of a shell's.
    fn controllers(&self) -> Option<&str> {
        let mut words = self.command.iter().flat_map(|word| word.split_whitespace());
        while let Some(word) = words.next() {
            let list = match word.strip_prefix("--controllers") {
                Some("") => words.next()?,
                Some(rest) => match rest.strip_prefix('=') {
                    Some(list) => list,
                    None => continue,
                },
                None => continue,
            };
            return Some(list.trim_matches(['"', '\'']));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{ControllerPod, Evidence, StatusWriter, Verdict};
    use jiff::Timestamp;

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn pod(command: &[&str]) -> ControllerPod {
        ControllerPod {
            name: "kube-controller-manager-cp".into(),
            command: command.iter().map(|&word| word.into()).collect(),
            part: None,
        }
    }

    fn writer(at: &str) -> StatusWriter {
        StatusWriter {
            autoscaler: "default/web".into(),
            manager: "kube-controller-manager".into(),
            at: Some(at.parse().unwrap()),
        }
    }

    fn judge(writers: Vec<StatusWriter>, pods: Vec<ControllerPod>) -> Verdict {
        let now: Timestamp = NOW.parse().unwrap();
        Evidence { writers, pods }.judge(now)
    }

    #[test]
    fn a_fresh_write_by_somebody_else_is_proof() {
        let verdict = judge(vec![writer("2026-01-01T11:59:00Z")], Vec::new());
        assert!(matches!(verdict, Verdict::Active(why) if why.contains("default/web")));
        let skewed = judge(vec![writer("2026-01-01T12:09:00Z")], Vec::new());
        assert!(matches!(skewed, Verdict::Active(_)));
    }

    #[test]
    fn an_old_write_proves_nothing() {
        let verdict = judge(vec![writer("2026-01-01T11:00:00Z")], Vec::new());
        assert!(matches!(verdict, Verdict::Unknown(why) if why.contains("not lately")));
        assert!(matches!(judge(Vec::new(), Vec::new()), Verdict::Unknown(_)));
    }

    #[test]
    fn a_cluster_of_our_own_says_which_parts_it_runs() {
        let part = |part: &str| ControllerPod {
            part: Some(part.into()),
            ..pod(&[])
        };
        let manager = part("kube-controller-manager");
        let verdict = judge(Vec::new(), vec![manager.clone()]);
        assert!(matches!(verdict, Verdict::Absent(_)));
        let both = vec![manager, part("horizontal-pod-autoscaler")];
        assert!(matches!(judge(Vec::new(), both), Verdict::Active(_)));
    }

    #[test]
    fn the_flags_of_the_controller_manager_are_read() {
        let kcm = "kube-controller-manager";
        let cases: [(&[&str], &str); 10] = [
            (&[kcm], "active"),
            (&[kcm, "--controllers=*"], "active"),
            (
                &[kcm, "--controllers=*,-horizontal-pod-autoscaler-controller"],
                "absent",
            ),
            (
                &[
                    "sh",
                    "-c",
                    "exec kube-controller-manager --controllers=*,-horizontalpodautoscaling",
                ],
                "absent",
            ),
            (&[kcm, "--controllers=deployment-controller"], "absent"),
            (
                &[
                    kcm,
                    "--controllers",
                    "*,-horizontal-pod-autoscaler-controller",
                    "--v=2",
                ],
                "absent",
            ),
            (&[kcm, "--controllers", "*"], "active"),
            (&[kcm, "--controllers-of-another-kind=none"], "active"),
            (
                &[
                    "sh",
                    "-c",
                    "kube-controller-manager --controllers '*,-horizontalpodautoscaling' --v=2",
                ],
                "absent",
            ),
            (&[], "unknown"),
        ];
        for (command, want) in cases {
            let got = match judge(Vec::new(), vec![pod(command)]) {
                Verdict::Active(_) => "active",
                Verdict::Absent(_) => "absent",
                Verdict::Unknown(_) => "unknown",
            };
            assert_eq!(got, want, "{command:?}");
        }
    }
}
