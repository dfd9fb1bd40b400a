//! What is to be done about each request in a look.

use super::status::{Said, Verdict};
use super::view::RequestView;
use super::{Awaited, Come, More, RequestCaches, Wanted, consumed};
use crate::nodes::held::unlabelled;
use crate::nodes::intended::imagine;
use crate::nodes::options::ProvisioningOptions;
use crate::nodes::work::Work;
use crate::runtime::{Cached, ObjectKey};
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::provisioning_request::{API_VERSION, KIND};
use plimsoll_engine::cluster::{
    BookedPod, PendingPod, PodSet, ProvisioningAsk, ProvisioningClass, ProvisioningParameters,
    RequestStage, left_over,
};
use plimsoll_engine::placement::PodFacts;
use serde_json::value::to_raw_value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a pod may be ahead of the request that it names.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);
/// How soon at least a request is looked at again whose time has nearly come.
const NEARLY: Duration = Duration::from_millis(100);

/// Most pods of one request that room is looked for, so that one does not take all memory and time:
/// its definition would let several times as many in.
const MOST_PODS: usize = 65_536;

/// Gathered from all requests.
#[derive(Default)]
struct Gathered {
    booked: Vec<BookedPod>,
    /// By age.
    due: BTreeMap<(Option<Timestamp>, ObjectKey), ProvisioningAsk>,
    /// When something is to be done next.
    wake: Option<Timestamp>,
}

impl Work {
    /// Sorts requests by what is to be done about them now.
    pub(in crate::nodes) fn requests(&mut self, now: Timestamp) -> Wanted {
        let known = self
            .options
            .provisioning
            .clone()
            .zip(self.own.requests.clone());
        let Some((options, own)) = known else {
            return Wanted::default();
        };
        if !own.templates.is_ready() {
            // What pods are like is not known yet; a template that is not there is another matter.
            return Wanted::default();
        }
        let state = &mut self.provisioning;
        state.verdicts.clear();
        state.forgotten.clear();
        state.awaited.clear();
        state.begun.clear();
        state.more = None;
        state
            .ordered
            .retain(|key, _| own.requests.get(key).is_some());
        let mut gathered = Gathered::default();
        for view in own.requests.list(None) {
            let spec = &view.spec;
            let class = ProvisioningClass::of(
                &spec.provisioning_class_name,
                &spec.parameters,
                &options.instance,
            );
            if let Some(class) = class.filter(|_| !view.meta.is_deleting()) {
                self.sort(&view, (class, &options, &own), now, &mut gathered);
            }
        }
        if let Some(wake) = gathered.wake {
            let delay = Duration::try_from(wake.duration_since(now));
            self.look_within(delay.unwrap_or_default().max(NEARLY));
        }
        let booked = gathered.booked;
        let asks = self.next(gathered.due, &options);
        Wanted { booked, asks }
    }

    fn sort(
        &mut self,
        view: &Arc<RequestView>,
        (class, options, own): (ProvisioningClass, &ProvisioningOptions, &RequestCaches),
        now: Timestamp,
        gathered: &mut Gathered,
    ) {
        let key = &view.meta.key;
        let parameters = ProvisioningParameters::of(class, &view.spec.parameters);
        let mut stage = view.state.stage(&options.times, parameters.valid_for, now);
        let mut wake = None;
        if let RequestStage::Waits { until } = stage {
            // Templates may come later than the request.
            let templates_came =
                view.reason("Provisioned") == "FailedToCreatePods" && Self::knows_all(view, own);
            if templates_came {
                stage = RequestStage::Due;
            } else {
                wake = Some(until);
            }
        }
        if stage == RequestStage::GivenUp && self.provisioning.ordered.contains_key(key) {
            // Its nodes are on their way.
            stage = RequestStage::Due;
        }
        let verdict = match stage {
            RequestStage::Due => {
                let ask = self.ask_of(view, class, own);
                self.due(view, ask, gathered)
            }
            RequestStage::Booked { until } => {
                wake = Some(until);
                self.booked(view, (class, own), &mut gathered.booked)
            }
            RequestStage::GivenUp => Some(Verdict::of(Said::given_up())),
            RequestStage::BookingOver => Some(Verdict::of(Said::over())),
            RequestStage::Forgotten => {
                let uid = Arc::clone(&view.meta.uid);
                self.provisioning.forgotten.push((key.clone(), uid));
                None
            }
            RequestStage::Waits { .. } | RequestStage::Ended => None,
        };
        if let Some(verdict) = verdict {
            self.provisioning.verdicts.insert(key.clone(), verdict);
        }
        gathered.wake = gathered.wake.into_iter().chain(wake).min();
    }

    /// Whether all templates are there.
    fn knows_all(view: &RequestView, own: &RequestCaches) -> bool {
        let namespace = view.meta.namespace();
        let mut sets = view.spec.pod_sets.iter();
        sets.all(|set| {
            let template = &set.pod_template_ref.name;
            own.templates.find(namespace, template).is_some()
        })
    }

    /// Room is to be looked for, unless nodes are on their way already.
    fn due(
        &mut self,
        view: &RequestView,
        ask: Result<ProvisioningAsk, String>,
        gathered: &mut Gathered,
    ) -> Option<Verdict> {
        let key = &view.meta.key;
        let ask = match ask {
            Ok(ask) => ask,
            Err(why) => return Some(Verdict::accepted(Said::unknown(&why))),
        };
        let pods = ask.count();
        if pods > MOST_PODS {
            let why = format!("it asks for {pods} pods, of {MOST_PODS} at most");
            return Some(Verdict::accepted(Said::missing(&why)));
        }
        let Some(ordered) = self.provisioning.ordered.get(key) else {
            let place = (view.meta.created, key.clone());
            gathered.due.insert(place, ask);
            return None;
        };
        let said = ordered.open.is_empty().then(|| Said::added(&ordered.taken));
        let all: Vec<usize> = ask.sets.iter().map(|set| set.count).collect();
        self.book(key, &ask, &all, &mut gathered.booked);
        said.map(Verdict::accepted)
    }

    /// Room is kept for pods that have not come.
    fn booked(
        &mut self,
        view: &RequestView,
        (class, own): (ProvisioningClass, &RequestCaches),
        booked: &mut Vec<BookedPod>,
    ) -> Option<Verdict> {
        let key = &view.meta.key;
        self.provisioning.ordered.remove(key);
        let mut ask = match self.ask_of(view, class, own) {
            Ok(ask) => ask,
            Err(why) => return Some(Verdict::of(Said::unbookable(&why))),
        };
        if let Some(some) = view.partial_sets() {
            // Several sets may be of one template: each name stands for one of them.
            let mut some = some.iter().peekable();
            for set in &mut ask.sets {
                if some.next_if(|name| ***name == *set.template).is_none() {
                    set.count = 0;
                }
            }
        }
        let Come { bound: came, wait } = own.come(view);
        if wait || !came.is_empty() {
            self.provisioning.begun.insert(key.clone(), wait);
        }
        let came: Vec<PodFacts> = came.iter().map(|pod| self.world.facts_of(pod)).collect();
        let requests: Vec<_> = came.iter().map(|pod| &pod.spec.requests).collect();
        let left = left_over(&ask.sets, &requests);
        if left.iter().all(|left| *left == 0) {
            return Some(Verdict::of(Said::consumed(ask.count())));
        }
        self.book(key, &ask, &left, booked);
        None
    }

    /// Books room for so many pods of each set.
    fn book(
        &mut self,
        key: &ObjectKey,
        ask: &ProvisioningAsk,
        counts: &[usize],
        booked: &mut Vec<BookedPod>,
    ) {
        let state = &mut self.provisioning;
        for (set, (count, of)) in counts.iter().zip(&ask.sets).enumerate() {
            let bare = unlabelled(&of.spec);
            for pod in ask.pods(set, *count) {
                let id = pod.key();
                let awaited = Awaited {
                    request: key.clone(),
                    pod: PodFacts {
                        spec: Arc::clone(&bare),
                        ..pod.clone()
                    },
                };
                let node = state.places.get(&id).cloned();
                state.awaited.insert(id, awaited);
                booked.push(BookedPod { pod, node });
            }
        }
    }

    /// What a request asks for, or why that is not known.
    fn ask_of(
        &mut self,
        view: &RequestView,
        class: ProvisioningClass,
        own: &RequestCaches,
    ) -> Result<ProvisioningAsk, String> {
        let namespace = view.meta.namespace();
        let mut sets = Vec::with_capacity(view.spec.pod_sets.len());
        for set in &view.spec.pod_sets {
            let name = &set.pod_template_ref.name;
            let found = own.templates.find(namespace, name);
            let found = found.ok_or_else(|| format!("there is no PodTemplate {name:?}"))?;
            let template =
                to_raw_value(&found.object.template).map_err(|error| error.to_string())?;
            let pod = imagine(&view.meta, (API_VERSION, KIND), &template)
                .ok_or_else(|| format!("PodTemplate {name:?} cannot be understood"))?;
            sets.push(PodSet {
                template: name.as_str().into(),
                spec: self.world.facts_of(&pod).spec,
                count: set.count,
            });
        }
        if sets.is_empty() {
            return Err("it has no pod sets".to_owned());
        }
        Ok(ProvisioningAsk {
            namespace: namespace.into(),
            name: view.meta.name().into(),
            class,
            partial: ProvisioningParameters::of(class, &view.spec.parameters).partial,
            sets,
        })
    }

    /// Those that are answered in this look: the oldest, as many to check capacity as a batch has,
    /// and one that may need nodes.
    fn next(
        &mut self,
        due: BTreeMap<(Option<Timestamp>, ObjectKey), ProvisioningAsk>,
        options: &ProvisioningOptions,
    ) -> Vec<ProvisioningAsk> {
        if self.options.observe_only {
            return Vec::new();
        }
        let (mut checks, mut additions) = (options.batch.max(1), 1_usize);
        let mut asks = Vec::new();
        for ask in due.into_values() {
            let left = match ask.class {
                ProvisioningClass::CheckCapacity => &mut checks,
                ProvisioningClass::BestEffortAtomicScaleUp => &mut additions,
            };
            if *left == 0 {
                self.provisioning.more = Some(More::Now);
                continue;
            }
            *left -= 1;
            asks.push(ask);
        }
        asks
    }

    /// Takes out pods that come for a request, as long as it has not ended: it is what nodes are
    /// added for. One that names a request which is not there waits a minute for it.
    ///
    /// Departs: upstream never adds nodes for such pods, so that they wait for ever when the room
    /// was not kept long enough.
    pub(in crate::nodes) fn set_aside(&mut self, pending: &mut Vec<PendingPod>, now: Timestamp) {
        let Some(own) = self.own.requests.clone() else {
            return;
        };
        let pods = self.context.caches.pods.clone();
        pending.retain_mut(|waiting| {
            let pod = pods.find(&waiting.pod.namespace, &waiting.pod.name);
            let Some((pod, request)) = pod.and_then(|pod| consumed(&pod).map(|key| (pod, key)))
            else {
                return true;
            };
            let Some(view) = own.requests.get(&request) else {
                let delay = waiting.scale_up_delay.unwrap_or_default();
                waiting.scale_up_delay = Some(delay.max(AHEAD));
                return true;
            };
            let is_over = view.state.ended.is_some() || view.meta().is_deleting();
            if !is_over {
                self.told.comes_for(&pod, &request, now);
            }
            is_over
        });
    }
}
