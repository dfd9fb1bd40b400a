//! Opens and closes listeners as Services change.

use super::claims::{self, Claims, Spot};
use super::route::Route;
use super::{Goal, Place, Protocol, Shared, forward};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs until it is dropped; listeners end with `stop`.
pub(super) async fn follow(shared: Arc<Shared>, stop: CancellationToken) {
    let mut listeners = Listeners {
        shared: Arc::clone(&shared),
        stop,
        claims: Claims::default(),
        running: BTreeMap::new(),
    };
    for (from, to) in &shared.config.fixed {
        let spot = (Place::Cluster(*from), Protocol::Tcp);
        listeners.settle(spot, Some(Goal::Host(*to)));
    }
    let mut changes = shared.config.services.changes();
    loop {
        let services = changes.next().await;
        listeners.update(&services);
    }
}

struct Listeners {
    shared: Arc<Shared>,
    stop: CancellationToken,
    claims: Claims,
    running: BTreeMap<Spot, (Goal, CancellationToken)>,
}

impl Listeners {
    fn update(&mut self, services: &BTreeSet<super::ServiceName>) {
        for service in services {
            let config = &self.shared.config;
            let wanted = config
                .services
                .read(|table| claims::of_service(config, table, service));
            for (spot, goal) in self.claims.set(service, wanted) {
                self.settle(spot, goal);
            }
        }
    }

    /// Makes a place lead to a goal, or nowhere.
    fn settle(&mut self, spot: Spot, goal: Option<Goal>) {
        let running = self.running.get(&spot).map(|(goal, _)| goal);
        if running == goal.as_ref() {
            return;
        }
        if let Some((_, stop)) = self.running.remove(&spot) {
            stop.cancel();
        }
        let Some(goal) = goal else { return };
        let stop = self.stop.child_token();
        let (place, protocol) = spot;
        let route = Route::new(&self.shared, place, protocol, goal.clone());
        tokio::spawn(forward::serve(Arc::new(route), stop.clone()));
        self.running.insert(spot, (goal, stop));
    }
}
