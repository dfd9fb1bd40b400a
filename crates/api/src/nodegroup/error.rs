//! What goes wrong at a provider.

/// What kind of failure it is: decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// No machines of this kind are to be had (stock-out): the next group is tried at once.
    OutOfResources,
    /// The account's quota is used up: the next group is tried at once.
    QuotaExceeded,
    /// Too many calls; the provider has backed off and given up for now.
    Throttled,
    /// The credentials do not allow the call.
    Forbidden,
    /// The group, or the node in it, does not exist.
    NotFound,
    /// The request is wrong: above the maximum, below the minimum.
    Invalid,
    /// The provider does not offer this.
    Unsupported,
    /// No answer in time, or no connection.
    Unreachable,
    /// Anything else.
    Other,
}

/// A call to a provider that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What kind.
    pub class: ErrorClass,
    /// The provider's own code, e.g. `InsufficientInstanceCapacity`; empty where there is none.
    pub code: String,
    /// What was tried and what the provider says, without secrets.
    pub message: String,
}

impl ProviderError {
    /// An error without a code.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            code: String::new(),
            message: message.into(),
        }
    }
}
