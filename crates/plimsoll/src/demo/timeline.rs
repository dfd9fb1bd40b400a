//! What the demo saw, moment by moment, and how it is drawn. Pure: no clock, no output.

/// The state at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moment {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// Offered load, in requests a second.
    pub(crate) rate: f64,
    /// CPU use in percent of the request, once known.
    pub(crate) utilization: Option<i32>,
    /// Replicas the HPA asks for.
    pub(crate) desired: i32,
    /// Pods that are Ready.
    pub(crate) ready: i32,
    /// Requests answered with 200 so far.
    pub(crate) served: u64,
    /// Requests failed so far.
    pub(crate) failed: u64,
}

/// All moments, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    moments: Vec<Moment>,
}

impl Timeline {
    /// Adds a moment. Returns whether something a reader cares about changed.
    pub(crate) fn push(&mut self, moment: Moment) -> bool {
        let key = |m: &Moment| (m.rate.to_bits(), m.desired, m.ready, m.failed);
        let changed = self
            .moments
            .last()
            .is_none_or(|last| key(last) != key(&moment));
        self.moments.push(moment);
        changed
    }

    /// The newest moment.
    pub(crate) fn last(&self) -> Option<&Moment> {
        self.moments.last()
    }

    /// The most pods that were Ready at once.
    pub(crate) fn most_ready(&self) -> i32 {
        self.moments.iter().map(|m| m.ready).max().unwrap_or(0)
    }

    /// For each rise of the load that brought new pods: its time, its rate, and how long until
    /// the first new pod was Ready.
    pub(crate) fn reactions(&self) -> Vec<Reaction> {
        let pairs = self.moments.iter().zip(self.moments.iter().skip(1));
        let rises = pairs.filter(|(before, after)| after.rate > before.rate);
        rises
            .filter_map(|(before, step)| {
                let first = self
                    .moments
                    .iter()
                    .find(|m| m.at >= step.at && m.ready > before.ready)?;
                Some(Reaction {
                    rate: step.rate,
                    seconds: first.at - step.at,
                })
            })
            .collect()
    }

    /// Replicas over time: `height` rows, `width` columns, then the load beneath.
    pub(crate) fn plot(&self, width: usize, height: usize) -> Vec<String> {
        let Some(end) = self.moments.last().map(|m| m.at.max(1.0)) else {
            return Vec::new();
        };
        let columns: Vec<Moment> = (0..width)
            .filter_map(|c| self.column(c, width, end))
            .collect();
        let top = columns
            .iter()
            .map(|m| m.ready.max(m.desired))
            .max()
            .unwrap_or(1)
            .max(1);
        let rows = i32::try_from(height).unwrap_or(10).min(top);
        let mut lines = Vec::new();
        for row in (1..=rows).rev() {
            let level = (top * row).div_ceil_signed(rows);
            let cells: String = columns.iter().map(|m| cell(m, level)).collect();
            lines.push(format!("{level:>8} │{}", cells.trim_end()));
        }
        lines.push(format!("         └{}", "─".repeat(width)));
        let load: String = columns.iter().map(|m| spark(m.rate, &columns)).collect();
        lines.push(format!("    load  {load}"));
        let right = format!("{end:.0} s");
        let gap = width.saturating_sub(right.len() + 1);
        lines.push(format!("          0{}{right}", " ".repeat(gap)));
        lines
    }

    #[expect(clippy::cast_precision_loss, reason = "columns of a small plot")]
    fn column(&self, column: usize, width: usize, end: f64) -> Option<Moment> {
        let until = end * (column + 1) as f64 / width as f64;
        let next = self.moments.partition_point(|m| m.at <= until);
        self.moments.get(next.saturating_sub(1)).copied()
    }
}

/// How fast a rise of the load was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reaction {
    /// The load after the rise, in requests a second.
    pub(crate) rate: f64,
    /// Seconds until the first new pod was Ready.
    pub(crate) seconds: f64,
}

/// A full block where pods are Ready, a light one where they are only asked for.
fn cell(moment: &Moment, level: i32) -> char {
    if moment.ready >= level {
        '█'
    } else if moment.desired >= level {
        '░'
    } else {
        ' '
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 8"
)]
fn spark(rate: f64, columns: &[Moment]) -> char {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = columns.iter().map(|m| m.rate).fold(1.0, f64::max);
    LEVELS
        .get((rate / top * 8.0).ceil() as usize)
        .copied()
        .unwrap_or('█')
}

/// `i32::div_ceil` is not stable; both sides are positive here.
trait DivCeil {
    fn div_ceil_signed(self, by: Self) -> Self;
}

impl DivCeil for i32 {
    fn div_ceil_signed(self, by: Self) -> Self {
        (self + by - 1) / by.max(1)
    }
}

/// `140%/50%`, or `<unknown>/50%` before the first sample.
pub(crate) fn targets(moment: &Moment, target: i32) -> String {
    match moment.utilization {
        Some(percent) => format!("{percent}%/{target}%"),
        None => format!("<unknown>/{target}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at: f64, rate: f64, ready: i32) -> Moment {
        Moment {
            at,
            rate,
            desired: ready,
            ready,
            ..Moment::default()
        }
    }

    fn sample() -> Timeline {
        let mut timeline = Timeline::default();
        for moment in [
            at(0.0, 1.0, 1),
            at(10.0, 20.0, 1),
            at(12.0, 20.0, 4),
            at(20.0, 1.0, 1),
        ] {
            timeline.push(moment);
        }
        timeline
    }

    #[test]
    fn only_what_a_reader_cares_about_counts_as_a_change() {
        let mut timeline = Timeline::default();
        assert!(timeline.push(at(0.0, 1.0, 1)));
        assert!(!timeline.push(Moment {
            served: 9,
            ..at(1.0, 1.0, 1)
        }));
        assert!(timeline.push(at(2.0, 1.0, 2)));
    }

    #[test]
    fn a_reaction_is_the_time_from_the_step_to_the_first_new_ready_pod() {
        assert_eq!(
            sample().reactions(),
            [Reaction {
                rate: 20.0,
                seconds: 2.0
            }]
        );
        assert_eq!(sample().most_ready(), 4);
    }

    #[test]
    fn the_plot_shows_replicas_above_the_load() {
        assert_eq!(
            sample().plot(20, 4).join("\n"),
            "       4 │           ████████\n       3 │           ████████\n       \
             2 │           ████████\n       1 │████████████████████\n         \
             └────────────────────\n    load  ▁▁▁▁▁▁▁▁▁██████████▁\n          \
             0               20 s"
        );
    }

    #[test]
    fn before_the_first_sample_the_target_is_unknown() {
        assert_eq!(targets(&at(0.0, 0.0, 1), 50), "<unknown>/50%");
        let known = Moment {
            utilization: Some(140),
            ..at(0.0, 0.0, 1)
        };
        assert_eq!(targets(&known, 50), "140%/50%");
    }
}
