//! `whatif remove node/NAME`: who would move where, who is in the way, what it saves.

use super::{RemoveArgs, print};
use crate::nodes::judge::{Given, NodeReport, judge};
use crate::nodes::picture::Picture;
use crate::nodes::{money, text};
use anyhow::bail;
use plimsoll_clock::Clock;
use serde::Serialize;

/// What comes out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// Whether all of them could go as things are.
    possible: bool,
    /// Dollars an hour, of the nodes whose price is known.
    saves_per_hour: Option<f64>,
    /// Each node, in the order they were named.
    nodes: Vec<NodeReport>,
}

pub(super) async fn run(args: &RemoveArgs) -> anyhow::Result<()> {
    let names = names(&args.nodes)?;
    let cluster = args.common.reach.cluster().await?;
    let picture = Picture::read(&cluster, Clock::system().now()).await?;
    let outcome = think(&picture, &names)?;
    print(&outcome, args.common.output, || lines(&outcome))
}

fn names(nodes: &[String]) -> anyhow::Result<Vec<&str>> {
    let mut names = Vec::new();
    for given in nodes {
        let (kind, name) = given.split_once('/').unwrap_or(("", given));
        if !matches!(kind, "node" | "nodes" | "no") || name.is_empty() || name.contains('/') {
            bail!("{given:?} is no node: it is node/NAME");
        }
        if names.contains(&name) {
            bail!("node {name:?} is named twice");
        }
        names.push(name);
    }
    Ok(names)
}

/// Removes one after the other: what the first moves, the second finds there.
fn think(picture: &Picture, names: &[&str]) -> anyhow::Result<Outcome> {
    for name in names {
        if !picture.nodes.contains_key(*name) {
            bail!("there is no node {name:?}");
        }
    }
    let mut given = Given::new(picture, names);
    let judged = names
        .iter()
        .filter_map(|name| judge(picture, &mut given, name));
    let nodes: Vec<NodeReport> = judged.collect();
    let prices = nodes.iter().filter_map(|node| node.price_per_hour);
    Ok(Outcome {
        possible: nodes.iter().all(|node| node.obstacles.is_empty()),
        saves_per_hour: prices.reduce(|sum, price| sum + price),
        nodes,
    })
}

fn lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    for node in &outcome.nodes {
        let price = node.price_per_hour.map(|price| money::hourly(Some(price)));
        let price = price.map_or_else(String::new, |price| format!(" ({price})"));
        lines.push(format!(
            "without node/{}{price}: {}",
            node.node, node.summary
        ));
        for obstacle in &node.obstacles {
            lines.push(format!("  {}", obstacle.reason));
            if !obstacle.lift.is_empty() {
                lines.push(format!("        {}", obstacle.lift));
            }
        }
        lines.extend(text::pod_lines(node));
    }
    let verb = if outcome.possible {
        "saves"
    } else {
        "would save"
    };
    lines.push(match outcome.saves_per_hour {
        Some(price) => format!("{verb} {}", money::both(price)),
        None => "what it saves is not known: no price of these nodes is".to_owned(),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::{lines, names, think};
    use crate::nodes::judge::tests::{node, picture, pod};
    use serde_json::json;

    #[test]
    fn only_nodes_can_be_removed() {
        let given = ["node/a".to_owned(), "no/b".to_owned()];
        assert_eq!(names(&given).unwrap(), ["a", "b"]);
        for wrong in ["a", "pod/a", "node/", "node/a/b"] {
            assert!(names(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
        assert!(names(&["node/a".to_owned(), "node/a".to_owned()]).is_err());
    }

    #[test]
    fn nodes_removed_together_do_not_take_each_others_pods() {
        let nodes = ["a", "b", "c"].map(|name| node(name, &json!({})));
        let pods = vec![
            pod("one", "a", "400m", &json!({})),
            pod("two", "b", "400m", &json!({})),
        ];
        let picture = picture(nodes.into(), pods);
        let outcome = think(&picture, &["a", "b"]).unwrap();
        assert!(outcome.possible);
        assert_eq!(
            lines(&outcome),
            [
                "without node/a: it could go: its one pod would fit elsewhere",
                "pods:",
                "  default/one  moves to c  nothing keeps it",
                "without node/b: it could go: its one pod would fit elsewhere",
                "pods:",
                "  default/two  moves to c  nothing keeps it",
                "what it saves is not known: no price of these nodes is",
            ]
        );
        assert!(think(&picture, &["x"]).is_err());
    }
}
