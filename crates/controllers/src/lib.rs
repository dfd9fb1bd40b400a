//! Controllers: the shell that reads the cluster through watches, lets pure functions decide, and
//! writes the difference back.
//!
//! Everything here knows only `kube::Client`, so the same reconcilers run against the embedded API
//! server, against a real cluster and in virtual time.

pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod devices;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod explain;
pub mod facts;
pub mod garbage;
pub mod horizontal;
pub mod ipaddress;
pub mod job;
pub mod namespace;
pub mod nodelifecycle;
pub mod nodes;
pub mod podgc;
pub mod pods;
pub mod protection;
pub mod replicaset;
pub mod replicationcontroller;
pub mod revisions;
pub mod runtime;
pub mod scheduler;
pub mod serviceaccount;
pub mod servicelb;
pub mod statefulset;
pub mod supervisor;
pub mod ttl;
pub mod volumes;
pub mod wishes;
