//! The audit log: who asked for what, when, and what came of it; one JSON object a line. Off unless
//! asked for, and then written by a thread of its own.

mod log;
mod policy;
#[cfg(test)]
mod tests;
mod trail;

pub use log::{LogError, LogOptions};
pub use policy::{Policy, PolicyError};
pub(crate) use trail::Trail;

use crate::server::ApiServer;
use log::Log;

/// An audit log and the policy that says what goes into it.
#[derive(Debug)]
pub struct Audit {
    policy: Policy,
    log: Log,
}

impl Audit {
    /// Opens the log for appending.
    ///
    /// # Errors
    /// [`LogError`] if the file cannot be opened.
    pub fn open(policy: Policy, options: &LogOptions) -> Result<Self, LogError> {
        Ok(Self {
            policy,
            log: Log::open(options)?,
        })
    }
}

impl ApiServer {
    /// Logs every request from now on; a second call changes nothing.
    pub fn set_audit(&self, audit: Audit) {
        if self.0.audit.set(audit).is_err() {
            tracing::warn!("there is an audit log already");
        }
    }

    /// Writes what waits for the audit log and closes it. Blocks until that is done.
    pub fn close_audit(&self) {
        if let Some(audit) = self.0.audit.get() {
            audit.log.close();
        }
    }
}
