//! The messages. Field numbers are the protocol's; unknown fields are skipped.

use std::collections::HashMap;

/// A message without fields.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Empty {}

/// `google.protobuf.Timestamp` and `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Span {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Group {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(int32, tag = "2")]
    pub(super) min_size: i32,
    #[prost(int32, tag = "3")]
    pub(super) max_size: i32,
    #[prost(string, tag = "4")]
    pub(super) debug: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) provider_id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(map = "string, string", tag = "3")]
    pub(super) labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "4")]
    pub(super) annotations: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Groups {
    #[prost(message, repeated, tag = "1")]
    pub(super) groups: Vec<Group>,
}

/// Of which node the group is wanted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct OfNode {
    #[prost(message, optional, tag = "1")]
    pub(super) node: Option<Node>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct MaybeGroup {
    /// An empty id stands for none.
    #[prost(message, optional, tag = "1")]
    pub(super) group: Option<Group>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PriceOfNode {
    #[prost(message, optional, tag = "1")]
    pub(super) node: Option<Node>,
    #[prost(message, optional, tag = "4")]
    pub(super) start: Option<Span>,
    #[prost(message, optional, tag = "5")]
    pub(super) end: Option<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Price {
    #[prost(double, tag = "1")]
    pub(super) price: f64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) label: String,
}

/// Which group is meant.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Id {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct TargetSize {
    #[prost(int32, tag = "1")]
    pub(super) target_size: i32,
}

/// By how much a group is to change: above zero for growth, below for what is not there yet.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Delta {
    #[prost(int32, tag = "1")]
    pub(super) delta: i32,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Deletion {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Instances {
    #[prost(message, repeated, tag = "1")]
    pub(super) instances: Vec<Instance>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Instance {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) status: Option<Status>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Status {
    /// 0 unspecified, 1 running, 2 creating, 3 deleting.
    #[prost(int32, tag = "1")]
    pub(super) state: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) error: Option<Problem>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Problem {
    /// Empty where there is none.
    #[prost(string, tag = "1")]
    pub(super) code: String,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    /// 1 out of resources, 99 other.
    #[prost(int32, tag = "3")]
    pub(super) class: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Template {
    /// A v1 Node in protobuf.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) node: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Options {
    #[prost(double, tag = "1")]
    pub(super) utilization_threshold: f64,
    #[prost(double, tag = "2")]
    pub(super) gpu_utilization_threshold: f64,
    #[prost(bool, tag = "6")]
    pub(super) zero_or_max: bool,
    #[prost(bool, tag = "7")]
    pub(super) ignore_daemon_sets: bool,
    #[prost(message, optional, tag = "8")]
    pub(super) unneeded: Option<Span>,
    #[prost(message, optional, tag = "9")]
    pub(super) unready: Option<Span>,
    #[prost(message, optional, tag = "10")]
    pub(super) provision: Option<Span>,
    #[prost(message, optional, tag = "11")]
    pub(super) startup: Option<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionsOf {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) defaults: Option<Options>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MaybeOptions {
    #[prost(message, optional, tag = "1")]
    pub(super) options: Option<Options>,
}

/// Which of these options are best?
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Offer {
    #[prost(message, repeated, tag = "1")]
    pub(super) options: Vec<Offered>,
    /// By group: a v1 Node in protobuf.
    #[prost(map = "string, bytes", tag = "3")]
    pub(super) nodes: HashMap<String, Vec<u8>>,
}

/// What one group could do.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Offered {
    #[prost(string, tag = "1")]
    pub(super) group: String,
    #[prost(int32, tag = "2")]
    pub(super) nodes: i32,
    #[prost(string, tag = "3")]
    pub(super) debug: String,
    /// Each a v1 Pod in protobuf.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub(super) pods: Vec<Vec<u8>>,
}

/// The best options.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Best {
    #[prost(message, repeated, tag = "1")]
    pub(super) options: Vec<Offered>,
}
