//! What machines a group makes, asked of AWS as seldom as possible and without insisting: the
//! permissions to ask are optional.

use super::api::Api;
use super::model::{Launch, LaunchFacts, Managed, ScalingGroup, Shape, TemplateRef, Units};
use super::tags;
use super::template::{at_least, known, worst};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use plimsoll_clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer, or a refusal for want of permission, is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(20);
/// How long what EKS says is remembered (upstream: as long).
const MANAGED: SignedDuration = SignedDuration::from_mins(6);
/// How long it is remembered that a question failed.
const FAILED: SignedDuration = SignedDuration::from_mins(1);
/// How long EKS may take, all attempts together: shapes wait for it, and are known without it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long EKS is not asked after it could not be reached: in private networks without an endpoint
/// of it, it never can.
const UNREACHED: SignedDuration = SignedDuration::from_mins(6);

/// Answers, until when they hold.
type Answers<T> = Mutex<BTreeMap<String, (Option<T>, Timestamp)>>;

/// What AWS answered: nothing too.
struct Known<T>(Option<T>);

/// What is asked.
struct Question {
    /// The permission it takes.
    right: &'static str,
    /// How long an answer holds.
    hold: SignedDuration,
    /// What follows if it may not be asked.
    without: &'static str,
}

impl Question {
    /// About machine types.
    const fn of_type(right: &'static str) -> Self {
        Self {
            right,
            hold: REMEMBERED,
            without: "node groups without nodes are known by their tags and by the types of earlier nodes only \
                      (tag k8s.io/cluster-autoscaler/node-template/label/node.kubernetes.io/instance-type tells the type)",
        }
    }

    /// About a managed node group of EKS.
    const fn of_eks() -> Self {
        Self {
            right: "eks:DescribeNodegroup",
            hold: MANAGED,
            without: "labels and taints of managed node groups without nodes are known by tags of their Auto Scaling \
                      groups only (k8s.io/cluster-autoscaler/node-template/label/… and …/taint/…)",
        }
    }
}

/// What is remembered of machine types.
#[derive(Debug)]
pub(super) struct Launches {
    api: Arc<dyn Api>,
    clock: Clock,
    static_types: bool,
    facts: Answers<LaunchFacts>,
    shapes: Answers<Shape>,
    managed: Answers<Managed>,
    /// Until when EKS is not asked.
    eks_rests: Mutex<Option<Timestamp>>,
    /// Types that machines of a group were last seen to have.
    seen: Mutex<BTreeMap<Arc<str>, BTreeSet<Arc<str>>>>,
    /// Permissions that are lacking, each said once.
    said: Mutex<BTreeSet<&'static str>>,
}

impl Launches {
    pub(super) fn new(api: Arc<dyn Api>, clock: Clock, static_types: bool) -> Self {
        Self {
            api,
            clock,
            static_types,
            facts: Mutex::default(),
            shapes: Mutex::default(),
            managed: Mutex::default(),
            eks_rests: Mutex::default(),
            seen: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// Notes the types of a group's machines, for the time when it has none.
    pub(super) fn see(&self, group: &ScalingGroup) {
        let active = group
            .machines
            .iter()
            .filter(|machine| machine.phase.is_active());
        let kinds: BTreeSet<Arc<str>> = active.filter_map(|machine| machine.kind.clone()).collect();
        if !kinds.is_empty() {
            self.seen.lock().insert(Arc::clone(&group.name), kinds);
        }
    }

    /// What EKS says of a group that it manages.
    pub(super) async fn managed(&self, group: &ScalingGroup) -> Option<Managed> {
        let name = group.tags.get("eks:nodegroup-name")?;
        let cluster = group.tags.get("eks:cluster-name")?;
        let key = format!("{cluster}/{name}");
        if let Some(answer) = remembered(&self.managed, &key, self.clock.now()) {
            return answer.0;
        }
        let now = self.clock.now();
        if self.eks_rests.lock().is_some_and(|until| now < until) {
            // What was known before is better than nothing.
            return last_known(&self.managed, &key);
        }
        // Whoever asks may lose patience first: what is not answered is noted all the same.
        let mut unanswered = Unanswered {
            launches: self,
            lets_be: true,
        };
        let asked = tokio::time::timeout(PATIENCE, self.api.managed(cluster, name)).await;
        let answer = asked.unwrap_or_else(|_| Err(late(cluster, name)));
        let unreached = |error: &ProviderError| error.class == ErrorClass::Unreachable;
        unanswered.lets_be = answer.as_ref().is_err_and(unreached);
        drop(unanswered);
        self.remember(&self.managed, &key, answer, &Question::of_eks())
    }

    /// What a new machine of the group has at least; `None` where nobody tells.
    pub(super) async fn shape(
        &self,
        group: &ScalingGroup,
        managed: Option<&Managed>,
    ) -> Option<Shape> {
        let shape = self.own_shape(group, managed).await?;
        let Some(managed) = managed else {
            return Some(shape);
        };
        Some(Shape {
            disk_gib: shape.disk_gib.or(managed.disk_gib),
            arch: managed.arch.map(Arc::from).or(shape.arch),
            ..shape
        })
    }

    async fn own_shape(&self, group: &ScalingGroup, managed: Option<&Managed>) -> Option<Shape> {
        match &group.launch {
            Launch::Types(kinds) => return self.worst_of(kinds, &group.units).await,
            Launch::Requirements {
                vcpus,
                memory_mib,
                accelerators,
            } => {
                return Some(at_least(*vcpus, *memory_mib, *accelerators));
            }
            Launch::Template(_) | Launch::Configuration(_) | Launch::Unknown => {}
        }
        let labels = tags::labels(&group.tags);
        if let Some(kind) = labels.get("node.kubernetes.io/instance-type") {
            return self.worst_of(&[kind.as_str().into()], &group.units).await;
        }
        let facts = self.launch_facts(&group.launch).await.unwrap_or_default();
        let disk_gib = facts.disk_gib;
        let shape = if let Some(kind) = facts.kind {
            self.worst_of(&[kind], &group.units).await
        } else if let Some((vcpus, memory_mib)) = facts.requirements {
            Some(at_least(vcpus, memory_mib, 0))
        } else if let Some(managed) = managed.filter(|managed| !managed.kinds.is_empty()) {
            self.worst_of(&managed.kinds, &group.units).await
        } else {
            self.seen_shape(group).await
        };
        shape.map(|shape| Shape { disk_gib, ..shape })
    }

    async fn seen_shape(&self, group: &ScalingGroup) -> Option<Shape> {
        let kinds = self.seen.lock().get(&group.name).cloned();
        let kinds: Vec<Arc<str>> = kinds?.into_iter().collect();
        self.worst_of(&kinds, &group.units).await
    }

    /// The worst of these types; types that nobody knows are left out. Prices are those of the
    /// capacity that the least of them brings.
    async fn worst_of(&self, kinds: &[Arc<str>], units: &Units) -> Option<Shape> {
        let mut shapes = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let shape = match known(kind) {
                Some(shape) => Some(shape),
                None => self.asked_shape(kind).await,
            };
            let part = share(kind, units);
            shapes.extend(shape.map(|shape| Shape {
                price_per_hour: shape.price_per_hour.map(|price| price * part),
                ..shape
            }));
        }
        worst(shapes)
    }

    /// What AWS says of a type.
    pub(super) async fn asked_shape(&self, kind: &str) -> Option<Shape> {
        if self.static_types {
            return None;
        }
        if let Some(answer) = remembered(&self.shapes, kind, self.clock.now()) {
            return answer.0;
        }
        let answer = self.api.instance_type(kind).await;
        let question = Question::of_type("ec2:DescribeInstanceTypes");
        self.remember(&self.shapes, kind, answer, &question)
    }

    async fn launch_facts(&self, launch: &Launch) -> Option<LaunchFacts> {
        let (key, right) = match launch {
            Launch::Template(TemplateRef { id, name, version }) => (
                format!("template {id} {name} {version}"),
                "ec2:DescribeLaunchTemplateVersions",
            ),
            Launch::Configuration(name) => (
                format!("configuration {name}"),
                "autoscaling:DescribeLaunchConfigurations",
            ),
            Launch::Types(_) | Launch::Requirements { .. } | Launch::Unknown => return None,
        };
        if let Some(answer) = remembered(&self.facts, &key, self.clock.now()) {
            return answer.0;
        }
        let answer = match launch {
            Launch::Template(template) => self.api.launch_template(template).await,
            Launch::Configuration(name) => self.api.launch_configuration(name).await,
            Launch::Types(_) | Launch::Requirements { .. } | Launch::Unknown => Ok(None),
        };
        self.remember(&self.facts, &key, answer, &Question::of_type(right))
    }

    fn remember<T: Clone>(
        &self,
        answers: &Answers<T>,
        key: &str,
        answer: Result<Option<T>, ProviderError>,
        question: &Question,
    ) -> Option<T> {
        let (answer, hold) = match answer {
            Ok(answer) => (answer, question.hold),
            Err(error) if error.class == ErrorClass::Forbidden => {
                self.say_once(question, &error);
                (None, REMEMBERED)
            }
            Err(error) => {
                tracing::warn!(%error, "what new nodes will be stays unknown for now");
                // What was known before is better than nothing.
                (last_known(answers, key), FAILED)
            }
        };
        let now = self.clock.now();
        let until = now.checked_add(hold).unwrap_or(now);
        answers
            .lock()
            .insert(key.to_owned(), (answer.clone(), until));
        answer
    }

    fn say_once(&self, question: &Question, error: &ProviderError) {
        let Question { right, without, .. } = question;
        if self.said.lock().insert(right) {
            tracing::warn!(%error, "{right} is not permitted: {without}");
        }
    }
}

/// A question to EKS. Dropped without an answer, it lets EKS be for a while.
struct Unanswered<'a> {
    launches: &'a Launches,
    lets_be: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.lets_be {
            let until = self.launches.clock.now().checked_add(UNREACHED);
            *self.launches.eks_rests.lock() = until.ok();
        }
    }
}

fn late(cluster: &str, name: &str) -> ProviderError {
    let message = format!(
        "describing EKS node group {name} of {cluster}: no answer within {} s",
        PATIENCE.as_secs()
    );
    ProviderError::new(ErrorClass::Unreachable, message)
}

/// Which part of a machine of a type is as much as a machine of the least weight.
fn share(kind: &str, units: &Units) -> f64 {
    let Units::Weights { least, of, .. } = units else {
        return 1.0;
    };
    let parts = |units: usize| u32::try_from(units).map_or(f64::MAX, f64::from);
    let weight = of.get(kind).filter(|weight| **weight > 0);
    weight.map_or(1.0, |weight| parts(*least) / parts(*weight))
}

/// What was answered last, however long ago.
fn last_known<T: Clone>(answers: &Answers<T>, key: &str) -> Option<T> {
    answers.lock().get(key).and_then(|(known, _)| known.clone())
}

/// What is known without asking; `None` where it has to be asked.
fn remembered<T: Clone>(answers: &Answers<T>, key: &str, now: Timestamp) -> Option<Known<T>> {
    let answers = answers.lock();
    let (answer, until) = answers.get(key)?;
    (now < *until).then(|| Known(answer.clone()))
}

#[cfg(test)]
mod tests {
    use super::Launches;
    use crate::nodes::aws::fake::{Fake, group, machine};
    use crate::nodes::aws::model::{
        Launch, LaunchFacts, Managed, Phase, ScalingGroup, Shape, TemplateRef, Units,
    };
    use crate::nodes::aws::template::at_least;
    use plimsoll_api::nodegroup::ErrorClass;
    use plimsoll_clock::Clock;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{Instant, advance, timeout};

    fn launches(fake: &Arc<Fake>) -> Launches {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        Launches::new(Arc::clone(fake) as _, clock, false)
    }

    fn workers() -> ScalingGroup {
        let (id, name, version) = ("lt-1".to_owned(), String::new(), "1".to_owned());
        ScalingGroup {
            launch: Launch::Template(TemplateRef { id, name, version }),
            machines: vec![machine("i-1", Phase::Serving)],
            ..group("workers", 1)
        }
    }

    async fn vcpus(launches: &Launches) -> Option<u32> {
        Some(launches.shape(&workers(), None).await?.vcpus)
    }

    fn makes(fake: &Fake, kind: &str) {
        let facts = LaunchFacts {
            kind: Some(kind.into()),
            disk_gib: Some(80),
            ..LaunchFacts::default()
        };
        fake.change(|inside| inside.template = Some(facts));
    }

    #[tokio::test(start_paused = true)]
    async fn a_launch_template_is_asked_for_every_twenty_minutes() {
        let fake = Fake::with(Vec::new());
        makes(&fake, "m5.xlarge");
        let launches = launches(&fake);
        let shape = launches.shape(&workers(), None).await.unwrap();
        assert_eq!((shape.vcpus, shape.disk_gib), (4, Some(80)));
        makes(&fake, "m5.2xlarge");
        advance(Duration::from_secs(1199)).await;
        assert_eq!(vcpus(&launches).await, Some(4));
        advance(Duration::from_secs(1)).await;
        assert_eq!(vcpus(&launches).await, Some(8));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_outlives_a_failure_of_the_service() {
        let fake = Fake::with(Vec::new());
        makes(&fake, "m5.xlarge");
        let launches = launches(&fake);
        assert_eq!(vcpus(&launches).await, Some(4));
        fake.change(|inside| {
            inside
                .failing
                .insert("launch_template", ErrorClass::Throttled)
        });
        advance(Duration::from_secs(1200)).await;
        assert_eq!(vcpus(&launches).await, Some(4));
    }

    #[tokio::test(start_paused = true)]
    async fn without_rights_the_types_of_earlier_machines_tell() {
        let fake = Fake::with(Vec::new());
        fake.change(|inside| {
            inside
                .failing
                .insert("launch_template", ErrorClass::Forbidden)
        });
        let launches = launches(&fake);
        assert_eq!(vcpus(&launches).await, None);
        launches.see(&workers());
        let empty = ScalingGroup {
            machines: Vec::new(),
            ..workers()
        };
        launches.see(&empty);
        assert_eq!(
            launches.shape(&empty, None).await.unwrap().kind.as_deref(),
            Some("t3.medium")
        );
        assert_eq!(
            fake.calls(),
            ["launch_template lt-1"],
            "a refusal is remembered"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn types_the_table_lacks_are_asked_for() {
        let fake = Fake::with(Vec::new());
        let shape = Shape {
            kind: Some("x9.huge".into()),
            ..at_least(512, 4096, 0)
        };
        fake.change(|inside| inside.shapes.insert("x9.huge".to_owned(), shape.clone()));
        let launches = launches(&fake);
        let types = Launch::Types(vec!["x9.huge".into()]);
        let huge = ScalingGroup {
            launch: types,
            ..workers()
        };
        assert_eq!(launches.shape(&huge, None).await, Some(shape));
        launches.shape(&huge, None).await;
        assert_eq!(fake.calls(), ["instance_type x9.huge"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_label_of_the_tags_tells_the_type() {
        let fake = Fake::with(Vec::new());
        let tag = "k8s.io/cluster-autoscaler/node-template/label/node.kubernetes.io/instance-type";
        let tags = [(tag.to_owned(), "c5.large".to_owned())].into();
        let tagged = ScalingGroup { tags, ..workers() };
        let shape = launches(&fake).shape(&tagged, None).await.unwrap();
        assert_eq!(shape.kind.as_deref(), Some("c5.large"));
        assert!(fake.calls().is_empty());
    }

    fn managed_by_eks() -> ScalingGroup {
        let tags = [("eks:cluster-name", "lab"), ("eks:nodegroup-name", "ng")];
        ScalingGroup {
            tags: tags
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..workers()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn eks_is_asked_every_six_minutes_of_what_it_manages() {
        let fake = Fake::with(Vec::new());
        let managed = Managed {
            kinds: vec!["m5.xlarge".into()],
            disk_gib: Some(20),
            arch: Some("arm64"),
            ..Managed::default()
        };
        fake.change(|inside| inside.managed.insert("ng".to_owned(), managed.clone()));
        let launches = launches(&fake);
        assert_eq!(launches.managed(&workers()).await, None);
        assert!(fake.calls().is_empty(), "others are not asked for");
        let found = launches.managed(&managed_by_eks()).await;
        assert_eq!(found, Some(managed));
        let shape = launches.shape(&managed_by_eks(), found.as_ref()).await;
        let shape = shape.unwrap();
        assert_eq!((shape.vcpus, shape.disk_gib), (4, Some(20)));
        assert_eq!(shape.arch.as_deref(), Some("arm64"));
        fake.calls();
        advance(Duration::from_secs(359)).await;
        launches.managed(&managed_by_eks()).await;
        assert!(fake.calls().is_empty());
        advance(Duration::from_secs(1)).await;
        launches.managed(&managed_by_eks()).await;
        assert_eq!(fake.calls(), ["managed lab ng"]);
    }

    #[tokio::test(start_paused = true)]
    async fn eks_out_of_reach_holds_nobody_up() {
        let fake = Fake::with(Vec::new());
        fake.change(|inside| inside.hanging.insert("managed"));
        let launches = launches(&fake);
        let begun = Instant::now();
        assert_eq!(launches.managed(&managed_by_eks()).await, None);
        let other = ScalingGroup {
            tags: managed_by_eks()
                .tags
                .into_iter()
                .chain([("eks:nodegroup-name".to_owned(), "other".to_owned())])
                .collect(),
            ..managed_by_eks()
        };
        assert_eq!(launches.managed(&other).await, None);
        assert!(begun.elapsed() <= Duration::from_secs(2));
        assert_eq!(fake.calls(), ["managed lab ng"], "the service is let be");
        advance(Duration::from_secs(360)).await;
        // Who asks loses patience.
        let asked = timeout(Duration::from_millis(10), launches.managed(&other)).await;
        asked.unwrap_err();
        launches.managed(&managed_by_eks()).await;
        assert_eq!(fake.calls(), ["managed lab other"]);
        fake.change(|inside| inside.hanging.clear());
        advance(Duration::from_secs(360)).await;
        launches.managed(&managed_by_eks()).await;
        launches.managed(&other).await;
        assert_eq!(fake.calls(), ["managed lab ng", "managed lab other"]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_right_eks_is_let_be_for_twenty_minutes() {
        let fake = Fake::with(Vec::new());
        fake.change(|inside| inside.failing.insert("managed", ErrorClass::Forbidden));
        let launches = launches(&fake);
        for _ in 0..3 {
            assert_eq!(launches.managed(&managed_by_eks()).await, None);
            advance(Duration::from_secs(360)).await;
        }
        assert_eq!(fake.calls(), ["managed lab ng"]);
    }

    #[tokio::test(start_paused = true)]
    async fn prices_are_those_of_the_least_weight() {
        let fake = Fake::with(Vec::new());
        let kinds: Vec<Arc<str>> = vec!["m5.large".into(), "m5.4xlarge".into()];
        let weights = kinds.iter().map(Arc::clone).zip([2, 16]).collect();
        let weighted = ScalingGroup {
            launch: Launch::Types(kinds),
            units: Units::Weights {
                least: 2,
                of: weights,
                uneven: true,
            },
            ..workers()
        };
        let shape = launches(&fake).shape(&weighted, None).await.unwrap();
        assert_eq!((shape.vcpus, shape.price_per_hour), (2, Some(0.096)));
    }
}
