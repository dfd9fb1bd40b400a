//! Node agents.

pub mod agent;
pub mod applet;
pub mod dns;
pub mod images;
pub mod launcher;
pub mod log;
pub mod probe;
pub mod proxy;
pub mod runtime;
pub mod volumes;
