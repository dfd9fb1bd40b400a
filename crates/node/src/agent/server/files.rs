//! `/logs/`: the log files of a node's pods.

use super::super::board::PodEntry;
use super::super::{Agents, Node};
use super::{Answer, HTML, TEXT, plain};
use std::path::Path;

/// Lists the pods' directories, one of them, or sends a file.
pub(super) async fn serve(agents: &Agents, node: &Node, path: &[&str]) -> Answer {
    let pods = agents.shared.board.of_node(&node.name);
    let pods: Vec<PodEntry> = pods.into_iter().map(|(_, entry)| entry).collect();
    let Some((pod, rest)) = path.split_first() else {
        let names = pods
            .iter()
            .filter_map(|entry| Some(format!("{}/", name(&entry.logs)?)));
        return list(names);
    };
    // Only what the list shows can be asked for.
    let Some(entry) = pods
        .iter()
        .find(|entry| name(&entry.logs).as_deref() == Some(*pod))
    else {
        return plain(404, TEXT, "404 page not found\n");
    };
    let containers = || entry.containers.iter().map(|container| &*container.name);
    match rest {
        [] => list(containers().map(|name| format!("{name}/"))),
        [container] if containers().any(|name| name == *container) => {
            list(files(&entry.logs.join(container)).await.into_iter())
        }
        [container, file] if containers().any(|name| name == *container) => {
            let directory = entry.logs.join(container);
            if !files(&directory).await.iter().any(|name| name == file) {
                return plain(404, TEXT, "404 page not found\n");
            }
            match tokio::fs::read(directory.join(file)).await {
                Ok(bytes) => plain(200, TEXT, bytes),
                Err(error) => plain(500, TEXT, format!("{error}\n")),
            }
        }
        _ => plain(404, TEXT, "404 page not found\n"),
    }
}

fn name(path: &Path) -> Option<String> {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
}

async fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(mut entries) = tokio::fs::read_dir(directory).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

fn list(names: impl Iterator<Item = String>) -> Answer {
    let links = names.map(|name| format!("<a href=\"{name}\">{name}</a>\n"));
    let text: String = std::iter::once("<pre>\n".to_owned())
        .chain(links)
        .chain(std::iter::once("</pre>\n".to_owned()))
        .collect();
    plain(200, HTML, text)
}
