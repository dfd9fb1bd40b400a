//! A hold by hand: a person stops the scaling of one target for a while.

use super::trace::Step;
use jiff::Timestamp;

/// The annotation that holds an autoscaler: a time in RFC 3339, or [`INDEFINITELY`].
pub const ANNOTATION: &str = "plimsoll.dev/hold";
/// The annotation that says why.
pub const REASON_ANNOTATION: &str = "plimsoll.dev/hold-reason";
/// The value of a hold without an end.
pub const INDEFINITELY: &str = "indefinitely";

/// A hold that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// When it ends; `None` when it is lifted.
    pub until: Option<Timestamp>,
    /// What the person said, or empty.
    pub why: String,
    /// The annotation's value, where it is no time.
    pub unreadable: Option<String>,
}

impl ByHand {
    /// The hold that the annotations ask for at `now`; `None` without one, or once it is over.
    ///
    /// A value that is neither a time nor [`INDEFINITELY`] holds until it is lifted: somebody
    /// wanted the target to stay where it is.
    pub fn read(hold: Option<&str>, why: Option<&str>, now: Timestamp) -> Option<Self> {
        let text = hold?.trim();
        let why = why.unwrap_or_default().trim().to_owned();
        let (until, unreadable) = match text.parse::<Timestamp>() {
            Ok(until) => (Some(until), None),
            Err(_) if text == INDEFINITELY => (None, None),
            Err(_) => (None, Some(text.to_owned())),
        };
        let over = until.is_some_and(|until| until <= now);
        (!over).then_some(Self {
            until,
            why,
            unreadable,
        })
    }

    pub(super) fn step(&self, would: i32) -> Step {
        Step::HeldByHand {
            until: self.until,
            why: self.why.clone(),
            would,
        }
    }

    /// `held by hand until 2026-01-01T12:30:00Z (release)`, for the event.
    pub fn text(&self) -> String {
        match &self.unreadable {
            Some(value) => format!(
                "held by hand until it is lifted: {ANNOTATION} is {value:?}, which is neither a \
                 time like 2026-01-31T12:30:00Z nor {INDEFINITELY:?}"
            ),
            None => describe(self.until, &self.why),
        }
    }
}

/// `held by hand until … (why)`.
pub(super) fn describe(until: Option<Timestamp>, why: &str) -> String {
    let until = until.map_or_else(|| "it is lifted".to_owned(), |until| until.to_string());
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" ({why})")
    };
    format!("held by hand until {until}{why}")
}
