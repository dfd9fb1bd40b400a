//! What this process does about HorizontalPodAutoscalers, and when it looks again. Pure.

use super::builtin::Verdict;
use std::time::Duration;

/// While acting: how often to look for traces of another controller.
const LOOK: Duration = Duration::from_secs(60);
/// While standing back: how often to try whether the other controller is gone.
const TRY: Duration = Duration::from_secs(300);
/// Pause after the first attempt to find out that failed; it doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// The longest pause between attempts to find out.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What this process does about HorizontalPodAutoscalers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing yet.
    #[default]
    Waits,
    /// It obeys them.
    Acts,
    /// Another controller obeys them.
    StandsBack,
}

/// What a verdict brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is the first that says so.
    Changed,
    /// It says what the one before said.
    Same,
}

/// A role, and how long it has been tried in vain to find out.
#[derive(Debug, Default)]
pub(super) struct Stance {
    role: Role,
    failures: u32,
}

impl Stance {
    /// The role.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Takes in a verdict. One that knows nothing does not end acting.
    pub(super) fn take(&mut self, verdict: &Verdict) -> News {
        let role = match verdict {
            Verdict::Absent(_) => Role::Acts,
            Verdict::Active(_) => Role::StandsBack,
            Verdict::Unknown(_) if self.role == Role::Acts => Role::Acts,
            Verdict::Unknown(_) => Role::Waits,
        };
        let failures = match role {
            Role::Waits => self.failures.saturating_add(1),
            Role::Acts | Role::StandsBack => 0,
        };
        let changed = role != self.role || failures == 1;
        *self = Self { role, failures };
        if changed { News::Changed } else { News::Same }
    }

    /// How long to rest before looking again. Nothing is scaled while it waits, so that is short.
    pub(super) fn rest(&self) -> Duration {
        match self.role {
            Role::Acts => LOOK,
            Role::StandsBack => TRY,
            Role::Waits => {
                let doublings = self.failures.saturating_sub(1).min(3);
                (FIRST_RETRY * 2_u32.pow(doublings)).min(LAST_RETRY)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{News, Role, Stance};
    use crate::run::builtin::Verdict;
    use rstest::rstest;

    fn verdict(letter: char) -> Verdict {
        match letter {
            'a' => Verdict::Active(String::new()),
            'n' => Verdict::Absent(String::new()),
            _ => Verdict::Unknown(String::new()),
        }
    }

    /// Verdicts: active, none, unknown. Rests in seconds, those after news in brackets.
    #[rstest]
    #[case::one_failure_at_fail_over("un", "[2] [60]", Role::Acts)]
    #[case::the_server_is_away("uuuuun", "[2] 4 8 10 10 [60]", Role::Acts)]
    #[case::nothing_known_while_acting("nun", "[60] 60 60", Role::Acts)]
    #[case::nothing_known_while_standing_back("aaua", "[300] 300 [2] [300]", Role::StandsBack)]
    #[case::a_second_outage_is_told_again("uunau", "[2] 4 [60] [300] [2]", Role::Waits)]
    fn it_rests_as_long_as_nothing_is_missed(
        #[case] verdicts: &str,
        #[case] want: &str,
        #[case] role: Role,
    ) {
        let mut stance = Stance::default();
        let rests: Vec<String> = verdicts
            .chars()
            .map(|letter| {
                let news = stance.take(&verdict(letter));
                let rest = stance.rest().as_secs();
                match news {
                    News::Changed => format!("[{rest}]"),
                    News::Same => rest.to_string(),
                }
            })
            .collect();
        assert_eq!(rests.join(" "), want);
        assert_eq!(stance.role(), role);
    }
}
