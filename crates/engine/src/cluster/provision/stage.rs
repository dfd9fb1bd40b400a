//! What is to be done about a request, as its conditions and the time tell.

use jiff::{SignedDuration, Timestamp};

/// How long everything takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvisioningTimes {
    /// How long after the first attempt that found no room the second is made
    /// (`--provisioning-request-initial-backoff-time`); after each further one, twice as long.
    pub first_pause: SignedDuration,
    /// The longest such pause (`--provisioning-request-max-backoff-time`).
    pub longest_pause: SignedDuration,
    /// How long room is kept for pods that do not come.
    pub booking: SignedDuration,
    /// How old a request gets without room before it is given up.
    pub patience: SignedDuration,
    /// How long after its end a request is deleted.
    pub memory: SignedDuration,
}

impl Default for ProvisioningTimes {
    /// Upstream's (reference §14).
    fn default() -> Self {
        let week = SignedDuration::from_hours(7 * 24);
        Self {
            first_pause: SignedDuration::from_mins(1),
            longest_pause: SignedDuration::from_mins(10),
            booking: SignedDuration::from_mins(10),
            patience: week,
            memory: week,
        }
    }
}

impl ProvisioningTimes {
    /// The pause after an attempt that was made so long after the first one: as if all had been
    /// made when their pauses were over. So nobody has to remember how many there were.
    pub(super) fn pause(&self, since_first: SignedDuration) -> SignedDuration {
        let longest = self.longest_pause.max(self.first_pause);
        let mut pause = self.first_pause.max(SignedDuration::from_secs(1));
        let mut spent = SignedDuration::ZERO;
        while pause < longest {
            spent = spent.saturating_add(pause);
            if since_first < spent {
                break;
            }
            pause = pause.saturating_add(pause).min(longest);
        }
        pause
    }
}

/// The conditions of a request, as far as they matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestState {
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Since when `Accepted` holds.
    pub accepted: Option<Timestamp>,
    /// Whether `Provisioned` holds, and since when that is known.
    pub provisioned: Option<(bool, Timestamp)>,
    /// Since when one of `Failed`, `BookingExpired` and `CapacityRevoked` holds.
    pub ended: Option<Timestamp>,
}

/// What is to be done about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestStage {
    /// Room is to be looked for.
    Due,
    /// None was found; it is looked for again then.
    Waits {
        /// When.
        until: Timestamp,
    },
    /// None was found for too long.
    GivenUp,
    /// Room is kept for its pods.
    Booked {
        /// Until then.
        until: Timestamp,
    },
    /// Room has been kept long enough.
    BookingOver,
    /// Nothing.
    Ended,
    /// It ended so long ago that it is deleted.
    Forgotten,
}

impl RequestState {
    /// What is to be done now. `valid_for` is the request's own patience.
    ///
    /// Departs: a request is looked at once before it is given up, whatever its patience, and one
    /// that ended is deleted a week after its end, not after its last attempt.
    pub fn stage(
        &self,
        times: &ProvisioningTimes,
        valid_for: Option<SignedDuration>,
        now: Timestamp,
    ) -> RequestStage {
        let after = |since: Timestamp, time: SignedDuration| {
            since.saturating_add(time).unwrap_or(Timestamp::MAX)
        };
        if let Some(ended) = self.ended {
            return if after(ended, times.memory) < now {
                RequestStage::Forgotten
            } else {
                RequestStage::Ended
            };
        }
        match self.provisioned {
            None => {
                let patience = valid_for.unwrap_or(times.patience);
                let over = |created| after(created, patience) < now;
                let tried = self.accepted.is_some();
                if tried && self.created.is_some_and(over) {
                    RequestStage::GivenUp
                } else {
                    RequestStage::Due
                }
            }
            Some((true, since)) => {
                let until = after(since, times.booking);
                if until < now {
                    RequestStage::BookingOver
                } else {
                    RequestStage::Booked { until }
                }
            }
            Some((false, last)) => {
                let given_up = after(
                    self.created.unwrap_or(last),
                    valid_for.unwrap_or(times.patience),
                );
                let first = self.accepted.unwrap_or(last);
                let until = after(last, times.pause(last.duration_since(first)));
                if given_up < now {
                    RequestStage::GivenUp
                } else if until < now {
                    RequestStage::Due
                } else {
                    RequestStage::Waits {
                        until: until.min(given_up),
                    }
                }
            }
        }
    }
}
