//! Server-side apply and the tracking of field owners.
//!
//! Everything here is pure: objects and `metadata.managedFields` in, objects and managedFields out.
//! Sets of paths borrow from the objects they describe.
//!
//! ```text
//! a write ── compare old and new ──> what its author takes, what others lose     (update)
//! a configuration ── merge ── prune ── compare ──> conflicts, or the new object  (apply)
//! ```

mod check;
mod compare;
mod conflict;
mod extract;
mod fields_v1;
mod managers;
mod merge;
mod prune;
mod set;
mod shape;
mod step;
#[cfg(test)]
mod tests;
mod track;

pub use check::{message, problems};
pub use compare::{Difference, compare};
pub use conflict::Conflicts;
pub use extract::set_of;
pub use fields_v1::{Malformed, read as read_fields, write as write_fields};
pub use managers::{
    Author, Entry, Managers, Operation, Source, Unreadable, is_reset, same_but_times,
};
pub use merge::merge;
pub use prune::{prune, remove};
pub use set::Set;
pub(crate) use shape::go_plain;
pub use step::{NoIdentity, Step};
pub use track::{Force, Scope, Versions, Write, apply, create, update};
