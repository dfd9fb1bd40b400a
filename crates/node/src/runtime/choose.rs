//! The ladder of runtimes: the first rung that really works here is taken, and said why.

use super::builtin::BuiltIn;
use super::process::Processes;
use super::{Runtime, RuntimeError};
use crate::launcher::{LauncherConfig, Rung, probe};
use plimsoll_clock::Clock;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Which runtime is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best that works.
    #[default]
    Auto,
    /// Containers as root.
    BuiltIn,
    /// Containers in a user namespace.
    Rootless,
    /// Plain processes.
    Process,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "builtin" | "built-in" => Ok(Self::BuiltIn),
            "rootless" => Ok(Self::Rootless),
            "process" => Ok(Self::Process),
            other => Err(format!(
                "{other:?} is no runtime: auto, builtin, rootless, process"
            )),
        }
    }
}

/// A runtime and the line that says why this one.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// One line for people.
    pub why: String,
}

/// Starts the wanted runtime; `exe` is this program, usually `/proc/self/exe`.
///
/// # Errors
///
/// When a runtime was asked for by name and does not work here; the message names the step that
/// failed. `Auto` always finds one.
pub async fn choose(
    choice: Choice,
    exe: &Path,
    config: &LauncherConfig,
    clock: Clock,
) -> Result<Chosen, RuntimeError> {
    let rungs: &[Rung] = match choice {
        Choice::Auto => &[Rung::Root, Rung::Rootless],
        Choice::BuiltIn => &[Rung::Root],
        Choice::Rootless => &[Rung::Rootless],
        Choice::Process => &[],
    };
    let mut refusals = Vec::new();
    for rung in rungs {
        match start(exe, *rung, config, clock).await {
            Ok(runtime) => {
                let mut why = runtime.describe();
                if let Some(refusal) = refusals.first() {
                    why = format!("{why}; a better rung was refused: {refusal}");
                }
                return Ok(Chosen { runtime, why });
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    if matches!(choice, Choice::BuiltIn | Choice::Rootless) {
        return Err(RuntimeError::Launcher(refusals.join("; ")));
    }
    let processes = Processes::start(exe, &config.directory, clock)?;
    let mut why = processes.describe();
    if !refusals.is_empty() {
        why = format!("{why}; containers were refused: {}", refusals.join("; "));
    }
    Ok(Chosen {
        runtime: Arc::new(processes),
        why,
    })
}

async fn start(
    exe: &Path,
    rung: Rung,
    config: &LauncherConfig,
    clock: Clock,
) -> Result<Arc<dyn Runtime>, String> {
    let name = match rung {
        Rung::Root => "as root",
        Rung::Rootless => "in a user namespace",
    };
    if let Some(why) = probe(exe, rung).await.refused {
        return Err(format!("{name}: {why}"));
    }
    match BuiltIn::start(exe, rung, config, clock).await {
        Ok(runtime) => Ok(Arc::new(runtime)),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("auto", Choice::Auto)]
    #[case("builtin", Choice::BuiltIn)]
    #[case("rootless", Choice::Rootless)]
    #[case("process", Choice::Process)]
    fn runtimes_are_chosen_by_name(#[case] text: &str, #[case] want: Choice) {
        assert_eq!(text.parse(), Ok(want));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "docker".parse::<Choice>().unwrap_err();
        assert!(error.contains("docker") && error.contains("rootless"));
    }
}
