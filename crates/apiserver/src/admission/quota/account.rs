//! The account of one namespace: what its objects use, what writes in flight have been promised.

use super::rule::Rule;
use plimsoll_api::resources::{Amounts, add};
use plimsoll_quantity::Quantity;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Storage name of a resource, and an object's name.
pub(super) type Item = (Arc<str>, Arc<str>);

/// Usage by the name of the quota that bounds it.
pub(super) type ByQuota = BTreeMap<String, Amounts>;

/// A quota that a write would pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    pub(super) quota: String,
    /// What the write asks for in addition, what is used, what is allowed: of the exceeded names.
    pub(super) requested: Amounts,
    pub(super) used: Amounts,
    pub(super) limited: Amounts,
}

#[derive(Debug)]
struct Promise {
    item: Item,
    usage: ByQuota,
}

/// What a namespace uses.
///
/// An object's usage is what the store says; a write in flight is promised what it will need. A
/// promise counts for as much as it goes beyond the stored object, so it makes no difference
/// whether a write's event or the end of its request is noticed first.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) rules: Vec<Arc<Rule>>,
    objects: BTreeMap<Item, ByQuota>,
    used: ByQuota,
    promises: BTreeMap<u64, Promise>,
    next: u64,
}

impl Account {
    /// An empty account under these quotas.
    pub(super) fn new(rules: Vec<Arc<Rule>>) -> Self {
        Self {
            rules,
            objects: BTreeMap::new(),
            used: ByQuota::new(),
            promises: BTreeMap::new(),
            next: 0,
        }
    }

    /// Takes over the promises of the account that this one replaces.
    pub(super) fn keep_promises(&mut self, old: Self) {
        self.promises = old.promises;
        self.next = old.next;
    }

    /// Notes what a stored object uses now; nothing if it is gone. Whether anything changed.
    pub(super) fn record(&mut self, item: Item, usage: Option<ByQuota>) -> bool {
        let now = usage.unwrap_or_default();
        let before = self.objects.get(&item);
        if before.map_or(now.is_empty(), |before| *before == now) {
            return false;
        }
        for (quota, amounts) in &now {
            add(self.used.entry(quota.clone()).or_default(), amounts);
        }
        let before = if now.is_empty() {
            self.objects.remove(&item)
        } else {
            self.objects.insert(item, now)
        };
        for (quota, amounts) in before.unwrap_or_default() {
            let used = self.used.entry(quota).or_default();
            for (name, amount) in amounts {
                let entry = used.entry(name).or_default();
                *entry = entry.sub(amount);
            }
        }
        true
    }

    /// What stored objects use of a quota.
    pub(super) fn used(&self, quota: &str) -> Amounts {
        self.used.get(quota).cloned().unwrap_or_default()
    }

    /// Promises a write what it needs, unless a quota would be exceeded. Answers the promise's
    /// number for [`Account::release`].
    pub(super) fn promise(&mut self, item: Item, usage: ByQuota) -> Result<u64, Exceeded> {
        for rule in &self.rules {
            if let Some(wanted) = usage.get(&rule.name) {
                self.check(rule, &item, wanted)?;
            }
        }
        let number = self.next;
        self.next += 1;
        self.promises.insert(number, Promise { item, usage });
        Ok(number)
    }

    /// Ends a promise: the write happened, or it will not.
    pub(super) fn release(&mut self, number: u64) {
        self.promises.remove(&number);
    }

    fn check(&self, rule: &Rule, item: &Item, wanted: &Amounts) -> Result<(), Exceeded> {
        let mut exceeded = Exceeded {
            quota: rule.name.clone(),
            requested: Amounts::new(),
            used: Amounts::new(),
            limited: Amounts::new(),
        };
        for (name, amount) in wanted {
            let Some(limit) = rule.hard.get(name) else {
                continue;
            };
            let more = amount.sub(self.stored(item, &rule.name, name));
            let used = self.taken(&rule.name, name);
            // Parity: a write that asks for nothing more passes, even where too much is used.
            if more > Quantity::ZERO && used.add(more) > *limit {
                exceeded.requested.insert(name.clone(), more);
                exceeded.used.insert(name.clone(), used);
                exceeded.limited.insert(name.clone(), *limit);
            }
        }
        if exceeded.requested.is_empty() {
            Ok(())
        } else {
            Err(exceeded)
        }
    }

    /// What one stored object uses.
    fn stored(&self, item: &Item, quota: &str, name: &str) -> Quantity {
        let object = self.objects.get(item).and_then(|usage| usage.get(quota));
        object
            .and_then(|usage| usage.get(name))
            .copied()
            .unwrap_or_default()
    }

    /// What is used and promised.
    fn taken(&self, quota: &str, name: &str) -> Quantity {
        let stored = self.used.get(quota).and_then(|used| used.get(name));
        let beyond = self.promises.values().filter_map(|promise| {
            let promised = promise.usage.get(quota)?.get(name)?;
            let more = promised.sub(self.stored(&promise.item, quota, name));
            (more > Quantity::ZERO).then_some(more)
        });
        beyond.fold(stored.copied().unwrap_or_default(), Quantity::add)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::Stored;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn account(pods: i64) -> Account {
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": pods}}});
        Account::new(vec![Stored::parse(&quota).rule])
    }

    fn item(number: u8) -> Item {
        ("pods".into(), format!("p{number}").into())
    }

    fn pods(count: i64) -> ByQuota {
        let amounts = Amounts::from([("pods".to_owned(), Quantity::from_value(count))]);
        ByQuota::from([("q".to_owned(), amounts)])
    }

    #[test]
    fn it_does_not_matter_whether_the_event_or_the_release_comes_first() {
        let mut account = account(2);
        let first = account.promise(item(1), pods(1)).unwrap();
        account.record(item(1), Some(pods(1)));
        let second = account.promise(item(2), pods(1)).unwrap();
        account.release(first);
        let refused = account.promise(item(3), pods(1)).unwrap_err();
        assert_eq!(refused.used["pods"], Quantity::from_value(2));
        account.release(second);
        account.promise(item(3), pods(1)).unwrap();
    }

    #[test]
    fn growth_is_charged_and_shrinking_is_not() {
        let mut account = account(3);
        account.record(item(1), Some(pods(3)));
        assert!(account.promise(item(1), pods(4)).is_err());
        account.promise(item(1), pods(2)).unwrap();
        account.promise(item(1), pods(3)).unwrap();
    }

    /// One step of a random history.
    #[derive(Debug, Clone)]
    enum Step {
        Ask(u8, i64),
        /// The oldest promise's write happens.
        Write,
        /// The oldest promise's write fails.
        Fail,
        /// An object goes.
        Delete(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..6_u8, 1..4_i64).prop_map(|(n, c)| Step::Ask(n, c)),
            3 => Just(Step::Write),
            1 => Just(Step::Fail),
            1 => (0..6_u8).prop_map(Step::Delete),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn what_is_stored_never_exceeds_the_quota(steps in steps(), hard in 1..8_i64) {
            let mut account = account(hard);
            let mut stored: BTreeMap<Item, i64> = BTreeMap::new();
            let mut waiting: Vec<(u64, Item, i64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Ask(number, count) => {
                        if let Ok(promise) = account.promise(item(number), pods(count)) {
                            waiting.push((promise, item(number), count));
                        }
                    }
                    Step::Write if !waiting.is_empty() => {
                        let (promise, item, count) = waiting.remove(0);
                        stored.insert(item.clone(), count);
                        account.record(item, Some(pods(count)));
                        account.release(promise);
                    }
                    Step::Fail if !waiting.is_empty() => account.release(waiting.remove(0).0),
                    Step::Delete(number) => {
                        stored.remove(&item(number));
                        account.record(item(number), None);
                    }
                    Step::Write | Step::Fail => {}
                }
                let total: i64 = stored.values().sum();
                prop_assert!(total <= hard, "{total} of {hard}");
                let used = account.used("q").get("pods").copied().unwrap_or_default();
                prop_assert_eq!(used, Quantity::from_value(total));
            }
        }
    }
}
