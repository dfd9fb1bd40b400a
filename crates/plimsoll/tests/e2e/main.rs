//! End-to-end tests: the built binary and real kubectl, as a person would use them.
//!
//! They need kubectl 1.32 and 1.37 in `$PLIMSOLL_E2E_KUBECTL/{1.32,1.37}/kubectl` (`.ci/fetch-kubectl
//! DIR` puts them there) and, for pods that really run, Linux with root. What is missing is
//! reported as ignored, with the reason on the first line. `$PLIMSOLL_E2E_BIN` names the binary to
//! test (the one cargo built for the tests otherwise). One at a time: clusters share the host's
//! routes.

mod asking;
mod aws;
mod bad_input;
mod cluster;
mod controller;
mod crash;
mod demo;
mod ending;
mod explain;
mod headroom;
mod jobs;
mod kubectl;
mod kubelets;
mod lab1;
mod lab4;
mod lab4_kept;
mod lab4_pods;
mod lab5_sets;
mod lab5_storage;
mod lifecycle;
mod metrics;
#[path = "../../../sources/tests/aws/moto.rs"]
mod moto;
mod names;
mod podlife;
mod provisioning;
mod run;
mod runner;
mod safekeeping;
mod streams;
mod transcript;
mod typed;

use kubectl::Kubectl;
use libtest_mimic::{Arguments, Failed, Trial};
use std::io::Write;
use std::process::ExitCode;

/// What a test returns.
type Outcome = Result<(), Failed>;

/// A test with kubectl.
type WithKubectl = fn(&Kubectl) -> Outcome;

/// A test without kubectl.
type Plain = fn() -> Outcome;

/// Tests that need no kubectl.
const PLAIN: &[(&str, Plain)] = &[
    (
        "lifecycle::a_second_up_on_the_same_directory_is_refused",
        lifecycle::second_up,
    ),
    (
        "lifecycle::a_port_already_taken_is_named",
        lifecycle::port_taken,
    ),
    (
        "lifecycle::status_logs_and_down_work_from_another_process",
        lifecycle::status_logs_down,
    ),
    ("crash::loses_nothing", crash::loses_nothing),
    ("kubelets::are_scraped_over_tls", kubelets::scraped),
    ("demo::scales_out_and_in_and_fails_no_request", demo::passes),
];

/// Transcripts, played with every kubectl (and the helm beside it).
const TRANSCRIPTS: &[(&str, &str)] = &[
    ("basics", include_str!("transcripts/basics.txt")),
    ("rollout", include_str!("transcripts/rollout.txt")),
    ("drain", include_str!("transcripts/drain.txt")),
    ("daemons", include_str!("transcripts/daemons.txt")),
    ("stateful", include_str!("transcripts/stateful.txt")),
    ("discovery", include_str!("transcripts/discovery.txt")),
    ("apply", include_str!("transcripts/apply.txt")),
    ("custom", include_str!("transcripts/custom.txt")),
    ("autoscaling", include_str!("transcripts/autoscaling.txt")),
    (
        "podautoscaler",
        include_str!("transcripts/podautoscaler.txt"),
    ),
    ("rights", include_str!("transcripts/rights.txt")),
    ("admission", include_str!("transcripts/admission.txt")),
    ("helm", include_str!("transcripts/helm.txt")),
    ("devices", include_str!("transcripts/devices.txt")),
];

/// Tests for every kubectl.
const EACH_KUBECTL: &[(&str, WithKubectl)] = &[
    ("lab1", lab1::whole),
    ("lab4", lab4::whole),
    ("lab4::pods_and_nodes_together", lab4_pods::together),
    ("lab4::what_keeps_a_node", lab4_kept::each),
    ("lab5::sets_with_and_without_order", lab5_sets::sets),
    ("lab5_storage", lab5_storage::whole),
    ("names", names::lab),
    ("streams", streams::all),
    ("bad_input", bad_input::all),
    ("explain", explain::all),
    ("asking::about_nodes_of_any_cluster", asking::anywhere),
    ("asking::about_node_groups", asking::groups),
    ("headroom::quotas", headroom::quotas),
    ("headroom::buffers", headroom::buffers),
    ("jobs", jobs::whole),
    ("provisioning", provisioning::whole),
    ("podlife", podlife::whole),
    ("lifecycle::objects_survive_a_restart", lifecycle::durable),
    ("safekeeping", safekeeping::keeps),
    ("controller", controller::follows),
    ("run::with_no_more_rights_than_install_gives", run::whole),
    ("run::warns_once_without_its_namespace", run::homeless),
    ("run::the_chart_makes_what_install_prints", run::chart),
    ("run::answers_as_a_plugin_of_kubectl", run::plugin),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let plain = PLAIN.iter().map(|(name, test)| Trial::test(*name, test));
    let mut trials: Vec<Trial> = plain.collect();
    for version in ["1.32", "1.37"] {
        let kubectl = Kubectl::find(version);
        if let Err(why) = &kubectl {
            let line = format!("skipped: tests with kubectl {version}: {why}\n");
            std::io::stderr().write_all(line.as_bytes()).ok();
        }
        for (name, test) in EACH_KUBECTL {
            let found = kubectl.as_ref().ok().cloned();
            let ignored = found.is_none();
            let run = move || found.map_or(Ok(()), |kubectl| test(&kubectl));
            let trial = Trial::test(format!("{name} with kubectl {version}"), run);
            trials.push(trial.with_ignored_flag(ignored));
        }
        trials.push(metrics::trial(kubectl.as_ref().ok().cloned(), version));
        trials.push(aws::trial(kubectl.as_ref().ok().cloned(), version));
        for (name, text) in TRANSCRIPTS {
            let found = kubectl.as_ref().ok().cloned();
            let ignored = found.is_none();
            let run =
                move || found.map_or(Ok(()), |kubectl| transcript::play(&kubectl, name, text));
            let trial = Trial::test(format!("transcript::{name} with kubectl {version}"), run);
            trials.push(trial.with_ignored_flag(ignored));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
