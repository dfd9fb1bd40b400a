//! Volumes that only one node, or one pod, may use at a time.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// How many may use a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Pods of any nodes.
    Free,
    /// Pods of one node.
    OneNode,
    /// One pod.
    OnePod,
}

impl Sharing {
    /// What a volume's access modes allow.
    pub(super) fn of(modes: &[String]) -> Self {
        let has = |wanted: &str| modes.iter().any(|mode| mode == wanted);
        if has("ReadWriteMany") || has("ReadOnlyMany") {
            Self::Free
        } else if has("ReadWriteOnce") {
            Self::OneNode
        } else if has("ReadWriteOncePod") {
            Self::OnePod
        } else {
            Self::Free
        }
    }
}

/// A pod that uses a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Uid.
    pub(crate) uid: String,
    /// Namespace and name.
    pub(crate) pod: (String, String),
    /// Its node.
    pub(crate) node: String,
}

/// Which pods of this machine use which volumes.
#[derive(Debug, Default)]
pub(crate) struct Attachments(Mutex<BTreeMap<String, Vec<User>>>);

impl Attachments {
    /// Counts a pod as a user of a volume, unless others keep it from being one.
    pub(super) fn attach(&self, volume: &str, sharing: Sharing, user: User) -> Result<(), String> {
        let mut all = self.0.lock();
        let users = all.entry(volume.to_owned()).or_default();
        let others = users.iter().filter(|other| other.uid != user.uid);
        let in_the_way: Vec<&User> = match sharing {
            Sharing::Free => Vec::new(),
            Sharing::OneNode => others.filter(|other| other.node != user.node).collect(),
            Sharing::OnePod => others.collect(),
        };
        if !in_the_way.is_empty() {
            return Err(refusal(volume, &user, &in_the_way));
        }
        if !users.iter().any(|known| known.uid == user.uid) {
            users.push(user);
        }
        Ok(())
    }

    /// Forgets a pod.
    pub(super) fn detach(&self, uid: &str) {
        self.0.lock().retain(|_, users| {
            users.retain(|user| user.uid != uid);
            !users.is_empty()
        });
    }
}

/// Names pods of the same namespace and counts the others, as upstream.
fn refusal(volume: &str, user: &User, others: &[&User]) -> String {
    let (own, foreign): (Vec<&User>, Vec<&User>) =
        others.iter().partition(|other| other.pod.0 == user.pod.0);
    let names: Vec<&str> = own.iter().map(|other| other.pod.1.as_str()).collect();
    let users = match (names.is_empty(), foreign.len()) {
        (false, 0) => format!("pod(s) {}", names.join(", ")),
        (false, more) => {
            let names = names.join(", ");
            format!("pod(s) {names} and {more} pod(s) in different namespaces")
        }
        (true, more) => format!("{more} pod(s) in different namespaces"),
    };
    format!("Multi-Attach error for volume {volume:?} Volume is already used by {users}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, namespace: &str, node: &str) -> User {
        User {
            uid: format!("{namespace}-{name}"),
            pod: (namespace.to_owned(), name.to_owned()),
            node: node.to_owned(),
        }
    }

    #[test]
    fn one_node_at_a_time_until_its_last_pod_goes() {
        let all = Attachments::default();
        let one = Sharing::OneNode;
        all.attach("v", one, user("a", "n", "1")).unwrap();
        all.attach("v", one, user("b", "n", "1")).unwrap();
        all.attach("v", one, user("a", "n", "1")).unwrap();
        let refused = all.attach("v", one, user("c", "n", "2")).unwrap_err();
        let want = "Multi-Attach error for volume \"v\" Volume is already used by pod(s) a, b";
        assert_eq!(refused, want);
        let refused = all.attach("v", one, user("c", "m", "2")).unwrap_err();
        assert!(
            refused.ends_with("used by 2 pod(s) in different namespaces"),
            "{refused}"
        );
        all.detach("n-a");
        assert!(all.attach("v", one, user("c", "n", "2")).is_err());
        all.detach("n-b");
        all.attach("v", one, user("c", "n", "2")).unwrap();
        all.attach("other", one, user("a", "n", "1")).unwrap();
    }

    #[test]
    fn one_pod_at_a_time_even_on_its_node() {
        let all = Attachments::default();
        all.attach("v", Sharing::OnePod, user("a", "n", "1"))
            .unwrap();
        assert!(
            all.attach("v", Sharing::OnePod, user("b", "n", "1"))
                .is_err()
        );
    }

    #[rstest::rstest]
    #[case(&["ReadWriteOnce"], Sharing::OneNode)]
    #[case(&["ReadWriteOnce", "ReadOnlyMany"], Sharing::Free)]
    #[case(&["ReadWriteOncePod"], Sharing::OnePod)]
    #[case(&["ReadWriteMany"], Sharing::Free)]
    fn modes_say_who_may_share(#[case] modes: &[&str], #[case] want: Sharing) {
        let modes: Vec<String> = modes.iter().map(ToString::to_string).collect();
        assert_eq!(Sharing::of(&modes), want);
    }
}
