//! The targets of the API server's tests, for the fuzzer.
#![allow(dead_code, reason = "the tests use more of the rig than the targets do")]

#[path = "../crates/apiserver/tests/http_api/rig.rs"]
mod rig;
#[path = "../crates/apiserver/tests/http_api/fuzz/targets.rs"]
mod targets;

/// Runs one target on one input, against a server that lives as long as the process.
pub fn run(name: &str, input: &[u8]) {
    thread_local! {
        static WORLD: targets::World = targets::World::new();
    }
    let found = targets::TARGETS.iter().find(|(n, ..)| *n == name);
    let (_, target, _) = found.expect("a target of this name");
    WORLD.with(|world| target(world, input));
}
