//! What new nodes cost, weighed by how well they suit the cluster.

use super::{Candidate, lowest};
use crate::placement::Resources;

const GIB: f64 = 1_073_741_824.0;
/// The pod whose price keeps tiny demands from deciding: 500m and 500 MiB.
const STABILIZER: (i64, i64) = (500, 500 << 20);
/// How unsuited nodes with GPUs are to pods that want none.
const GPU_UNFITNESS: f64 = 1000.0;
/// A group that does not exist yet must be so much better.
const NOT_EXISTING_PENALTY: f64 = 2.0;

/// Prices by amount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodPrices {
    /// Of one core and hour in US dollars.
    pub core_hour: f64,
    /// Of one GiB of memory and hour in US dollars.
    pub gib_hour: f64,
}

impl Default for PodPrices {
    /// What the worked example of the reference takes (§19, E3).
    fn default() -> Self {
        Self {
            core_hour: 0.03,
            gib_hour: 0.004,
        }
    }
}

impl PodPrices {
    /// The price of so much for an hour.
    #[expect(clippy::cast_precision_loss, reason = "a price")]
    pub fn price(&self, of: &Resources) -> f64 {
        let cores = of.cpu_milli as f64 / 1000.0;
        cores * self.core_hour + of.memory_bytes as f64 / GIB * self.gib_hour
    }
}

/// The CPU of the machine that suits a cluster of so many nodes, in millicores.
pub const fn preferred_cpu(nodes: usize) -> i64 {
    match nodes {
        0..=2 => 1000,
        3..=6 => 2000,
        7..=20 => 4000,
        21..=60 => 8000,
        61..=200 => 16_000,
        _ => 32_000,
    }
}

/// How well a machine suits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference {
    /// The preferred machine's CPU in millicores.
    pub preferred_cpu: i64,
    /// The machine's CPU in millicores.
    pub cpu: i64,
    /// Whether it has a GPU.
    pub gpu: bool,
    /// Whether its group exists.
    pub exists: bool,
}

impl Preference {
    /// 1 for the preferred machine, more for smaller and larger ones. One with a GPU is not measured
    /// by its CPU.
    #[expect(
        clippy::cast_precision_loss,
        reason = "Parity: computed in floating point"
    )]
    pub fn unfitness(&self) -> f64 {
        if self.gpu {
            return GPU_UNFITNESS;
        }
        let (preferred, cpu) = (self.preferred_cpu.max(1) as f64, self.cpu.max(1) as f64);
        (preferred / cpu).max(cpu / preferred)
    }
}

/// The prices of one option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriceInput {
    /// Of one node.
    pub node: f64,
    /// How many nodes.
    pub nodes: usize,
    /// Of all pods helped.
    pub pods: f64,
    /// Of the pod that keeps tiny demands from deciding.
    pub stabilizer: f64,
}

/// The score; the smallest is best. The more nodes, the less it matters which machine suits.
#[expect(
    clippy::cast_precision_loss,
    reason = "Parity: computed in floating point"
)]
pub fn price_score(price: &PriceInput, preference: &Preference) -> f64 {
    let nodes = price.nodes as f64;
    let ratio = (price.node * nodes + price.stabilizer) / (price.pods + price.stabilizer);
    let unfit = preference.unfitness();
    // Parity: with a GPU it matters as much for many nodes as for one.
    let suppressed = if preference.gpu {
        unfit
    } else {
        (unfit - 1.0) * (1.0 - ((nodes - 1.0) / 15.0).tanh()) + 1.0
    };
    let penalty = if preference.exists {
        1.0
    } else {
        NOT_EXISTING_PENALTY
    };
    ratio * suppressed * penalty
}

/// Options with the smallest score.
///
/// Departs: one without a price is left out, unless none has one; upstream chooses nothing then.
pub(super) fn cheapest(
    options: &[Candidate<'_>],
    prices: &PodPrices,
    cluster_size: usize,
) -> (Vec<usize>, Vec<String>) {
    let stabilizer = prices.price(&Resources::of(STABILIZER.0, STABILIZER.1));
    let score = |option: &Candidate<'_>| {
        let template = option.group.template.as_ref()?;
        let price = PriceInput {
            node: template.price_per_hour?,
            nodes: option.nodes,
            pods: prices.price(option.requests),
            stabilizer,
        };
        let preference = Preference {
            preferred_cpu: preferred_cpu(cluster_size),
            cpu: template.capacity.cpu_milli,
            gpu: template.gpu.is_some(),
            exists: option.group.exists,
        };
        Some((price, price_score(&price, &preference)))
    };
    let scored: Vec<_> = options.iter().map(score).collect();
    let note = |scored: &Option<(PriceInput, f64)>| match scored {
        Some((price, score)) => {
            let node = price.node;
            format!("{node} $/h a node, score {score:.4}")
        }
        None => "no price known".to_owned(),
    };
    let notes = scored.iter().map(note).collect();
    if scored.iter().all(Option::is_none) {
        return ((0..options.len()).collect(), notes);
    }
    let or_infinite = scored
        .iter()
        .map(|known| known.map_or(f64::INFINITY, |(_, score)| score));
    (lowest(or_infinite), notes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{group, template};
    use rstest::rstest;

    #[rstest]
    #[case::one(1)]
    #[case::many(40)]
    fn nodes_with_gpus_are_a_thousand_times_as_bad(#[case] nodes: usize) {
        let price = PriceInput {
            node: 1.0,
            nodes,
            pods: 1.0,
            stabilizer: 0.0,
        };
        let preference = Preference {
            preferred_cpu: 4000,
            cpu: 4000,
            gpu: false,
            exists: true,
        };
        let plain = price_score(&price, &preference);
        let with_gpu = Preference {
            gpu: true,
            ..preference
        };
        assert!((price_score(&price, &with_gpu) / plain - 1000.0).abs() < 1e-9);
    }

    #[rstest]
    #[case::small_cluster(6, [2.24, 4.87, 10.77], 0)]
    #[case::large_cluster(60, [2.24, 1.43, 2.76], 1)]
    fn the_clusters_size_decides_at_equal_prices(
        #[case] nodes: usize,
        #[case] want: [f64; 3],
        #[case] best: usize,
    ) {
        // The worked example: Σ 22.7 cores and 86 GiB.
        let prices = PodPrices::default();
        let requests = Resources::of(22_700, 86 << 30);
        let shapes = [(4, 8), (8, 4), (16, 2)];
        let groups = shapes.map(|(cores, _)| {
            let mut of = template("n", 1000 * cores, cores << 32);
            of.price_per_hour = Some(prices.price(&of.capacity));
            group("ng", (0, 10), of)
        });
        let options: Vec<Candidate<'_>> = groups
            .iter()
            .zip(shapes)
            .map(|(group, (_, nodes))| Candidate {
                group,
                nodes,
                pods: 39,
                requests: &requests,
            })
            .collect();
        let (kept, notes) = cheapest(&options, &prices, nodes);
        assert_eq!(kept, [best], "{notes:?}");
        for (note, want) in notes.iter().zip(want) {
            let score: f64 = note.rsplit(' ').next().unwrap().parse().unwrap();
            assert!((score - want).abs() < 0.01, "{note}, wanted {want}");
        }
    }
}
