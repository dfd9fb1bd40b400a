//! The scheduler's rules: tables from the reference, properties against a second, plain
//! implementation.

mod build;
mod devices;
mod explaining;
mod forks;
mod near_and_apart;
mod plain;
mod preemption;
mod properties;
mod single_node;
mod spreading;
mod storage;
