//! `nslookup`, as old busybox has it.

use super::{names, os};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Looks names up through the container's resolver.
pub(super) fn nslookup(arguments: &[String]) -> u8 {
    let Some(name) = arguments.iter().find(|word| !word.starts_with('-')) else {
        return os::fail("Usage: nslookup HOST");
    };
    let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = servers
        .lines()
        .find_map(|line| line.strip_prefix("nameserver "));
    let told = os::variable(names::SERVER);
    let server = told.as_deref().or(server).unwrap_or("127.0.0.1").trim();
    os::line(&format!("Server:    {server}\nAddress 1: {server}\n"));
    let Ok(found) = names::look_up(name) else {
        return os::fail(&format!("nslookup: can't resolve '{name}'"));
    };
    let addresses: BTreeSet<IpAddr> = found.into_iter().collect();
    os::line(&format!("Name:      {name}"));
    for (index, address) in addresses.iter().enumerate() {
        os::line(&format!("Address {}: {address}", index + 1));
    }
    0
}
