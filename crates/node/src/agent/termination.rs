//! What a container leaves behind as its last message.

use super::Site;
use super::view::Container;
use crate::runtime::Mount;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most bytes taken from the file a container writes.
const MOST: u64 = 4096;
/// Most bytes taken from its log instead.
const MOST_OF_LOG: usize = 2048;
/// Most lines taken from its log.
const LINES: u64 = 80;
/// How much of the end of a log file is looked at.
const LOOK_BACK: u64 = 64 * 1024;
/// Where the file is unless the container says otherwise.
const DEFAULT_PATH: &str = "/dev/termination-log";

/// Makes the file for one instance of a container, and says where it is to appear.
pub(super) fn mount(site: &Site, container: &Container, attempt: u32) -> Result<Mount, String> {
    let source = file(site, &container.name, attempt);
    let failed = |e: std::io::Error| format!("cannot make the termination message file: {e}");
    if let Some(parent) = source.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o666);
    options.open(&source).map_err(failed)?;
    let target = container.termination_message_path.as_deref();
    let target = target.filter(|t| !t.is_empty()).unwrap_or(DEFAULT_PATH);
    Ok(Mount {
        source,
        target: PathBuf::from(target),
        read_only: false,
        memory: None,
    })
}

fn file(site: &Site, container: &str, attempt: u32) -> PathBuf {
    let name = format!("{attempt}.message");
    site.directory()
        .join("containers")
        .join(container)
        .join(name)
}

impl Site {
    /// The last message of an ended container; empty where it left none.
    pub(super) fn last_message(&self, index: usize, attempt: u32, code: i32) -> String {
        let Some(container) = self.pod.container(index) else {
            return String::new();
        };
        if !self.node.runtime.runs_processes() {
            return String::new();
        }
        let path = file(self, &container.name, attempt);
        let said = read(&path, MOST);
        // Only the newest one is ever asked for.
        drop(std::fs::remove_file(path));
        let fall_back =
            container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if said.is_empty() && fall_back && code != 0 {
            return end_of_log(&self.log(&container.name, attempt));
        }
        String::from_utf8_lossy(&said).into_owned()
    }
}

fn read(path: &Path, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // Whatever could be read is better than nothing.
        drop(file.take(most).read_to_end(&mut bytes));
    }
    bytes
}

fn end_of_log(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |m| m.len());
        let from = length.saturating_sub(LOOK_BACK);
        if file.seek(SeekFrom::Start(from)).is_ok() {
            drop(file.take(LOOK_BACK).read_to_end(&mut bytes));
        }
    }
    let text = crate::log::last_lines(&bytes, LINES);
    let from = text.len().saturating_sub(MOST_OF_LOG);
    String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_at_most_80_lines_and_2048_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let line = |n: usize| format!("2026-01-01T00:00:00Z stdout F line {n}\n");
        std::fs::write(&path, (0..100).map(line).collect::<String>()).unwrap();
        let text = end_of_log(&path);
        assert!(
            text.starts_with("line 20\n") && text.ends_with("line 99\n"),
            "{text}"
        );
        let long = format!("2026-01-01T00:00:00Z stderr F {}\n", "x".repeat(5000));
        std::fs::write(&path, long).unwrap();
        assert_eq!(end_of_log(&path).len(), 2048);
        assert_eq!(end_of_log(&directory.path().join("none")), "");
    }
}
