//! Who gets which place.

use super::*;
use proptest::prelude::*;

fn name(service: u8) -> ServiceName {
    ("default".to_owned(), format!("s{service}"))
}

fn spot(port: u16) -> Spot {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    (Place::Host(at), Protocol::Tcp)
}

fn goals(service: u8, ports: &[u16]) -> BTreeMap<Spot, Goal> {
    let goal = |port: &u16| (spot(*port), Goal::Health(name(service)));
    ports.iter().map(goal).collect()
}

#[test]
fn a_taken_place_falls_to_the_next_when_it_is_left() {
    let mut claims = Claims::default();
    assert_eq!(
        claims.set(&name(2), goals(2, &[1])),
        [(spot(1), Some(Goal::Health(name(2))))]
    );
    // The first by name comes too late.
    assert_eq!(
        claims.set(&name(1), goals(1, &[1])),
        [(spot(1), Some(Goal::Health(name(2))))]
    );
    assert_eq!(
        claims.set(&name(2), goals(2, &[])),
        [(spot(1), Some(Goal::Health(name(1))))]
    );
    assert_eq!(claims.set(&name(1), goals(1, &[])), [(spot(1), None)]);
    assert!(claims.holders.is_empty() && claims.by_spot.is_empty() && claims.by_service.is_empty());
}

proptest! {
    /// Told changes add up to: every wanted place has one holder who wants it, and nobody loses a
    /// place that they want.
    #[test]
    fn places_are_shared_out(
        steps in prop::collection::vec(
            (0_u8..4, prop::collection::btree_set(0_u16..4, 0..4)), 1..40),
    ) {
        let mut claims = Claims::default();
        let mut wants: BTreeMap<u8, BTreeSet<u16>> = BTreeMap::new();
        let mut open: BTreeMap<Spot, Goal> = BTreeMap::new();
        for (service, ports) in steps {
            let list: Vec<u16> = ports.iter().copied().collect();
            wants.insert(service, ports);
            let before = open.clone();
            for (spot, goal) in claims.set(&name(service), goals(service, &list)) {
                match goal {
                    Some(goal) => drop(open.insert(spot, goal)),
                    None => drop(open.remove(&spot)),
                }
            }
            let wanted = |goal: &Goal, at: &Spot| wants.iter().any(|(service, ports)| {
                *goal == Goal::Health(name(*service)) && ports.iter().any(|p| spot(*p) == *at)
            });
            let all: BTreeSet<Spot> = wants.values().flatten().map(|p| spot(*p)).collect();
            prop_assert_eq!(open.keys().copied().collect::<BTreeSet<_>>(), all);
            prop_assert!(open.iter().all(|(at, goal)| wanted(goal, at)));
            for (at, goal) in before {
                prop_assert!(!wanted(&goal, &at) || open.get(&at) == Some(&goal));
            }
        }
    }
}
