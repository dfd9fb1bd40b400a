//! Failures of the helper process, as text that survives the trip to the main process.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// What went wrong in the helper, in words; `errno` where the kernel said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Fault {
    /// The step that failed and the reason.
    pub(crate) what: String,
    /// The kernel's error number.
    pub(crate) errno: Option<i32>,
}

impl Fault {
    /// A failure without an error number.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            errno: None,
        }
    }
}

/// Names the step that failed.
pub(crate) trait Doing<T> {
    /// Turns the error into a [`Fault`] that starts with `step`.
    fn doing(self, step: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, step: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|errno| Fault {
            what: format!("{}: {}", step(), errno.desc().to_lowercase()),
            errno: Some(errno as i32),
        })
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, step: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| match error.raw_os_error() {
            Some(number) => Fault {
                what: format!(
                    "{}: {}",
                    step(),
                    Errno::from_raw(number).desc().to_lowercase()
                ),
                errno: Some(number),
            },
            None => Fault {
                what: format!("{}: {error}", step()),
                errno: None,
            },
        })
    }
}
