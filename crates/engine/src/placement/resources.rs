//! Amounts of resources.

use std::collections::BTreeMap;

/// An amount of each resource. Arithmetic saturates.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// CPU in millicores.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Ephemeral storage in bytes.
    pub ephemeral_bytes: i64,
    /// Extended resources by name, in units.
    pub extended: BTreeMap<String, i64>,
}

impl Resources {
    /// CPU and memory only.
    pub fn of(cpu_milli: i64, memory_bytes: i64) -> Self {
        Self {
            cpu_milli,
            memory_bytes,
            ..Self::default()
        }
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises each amount to at least `other`'s (for init containers, which run one by one).
    pub fn at_least(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    /// So many times as much.
    #[must_use]
    pub fn times(&self, count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let scaled = |amount: i64| amount.saturating_mul(count);
        let extended = self.extended.iter();
        Self {
            cpu_milli: scaled(self.cpu_milli),
            memory_bytes: scaled(self.memory_bytes),
            ephemeral_bytes: scaled(self.ephemeral_bytes),
            extended: extended
                .map(|(name, amount)| (name.clone(), scaled(*amount)))
                .collect(),
        }
    }

    fn combine(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_bytes = with(self.ephemeral_bytes, other.ephemeral_bytes);
        for (name, amount) in &other.extended {
            let mine = self.extended.entry(name.clone()).or_insert(0);
            *mine = with(*mine, *amount);
        }
    }

    /// CPU and memory as scores see them: an absent request counts 100m / 200 MiB.
    #[must_use]
    pub fn for_score(&self) -> Self {
        let or = |amount: i64, default: i64| if amount > 0 { amount } else { default };
        Self::of(or(self.cpu_milli, 100), or(self.memory_bytes, 200 << 20))
    }

    /// Whether nothing is asked for.
    pub fn is_zero(&self) -> bool {
        self.requested().next().is_none()
    }

    /// Every resource with a request, by its Kubernetes name.
    pub fn requested(&self) -> impl Iterator<Item = (&str, i64)> {
        [
            ("cpu", self.cpu_milli),
            ("memory", self.memory_bytes),
            ("ephemeral-storage", self.ephemeral_bytes),
        ]
        .into_iter()
        .chain(
            self.extended
                .iter()
                .map(|(name, amount)| (name.as_str(), *amount)),
        )
        .filter(|(_, amount)| *amount > 0)
    }

    /// The amount of one resource by its Kubernetes name.
    pub fn amount(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu_milli,
            "memory" => self.memory_bytes,
            "ephemeral-storage" => self.ephemeral_bytes,
            other => self.extended.get(other).copied().unwrap_or(0),
        }
    }
}
