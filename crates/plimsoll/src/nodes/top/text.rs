//! The table of `top nodes` as people read it.

use super::{Row, Table};
use crate::nodes::{money, text};
use jiff::Timestamp;
use plimsoll_api::print::duration;
use plimsoll_quantity::Quantity;

/// Cells of a bar.
const BAR: i64 = 10;

/// How a table is printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// With the first and the last line.
    pub(super) heads: bool,
    /// With bars beside shares.
    pub(super) bars: bool,
}

const HEAD: [&str; 11] = [
    "NAME", "GROUP", "CPU(REQ)", "CPU%", "MEM(REQ)", "MEM%", "USED", "PODS", "PRICE", "AGE",
    "WHY KEPT",
];

/// One line a node, and what they come to.
pub(super) fn lines(table: &Table, now: Timestamp, style: Style) -> Vec<String> {
    let cells = table.nodes.iter().map(|row| cells(row, now, style.bars));
    let head = style.heads.then(|| HEAD.map(str::to_owned));
    let rows: Vec<[String; 11]> = head.into_iter().chain(cells).collect();
    let mut lines = text::columns(&rows);
    if style.heads {
        lines.push(total(table));
    }
    lines
}

fn cells(row: &Row, now: Timestamp, bars: bool) -> [String; 11] {
    let dash = || "-".to_owned();
    let used = row.cpu_used_milli.zip(row.memory_used_bytes);
    let used = used.map(|(cpu, memory)| {
        format!(
            "{}/{}",
            percent(cpu, row.cpu_allocatable_milli),
            percent(memory, row.memory_allocatable_bytes)
        )
    });
    let age = row
        .created
        .map(|then| duration(now.duration_since(then).as_secs()));
    let ready = if row.ready { "" } else { " (not ready)" };
    [
        format!("{}{ready}", row.name),
        row.group.clone().unwrap_or_else(dash),
        Quantity::from_milli(row.cpu_requested_milli).to_string(),
        share(row.cpu_requested_milli, row.cpu_allocatable_milli, bars),
        format!("{}Mi", row.memory_requested_bytes >> 20),
        share(
            row.memory_requested_bytes,
            row.memory_allocatable_bytes,
            bars,
        ),
        used.unwrap_or_else(dash),
        row.pods.to_string(),
        money::hourly(row.price_per_hour),
        age.unwrap_or_else(dash),
        row.why.clone(),
    ]
}

fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "-".to_owned();
    }
    format!("{}%", part.saturating_mul(100) / whole)
}

/// A share, with a bar or without.
fn share(part: i64, whole: i64, bar: bool) -> String {
    let text = percent(part, whole);
    if !bar || whole <= 0 {
        return text;
    }
    let full = (part.saturating_mul(BAR) / whole).clamp(0, BAR);
    let cells = |count: i64, cell: &str| cell.repeat(usize::try_from(count).unwrap_or(0));
    format!(
        "{text:>4} {}{}",
        cells(full, "\u{2588}"),
        cells(BAR - full, "\u{2591}")
    )
}

fn total(table: &Table) -> String {
    let sum = |of: fn(&Row) -> i64| table.nodes.iter().map(of).fold(0, i64::saturating_add);
    let (cpu, has_cpu) = (
        sum(|r| r.cpu_requested_milli),
        sum(|r| r.cpu_allocatable_milli),
    );
    let memory = sum(|r| r.memory_requested_bytes);
    let has_memory = sum(|r| r.memory_allocatable_bytes);
    let pods: usize = table.nodes.iter().map(|row| row.pods).sum();
    let price = table.price_per_hour.map(money::both);
    let price = price.map_or_else(String::new, |price| format!(", {price}"));
    let plural = if table.nodes.len() == 1 { "" } else { "s" };
    format!(
        "{} node{plural}: cpu {}/{} ({}), memory {}Mi/{}Mi ({}), {pods} pods ({} pending){price}",
        table.nodes.len(),
        Quantity::from_milli(cpu),
        Quantity::from_milli(has_cpu),
        percent(cpu, has_cpu),
        memory >> 20,
        has_memory >> 20,
        percent(memory, has_memory),
        table.pending_pods,
    )
}

#[cfg(test)]
mod tests {
    use super::{Style, lines, share};
    use crate::nodes::top::tests::sample;

    const PLAIN: Style = Style {
        heads: true,
        bars: false,
    };

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let full = |text: &str| text.matches('\u{2588}').count();
        let bar = share(3, 4, true);
        assert!(bar.starts_with(" 75% ") && full(&bar) == 7, "{bar}");
        assert_eq!(full(&share(9, 4, true)), 10);
        assert_eq!(
            (share(3, 4, false).as_str(), share(1, 0, true).as_str()),
            ("75%", "-")
        );
    }

    #[test]
    fn each_node_says_why_it_is_kept() {
        let (table, now) = sample();
        assert_eq!(
            lines(&table, now, PLAIN),
            [
                "NAME  GROUP  CPU(REQ)  CPU%  MEM(REQ)  MEM%  USED     PODS  PRICE  AGE  WHY KEPT",
                "a     ng1    1500m     75%   0Mi       0%    25%/25%  1     -      -    its pods \
                 request 75.0 % of its cpu, more than 50.0 %",
                "b     ng1    100m      5%    0Mi       0%    -        1     -      -    pod \
                 default/db has no controller that would replace it",
                "2 nodes: cpu 1600m/4 (40%), memory 0Mi/8192Mi (0%), 2 pods (0 pending)",
            ]
        );
        assert_eq!(
            lines(
                &table,
                now,
                Style {
                    heads: false,
                    bars: true
                }
            )
            .len(),
            2
        );
    }
}
