//! What the demo shows: on a terminal a few lines that update in place, else one line a change.

use super::load::Tally;
use super::timeline::{Moment, Timeline, targets};
use std::io::{IsTerminal, Write};

/// The HPA's target, in percent of the request.
const TARGET: i32 = 50;
const WIDTH: usize = 60;
const HEIGHT: usize = 10;

/// The live view.
#[derive(Debug)]
pub(crate) struct View {
    terminal: bool,
    /// Lines drawn last, to be drawn over.
    drawn: usize,
    step: &'static str,
}

impl View {
    /// Looks whether anyone watches.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            drawn: 0,
            step: "",
        }
    }

    /// A new step of the load begins.
    pub(crate) fn announce(&mut self, step: &'static str) {
        self.step = step;
        if !self.terminal {
            write(&format!("-- {step}\n"));
        }
    }

    /// Shows the newest moment.
    pub(crate) fn show(&mut self, timeline: &Timeline, changed: bool) {
        let Some(moment) = timeline.last() else {
            return;
        };
        if !self.terminal {
            if changed {
                write(&format!("{}\n", line(moment)));
            }
            return;
        }
        let mut lines = vec![
            format!("{:>5.0} s  {}", moment.at, self.step),
            String::new(),
        ];
        lines.push(line(moment));
        lines.push(String::new());
        lines.extend(timeline.plot(WIDTH, HEIGHT));
        let up = if self.drawn > 0 {
            format!("\x1b[{}A", self.drawn)
        } else {
            String::new()
        };
        let text = lines.join("\n\x1b[2K");
        write(&format!("{up}\x1b[J{text}\n"));
        self.drawn = lines.len();
    }

    /// The last picture stays; what follows goes beneath.
    pub(crate) fn finish(&mut self) {
        self.drawn = 0;
    }
}

fn line(m: &Moment) -> String {
    format!(
        "{:>6.1} s  load {:>3.0}/s  TARGETS {:<14}  REPLICAS {:>2}  ready {:>2}  served {:>5}  failed {}",
        m.at,
        m.rate,
        targets(m, TARGET),
        m.desired,
        m.ready,
        m.served,
        m.failed
    )
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// The last page, and whether everything went as promised.
pub(crate) fn summary(timeline: &Timeline, tally: &Tally) -> (Vec<String>, bool) {
    let peak = timeline.most_ready();
    let end = timeline.last().map_or(0, |m| m.ready);
    let mut lines = vec![
        String::new(),
        "Replicas over time (█ Ready, ░ asked for):".to_owned(),
    ];
    lines.extend(timeline.plot(WIDTH, HEIGHT));
    lines.push(String::new());
    lines.push(format!("  pods             1 → {peak} → {end}"));
    let ms = |share| tally.latency(share).unwrap_or(0.0);
    lines.push(format!(
        "  requests         {} served, {} failed; p50 {:.0} ms, p99 {:.0} ms",
        tally.served,
        tally.failed,
        ms(0.5),
        ms(0.99)
    ));
    for reaction in timeline.reactions() {
        lines.push(format!(
            "  step to {:>2.0}/s     first new pod Ready after {:.1} s",
            reaction.rate, reaction.seconds
        ));
    }
    let mut wrong = Vec::new();
    if peak < 3 {
        wrong.push(format!("it scaled out to {peak} only"));
    }
    if end != 1 {
        wrong.push(format!("it ended at {end} pods instead of 1"));
    }
    if let Some(first) = &tally.first_failure {
        wrong.push(format!(
            "{} request(s) failed, the first with: {first}",
            tally.failed
        ));
    }
    let passed = wrong.is_empty();
    lines.push(String::new());
    lines.push(if passed {
        "It scaled out under load and in again, and no request failed.".to_owned()
    } else {
        format!("Not as promised: {}.", wrong.join("; "))
    });
    (lines, passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(peak: i32, end: i32) -> Timeline {
        let mut timeline = Timeline::default();
        for (at, ready) in [(0.0, 1), (10.0, peak), (20.0, end)] {
            timeline.push(Moment {
                at,
                ready,
                desired: ready,
                ..Moment::default()
            });
        }
        timeline
    }

    #[test]
    fn it_passes_only_if_it_went_out_and_in_and_nothing_failed() {
        let fine = Tally {
            served: 9,
            ..Tally::default()
        };
        assert!(summary(&ran(7, 1), &fine).1);
        assert!(!summary(&ran(1, 1), &fine).1);
        assert!(!summary(&ran(7, 2), &fine).1);
        let failed = Tally {
            failed: 1,
            first_failure: Some("refused".into()),
            ..fine
        };
        let (lines, passed) = summary(&ran(7, 1), &failed);
        assert!(!passed);
        assert!(
            lines.last().is_some_and(|l| l.contains("refused")),
            "{lines:?}"
        );
    }
}
