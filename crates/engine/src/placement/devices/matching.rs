//! Which devices satisfy a selector: CEL over `device`, evaluated once for each list of devices.

use super::facts::{Attribute, DeviceFacts};
use plimsoll_cel::{
    Bindings, Budget, Decl, Env, Key, Map, Opaque, OpaqueType, PER_CALL, Program, Semver, Type,
    Value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// Lists of verdicts from which on those are forgotten whose devices nobody else knows any more, and
/// programs from which on those are that no kept verdict is of.
const KEPT: usize = 4096;

/// What selectors may name.
static ENV: LazyLock<Env> = LazyLock::new(|| {
    let by_domain = |ty: Type| Type::map(Decl::new(Type::map(Decl::new(ty))));
    let device = Type::record(
        "DRADevice",
        [
            ("driver", Type::String),
            ("allowMultipleAllocations", Type::Bool),
            ("attributes", by_domain(Type::Dyn)),
            ("capacity", by_domain(Type::Opaque(OpaqueType::Quantity))),
        ],
    );
    Env::new().with("device", Decl::new(device))
});

/// What a selector says of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    No,
    /// It cannot be evaluated, and why.
    Wrong(Arc<str>),
}

/// One verdict for each device of a list.
type Verdicts = Arc<[Verdict]>;

/// A list of devices, by where it is in memory, with a selector.
type ListKey = (usize, Arc<str>);
/// The list, which keeps its place as long as it is held here, and what was said of it.
type Judged = (Arc<[DeviceFacts]>, Verdicts);

/// Programs and verdicts, kept.
#[derive(Debug)]
pub(super) struct Matcher {
    programs: BTreeMap<Arc<str>, Result<Program, Arc<str>>>,
    verdicts: BTreeMap<ListKey, Judged>,
    /// How many verdicts, and how many programs, there may be before it is looked which are of use.
    limits: (usize, usize),
}

impl Default for Matcher {
    fn default() -> Self {
        Self {
            programs: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            limits: (KEPT, KEPT),
        }
    }
}

impl Matcher {
    /// What the selector says of each of a driver's devices.
    pub(super) fn verdicts(
        &mut self,
        selector: &Arc<str>,
        driver: &str,
        devices: &Arc<[DeviceFacts]>,
    ) -> Verdicts {
        let at = devices.as_ptr().addr();
        if let Some((_, known)) = self.verdicts.get(&(at, Arc::clone(selector))) {
            return Arc::clone(known);
        }
        self.sweep();
        let program = self
            .programs
            .entry(Arc::clone(selector))
            .or_insert_with(|| compile(selector));
        let each = devices.iter().map(|device| match &*program {
            Ok(program) => judge(program, selector, driver, device),
            Err(why) => Verdict::Wrong(Arc::clone(why)),
        });
        let verdicts: Verdicts = each.collect();
        // An empty list shares its address with others.
        if !devices.is_empty() {
            let kept = (Arc::clone(devices), Arc::clone(&verdicts));
            self.verdicts.insert((at, Arc::clone(selector)), kept);
        }
        verdicts
    }

    /// Forgets what is of no use where there is much. The limits grow with what is, so that looking
    /// stays rare.
    fn sweep(&mut self) {
        if self.verdicts.len() >= self.limits.0 {
            let mut own: BTreeMap<usize, usize> = BTreeMap::new();
            for (at, _) in self.verdicts.keys() {
                *own.entry(*at).or_default() += 1;
            }
            self.verdicts.retain(|(at, _), (devices, _)| {
                own.get(at)
                    .is_some_and(|own| Arc::strong_count(devices) > *own)
            });
            self.limits.0 = KEPT.max(self.verdicts.len().saturating_mul(2));
        }
        if self.programs.len() >= self.limits.1 {
            let used: BTreeSet<&Arc<str>> = self.verdicts.keys().map(|(_, of)| of).collect();
            self.programs.retain(|selector, _| used.contains(selector));
            self.limits.1 = KEPT.max(self.programs.len().saturating_mul(2));
        }
    }
}

fn compile(selector: &str) -> Result<Program, Arc<str>> {
    let program = Program::compile(selector, &ENV)
        .map_err(|error| Arc::from(format!("compilation failed: {error}")))?;
    if program.gives(&Type::Bool) {
        Ok(program)
    } else {
        Err("must evaluate to bool".into())
    }
}

fn judge(program: &Program, selector: &str, driver: &str, device: &DeviceFacts) -> Verdict {
    let bindings = Bindings::new().with("device", value(selector, driver, device));
    match program.holds(&bindings, &mut Budget::new(PER_CALL, PER_CALL)) {
        Ok(true) => Verdict::Yes,
        Ok(false) => Verdict::No,
        Err(error) => Verdict::Wrong(error.to_string().into()),
    }
}

/// The device as an expression sees it.
///
/// Parity: a domain of which the device has nothing is an empty map, so each text in the expression
/// counts as one.
fn value<'a>(selector: &str, driver: &str, device: &DeviceFacts) -> Value<'a> {
    let attributes = device.attributes.iter().map(|(name, attribute)| {
        let value = match attribute {
            Attribute::Int(number) => Value::Int(*number),
            Attribute::Bool(truth) => Value::Bool(*truth),
            Attribute::Text(text) => Value::text(Arc::clone(text)),
            Attribute::Version(text) => Semver::of(text).map_or(Value::Null, |version| {
                Value::Opaque(Opaque::Semver(Arc::new(version)))
            }),
        };
        (&name.domain, &name.name, value)
    });
    let capacity = device.capacity.iter().map(|(name, amount)| {
        let value = Value::Opaque(Opaque::Quantity(*amount));
        (&name.domain, &name.name, value)
    });
    let fields = [
        ("driver", Value::text(driver)),
        ("allowMultipleAllocations", Value::Bool(false)),
        ("attributes", by_domain(selector, attributes)),
        ("capacity", by_domain(selector, capacity)),
    ];
    let fields = fields.map(|(name, value)| (Key::Text(name.into()), value));
    let name = Some("DRADevice".into());
    Value::Map(Map::Entries(Arc::new(fields.into()), name))
}

fn by_domain<'a, 'n>(
    selector: &str,
    values: impl Iterator<Item = (&'n Arc<str>, &'n Arc<str>, Value<'a>)>,
) -> Value<'a> {
    let mut domains: BTreeMap<Key, BTreeMap<Key, Value<'a>>> = BTreeMap::new();
    for text in selector.split(['"', '\'']).skip(1).step_by(2) {
        domains.entry(Key::Text(text.into())).or_default();
    }
    for (domain, name, value) in values {
        let domain = domains.entry(Key::Text(Arc::clone(domain))).or_default();
        domain.insert(Key::Text(Arc::clone(name)), value);
    }
    let map = |entries| Value::Map(Map::Entries(Arc::new(entries), None));
    let domains = domains.into_iter();
    let domains: BTreeMap<Key, Value<'a>> = domains.map(|(key, of)| (key, map(of))).collect();
    map(domains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::devices::QualifiedName;
    use rstest::rstest;

    fn device() -> DeviceFacts {
        let name = |text: &str| QualifiedName::of(text, "gpu.example.com");
        DeviceFacts {
            name: "gpu-0".into(),
            attributes: [
                (name("model"), Attribute::Text("a100".into())),
                (name("index"), Attribute::Int(3)),
                (name("ecc"), Attribute::Bool(true)),
                (name("driverVersion"), Attribute::Version("1.2.3".into())),
                (name("pcie.org/root"), Attribute::Text("r0".into())),
            ]
            .into(),
            capacity: [(name("memory"), "40Gi".parse().unwrap())].into(),
            taints: Vec::new(),
        }
    }

    #[rstest]
    #[case::driver(r#"device.driver == "gpu.example.com""#, Verdict::Yes)]
    #[case::text(
        r#"device.attributes["gpu.example.com"].model == "a100""#,
        Verdict::Yes
    )]
    #[case::number(r#"device.attributes["gpu.example.com"].index > 3"#, Verdict::No)]
    #[case::truth(r#"device.attributes["gpu.example.com"].ecc"#, Verdict::Yes)]
    #[case::other_domain(r#"device.attributes["pcie.org"].root == "r0""#, Verdict::Yes)]
    #[case::version(
        r#"device.attributes["gpu.example.com"].driverVersion.isGreaterThan(semver("1.2.0"))"#,
        Verdict::Yes
    )]
    #[case::capacity(
        r#"device.capacity["gpu.example.com"].memory.compareTo(quantity("41Gi")) >= 0"#,
        Verdict::No
    )]
    #[case::unknown_domain_is_empty(r#""x" in device.attributes["none.org"]"#, Verdict::No)]
    #[case::missing(
        r#"device.attributes["none.org"].x == 1"#,
        Verdict::Wrong("no such key: x".into())
    )]
    #[case::no_truth("device.driver", Verdict::Wrong("must evaluate to bool".into()))]
    fn selectors_read_a_device(#[case] selector: &str, #[case] want: Verdict) {
        let devices: Arc<[DeviceFacts]> = [device()].into();
        let mut matcher = Matcher::default();
        for _ in 0..2 {
            let verdicts = matcher.verdicts(&selector.into(), "gpu.example.com", &devices);
            assert_eq!(*verdicts, *std::slice::from_ref(&want));
        }
        assert_eq!(matcher.verdicts.len(), 1);
    }

    #[test]
    fn only_verdicts_on_devices_that_nobody_knows_are_forgotten() {
        let mut matcher = Matcher::default();
        let selectors: [Arc<str>; 2] = ["true".into(), "device.driver == 'x'".into()];
        let kept: Arc<[DeviceFacts]> = [device()].into();
        for selector in &selectors {
            matcher.verdicts(selector, "x", &kept);
        }
        for _ in 0..KEPT {
            let devices: Arc<[DeviceFacts]> = [device()].into();
            matcher.verdicts(&selectors[0], "x", &devices);
        }
        assert_eq!(matcher.programs.len(), 2);
        assert!(matcher.verdicts.len() < KEPT, "{}", matcher.verdicts.len());
        let at = kept.as_ptr().addr();
        for selector in selectors {
            assert!(matcher.verdicts.contains_key(&(at, selector)));
        }
    }
}
