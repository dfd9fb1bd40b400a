//! Between the messages and the types of [`NodeProvider`](plimsoll_api::nodegroup::NodeProvider).

use super::wire;
use jiff::SignedDuration;
use plimsoll_api::nodegroup::{
    ErrorClass, Instance, InstanceProblem, InstanceState, NodeRef, OptionOverrides, ProviderError,
};
use plimsoll_api::protobuf;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::{Code, Status};

/// Upstream's number for a stock-out or a quota.
const OUT_OF_RESOURCES: i32 = 1;
/// Upstream's number for anything else.
const OTHER: i32 = 99;

pub(super) fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

pub(super) fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(super) fn node(node: &NodeRef) -> wire::Node {
    let map = |pairs: &[(Arc<str>, Arc<str>)]| -> HashMap<String, String> {
        let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        owned.collect()
    };
    wire::Node {
        provider_id: node.provider_id.to_string(),
        name: node.name.to_string(),
        labels: map(&node.labels),
        annotations: map(&node.annotations),
    }
}

pub(super) fn node_ref(node: wire::Node) -> NodeRef {
    let pairs = |map: HashMap<String, String>| {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> =
            map.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        pairs.sort();
        pairs
    };
    NodeRef {
        name: node.name.into(),
        provider_id: node.provider_id.into(),
        labels: pairs(node.labels),
        annotations: pairs(node.annotations),
    }
}

pub(super) fn instance(instance: wire::Instance) -> Instance {
    let status = instance.status.unwrap_or_default();
    let state = match status.state {
        1 => Some(InstanceState::Running),
        2 => Some(InstanceState::Creating),
        3 => Some(InstanceState::Deleting),
        _ => None,
    };
    let problem = status.error.filter(|error| !error.code.is_empty());
    Instance {
        id: instance.id.into(),
        state,
        problem: problem.map(|error| InstanceProblem {
            class: if error.class == OUT_OF_RESOURCES {
                ErrorClass::OutOfResources
            } else {
                ErrorClass::Other
            },
            code: error.code,
            message: error.message,
        }),
    }
}

pub(super) fn told_instance(instance: Instance) -> wire::Instance {
    let state = match instance.state {
        None => 0,
        Some(InstanceState::Running) => 1,
        Some(InstanceState::Creating) => 2,
        Some(InstanceState::Deleting) => 3,
    };
    let error = instance.problem.map(|problem| {
        let scarce = [ErrorClass::OutOfResources, ErrorClass::QuotaExceeded];
        let class = if scarce.contains(&problem.class) {
            OUT_OF_RESOURCES
        } else {
            OTHER
        };
        let (code, message) = (problem.code, problem.message);
        wire::Problem {
            code: if code.is_empty() {
                "Unknown".to_owned()
            } else {
                code
            },
            message,
            class,
        }
    });
    wire::Instance {
        id: instance.id.to_string(),
        status: Some(wire::Status { state, error }),
    }
}

/// An object of core/v1 from its protobuf, without envelope.
pub(super) fn object(kind: &str, raw: &[u8]) -> Result<Value, ProviderError> {
    let wrong = |why: String| ProviderError::new(ErrorClass::Other, why);
    let ty = protobuf::type_of("v1", kind).ok_or_else(|| wrong(format!("no kind {kind}")))?;
    protobuf::decode(ty, raw).map_err(|error| wrong(error.to_string()))
}

/// The protobuf of an object of core/v1, without envelope.
pub(super) fn bytes(kind: &str, object: &Value) -> Result<Vec<u8>, Status> {
    let ty = protobuf::type_of("v1", kind).ok_or_else(|| Status::internal("unknown kind"))?;
    protobuf::encode(ty, object).map_err(|error| Status::internal(error.to_string()))
}

fn span(duration: SignedDuration) -> wire::Span {
    wire::Span {
        seconds: duration.as_secs(),
        nanos: duration.subsec_nanos(),
    }
}

fn duration(span: &wire::Span) -> SignedDuration {
    let nanos = SignedDuration::from_nanos(span.nanos.into());
    SignedDuration::from_secs(span.seconds).saturating_add(nanos)
}

/// From one instant to another, in hours.
pub(super) fn hours(start: Option<&wire::Span>, end: Option<&wire::Span>) -> f64 {
    let (Some(start), Some(end)) = (start, end) else {
        return 1.0;
    };
    (duration(end).saturating_sub(duration(start)))
        .as_secs_f64()
        .max(0.0)
        / 3600.0
}

/// Options with every value; those that are missing are zero on the wire.
pub(super) fn told_options(options: &OptionOverrides) -> wire::Options {
    wire::Options {
        utilization_threshold: options.scale_down_utilization_threshold.unwrap_or_default(),
        gpu_utilization_threshold: options
            .scale_down_gpu_utilization_threshold
            .unwrap_or_default(),
        zero_or_max: options.zero_or_max_node_scaling.unwrap_or_default(),
        ignore_daemon_sets: options.ignore_daemonsets_utilization.unwrap_or_default(),
        unneeded: options.scale_down_unneeded_time.map(span),
        unready: options.scale_down_unready_time.map(span),
        provision: options.max_node_provision_time.map(span),
        startup: options.max_node_startup_time.map(span),
    }
}

/// What a plug-in answers. It says every value; of the numbers that are no sensible setting, the
/// flags' hold.
pub(super) fn options(options: &wire::Options) -> OptionOverrides {
    let share = |share: f64| (share > 0.0 && share <= 1.0).then_some(share);
    let time = |span: &Option<wire::Span>| {
        let time = span.as_ref().map(duration);
        time.filter(|time| !time.is_negative())
    };
    OptionOverrides {
        scale_down_utilization_threshold: share(options.utilization_threshold),
        scale_down_gpu_utilization_threshold: share(options.gpu_utilization_threshold),
        scale_down_unneeded_time: time(&options.unneeded),
        scale_down_unready_time: time(&options.unready),
        max_node_provision_time: time(&options.provision),
        max_node_startup_time: time(&options.startup),
        zero_or_max_node_scaling: Some(options.zero_or_max),
        ignore_daemonsets_utilization: Some(options.ignore_daemon_sets),
    }
}

/// The defaults of the one who asks, overlaid with a group's own.
pub(super) fn overlaid(mut defaults: wire::Options, own: &OptionOverrides) -> wire::Options {
    let told = told_options(own);
    if own.scale_down_utilization_threshold.is_some() {
        defaults.utilization_threshold = told.utilization_threshold;
    }
    if own.scale_down_gpu_utilization_threshold.is_some() {
        defaults.gpu_utilization_threshold = told.gpu_utilization_threshold;
    }
    defaults.zero_or_max = own.zero_or_max_node_scaling.unwrap_or(defaults.zero_or_max);
    defaults.ignore_daemon_sets = own
        .ignore_daemonsets_utilization
        .unwrap_or(defaults.ignore_daemon_sets);
    defaults.unneeded = told.unneeded.or(defaults.unneeded);
    defaults.unready = told.unready.or(defaults.unready);
    defaults.provision = told.provision.or(defaults.provision);
    defaults.startup = told.startup.or(defaults.startup);
    defaults
}

pub(super) fn error(call: &str, status: &Status) -> ProviderError {
    // A status with a cause was made here, because the connection failed.
    let broken = std::error::Error::source(status).is_some();
    let class = match status.code() {
        _ if broken => ErrorClass::Unreachable,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorClass::Unreachable,
        Code::ResourceExhausted => ErrorClass::OutOfResources,
        Code::PermissionDenied | Code::Unauthenticated => ErrorClass::Forbidden,
        Code::NotFound => ErrorClass::NotFound,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => ErrorClass::Invalid,
        Code::Unimplemented => ErrorClass::Unsupported,
        Code::Ok
        | Code::Unknown
        | Code::AlreadyExists
        | Code::Aborted
        | Code::Internal
        | Code::DataLoss => ErrorClass::Other,
    };
    ProviderError {
        class,
        code: format!("{:?}", status.code()),
        message: format!("{call}: {}", status.message()),
    }
}

pub(super) fn status(error: ProviderError) -> Status {
    let code = match error.class {
        ErrorClass::OutOfResources | ErrorClass::QuotaExceeded | ErrorClass::Throttled => {
            Code::ResourceExhausted
        }
        ErrorClass::Forbidden => Code::PermissionDenied,
        ErrorClass::NotFound => Code::NotFound,
        ErrorClass::Invalid => Code::InvalidArgument,
        ErrorClass::Unsupported => Code::Unimplemented,
        ErrorClass::Unreachable => Code::Unavailable,
        ErrorClass::Other => Code::Unknown,
    };
    Status::new(code, error.message)
}
