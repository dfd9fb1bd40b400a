//! Which events are told, which are counted, and which are dropped.
//!
//! As client-go's recorder does it: equal events raise a count; more than ten events that differ
//! only in the message within ten minutes are combined; a source may burst 25 events about one
//! object and then one each five minutes.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Events that differ only in the message before they are combined.
const COMBINE_AFTER: usize = 10;
/// How long such events count together.
const COMBINE_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Events a source may send at once about one object.
const BURST: f64 = 25.0;
/// Tokens a second that come back: one each five minutes.
const REFILL: f64 = 1.0 / 300.0;
/// How many objects and event groups are remembered.
const CAPACITY: usize = 4096;

/// What identifies an event up to its message: source, object, type and reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) component: &'static str,
    pub(super) object: String,
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

/// An event that was sent: its name and how often it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) name: String,
    pub(super) count: i32,
    pub(super) first: Timestamp,
}

/// What to do with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Say it, with this message.
    Create { message: String },
    /// Raise the count of one that was said.
    Bump { message: String, sent: Sent },
    /// Too many.
    Drop,
}

#[derive(Debug, Default)]
struct Similar {
    messages: Vec<String>,
    last: Option<Timestamp>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// Memory of what was sent.
#[derive(Debug, Default)]
pub(super) struct Correlator {
    similar: BTreeMap<Group, Similar>,
    sent: BTreeMap<(Group, String), Sent>,
    buckets: BTreeMap<(&'static str, String), Bucket>,
}

impl Correlator {
    /// Decides about an event that happens at `now`.
    pub(super) fn judge(&mut self, group: &Group, message: &str, now: Timestamp) -> Verdict {
        self.forget_when_full();
        let message = self.combine(group, message, now);
        if !self.take_token(group, now) {
            return Verdict::Drop;
        }
        match self.sent.get_mut(&(group.clone(), message.clone())) {
            Some(sent) => {
                sent.count = sent.count.saturating_add(1);
                Verdict::Bump {
                    message,
                    sent: sent.clone(),
                }
            }
            None => Verdict::Create { message },
        }
    }

    /// Remembers what was created for a [`Verdict::Create`] (or created anew after a bump failed).
    pub(super) fn created(&mut self, group: Group, message: String, sent: Sent) {
        self.sent.insert((group, message), sent);
    }

    fn combine(&mut self, group: &Group, message: &str, now: Timestamp) -> String {
        let similar = self.similar.entry(group.clone()).or_default();
        let expired = similar
            .last
            .is_some_and(|last| now.duration_since(last) > COMBINE_WINDOW);
        if expired {
            similar.messages.clear();
        }
        similar.last = Some(now);
        if !similar.messages.iter().any(|known| known == message) {
            if similar.messages.len() >= COMBINE_AFTER {
                return format!("(combined from similar events): {message}");
            }
            similar.messages.push(message.to_owned());
        }
        message.to_owned()
    }

    fn take_token(&mut self, group: &Group, now: Timestamp) -> bool {
        let key = (group.component, group.object.clone());
        let bucket = self.buckets.entry(key).or_insert(Bucket {
            tokens: BURST,
            at: now,
        });
        let elapsed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = elapsed.mul_add(REFILL, bucket.tokens).min(BURST);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    /// Starting over is cheaper than tracking use, and costs at most repeated events.
    fn forget_when_full(&mut self) {
        if self.similar.len() >= CAPACITY {
            self.similar.clear();
        }
        if self.sent.len() >= CAPACITY {
            self.sent.clear();
        }
        if self.buckets.len() >= CAPACITY {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Correlator, Group, Sent, Verdict};
    use jiff::{SignedDuration, Timestamp};

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn group(object: &str) -> Group {
        Group {
            component: "test",
            object: object.into(),
            kind: "Normal",
            reason: "Tested".into(),
        }
    }

    fn say(correlator: &mut Correlator, message: &str, at: i64) -> Verdict {
        let now = T0 + SignedDuration::from_secs(at);
        let verdict = correlator.judge(&group("a"), message, now);
        if let Verdict::Create { message } = &verdict {
            let sent = Sent {
                name: "a.1".into(),
                count: 1,
                first: now,
            };
            correlator.created(group("a"), message.clone(), sent);
        }
        verdict
    }

    #[test]
    fn an_equal_event_raises_the_count() {
        let mut correlator = Correlator::default();
        assert_eq!(
            say(&mut correlator, "x", 0),
            Verdict::Create {
                message: "x".into()
            }
        );
        let Verdict::Bump { sent, .. } = say(&mut correlator, "x", 5) else {
            panic!("a bump")
        };
        assert_eq!((sent.count, sent.first), (2, T0));
    }

    #[test]
    fn the_eleventh_similar_event_is_combined_until_ten_quiet_minutes_passed() {
        let mut correlator = Correlator::default();
        for n in 0..10 {
            let message = format!("m{n}");
            assert_eq!(
                say(&mut correlator, &message, n),
                Verdict::Create { message }
            );
        }
        let combined = "(combined from similar events): m10".to_owned();
        assert_eq!(
            say(&mut correlator, "m10", 11),
            Verdict::Create { message: combined }
        );
        assert_eq!(
            say(&mut correlator, "m11", 700),
            Verdict::Create {
                message: "m11".into()
            }
        );
    }

    #[test]
    fn the_twenty_sixth_event_of_a_burst_is_dropped() {
        let mut correlator = Correlator::default();
        for _ in 0..25 {
            assert_ne!(say(&mut correlator, "x", 0), Verdict::Drop);
        }
        assert_eq!(say(&mut correlator, "x", 0), Verdict::Drop);
        assert_ne!(say(&mut correlator, "x", 301), Verdict::Drop);
    }
}
