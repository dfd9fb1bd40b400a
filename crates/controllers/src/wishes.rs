//! What autoscalers want of workloads beyond what they may write now: a board in the process, on
//! which they put it and where node autoscaling reads it, so that nodes come before pods wait.
//!
//! ```text
//! horizontal autoscaler ──40 wanted, 14 allowed──► Wishes ──26 more pods──► node autoscaling
//! ```
//!
//! A wish is in force until its author takes it back, or has not looked again when it should have:
//! whoever is blind or gone asks for nothing. While nobody reads, nothing is kept.

use crate::runtime::ObjectKey;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// Who wants something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Author {
    /// The kind as people type it: `hpa`.
    pub kind: &'static str,
    /// Namespace and name.
    pub object: ObjectKey,
}

impl fmt::Display for Author {
    /// `hpa/web`. The namespace is the workload's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.object.name)
    }
}

/// A workload that can be scaled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// API group: `apps`; empty for the core group.
    pub group: Arc<str>,
    /// `Deployment`, `StatefulSet` and so on.
    pub kind: Arc<str>,
    /// Namespace and name.
    pub object: ObjectKey,
}

/// What somebody wants of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Of which.
    pub target: Target,
    /// How many replicas it should have.
    pub replicas: usize,
    /// Until when this holds if nothing more is heard of its author.
    pub until: Timestamp,
}

/// The board. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Wishes(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    wishes: Mutex<BTreeMap<Author, Wish>>,
    /// Counts wishes that are new or for more than before.
    risen: watch::Sender<u64>,
}

impl Wishes {
    /// Whether anybody reads: nobody else need work out what to put up.
    pub fn are_read(&self) -> bool {
        self.0.risen.receiver_count() > 0
    }

    /// Says when there are wishes for more. Wishes are kept as long as the receiver lives.
    pub fn read(&self) -> watch::Receiver<u64> {
        self.0.risen.subscribe()
    }

    /// Puts a wish up at `now`, in place of the author's former one.
    pub fn put_up(&self, author: Author, wish: Wish, now: Timestamp) {
        if !self.are_read() {
            return;
        }
        let (more, target) = (wish.replicas, wish.target.clone());
        let former = self.0.wishes.lock().insert(author, wish);
        let former = former.filter(|former| former.until > now && former.target == target);
        if former.is_none_or(|former| former.replicas < more) {
            self.0.risen.send_modify(|count| *count += 1);
        }
    }

    /// Takes down what the author wanted.
    pub fn take_down(&self, author: &Author) {
        self.0.wishes.lock().remove(author);
    }

    /// What is wanted at `now`, by author.
    pub fn in_force(&self, now: Timestamp) -> Vec<(Author, Wish)> {
        let mut wishes = self.0.wishes.lock();
        wishes.retain(|_, wish| wish.until > now);
        let all = wishes.iter();
        all.map(|(author, wish)| (author.clone(), wish.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(name: &str) -> Author {
        Author {
            kind: "hpa",
            object: ObjectKey::new("default", name),
        }
    }

    fn wish(replicas: usize, until: i64) -> Wish {
        Wish {
            target: Target {
                group: "apps".into(),
                kind: "Deployment".into(),
                object: ObjectKey::new("default", "web"),
            },
            replicas,
            until: at(until),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_wish_holds_until_it_is_taken_down_or_nobody_looked_again() {
        let wishes = Wishes::default();
        let _reader = wishes.read();
        wishes.put_up(author("a"), wish(40, 25), at(10));
        wishes.put_up(author("b"), wish(3, 30), at(10));
        assert_eq!(wishes.in_force(at(24)).len(), 2);
        wishes.take_down(&author("b"));
        let left = wishes.in_force(at(24));
        assert_eq!(left, [(author("a"), wish(40, 25))]);
        assert_eq!(left[0].0.to_string(), "hpa/a");
        assert_eq!(wishes.in_force(at(25)), []);
    }

    #[test]
    fn only_wishes_for_more_are_news() {
        let wishes = Wishes::default();
        let mut reader = wishes.read();
        let mut is_news = |replicas, until, now| {
            wishes.put_up(author("a"), wish(replicas, until), at(now));
            let news = reader.has_changed().unwrap();
            reader.mark_unchanged();
            news
        };
        assert!(is_news(40, 25, 10), "the first");
        assert!(!is_news(40, 26, 11), "the same again");
        assert!(!is_news(30, 27, 12), "fewer");
        assert!(is_news(31, 28, 13), "more");
        assert!(is_news(31, 90, 60), "the former had run out");
    }

    #[test]
    fn nothing_is_kept_while_nobody_reads() {
        let wishes = Wishes::default();
        wishes.put_up(author("a"), wish(40, 25), at(10));
        let reader = wishes.read();
        assert_eq!(wishes.in_force(at(11)), []);
        drop(reader);
        assert!(!wishes.are_read());
    }
}
