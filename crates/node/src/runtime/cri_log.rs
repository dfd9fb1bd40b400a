//! Container logs in the CRI format: `TIME stdout|stderr F|P TEXT`, one line each.

use plimsoll_clock::Clock;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Longer lines are split, and all parts but the last are marked `P`.
const LONGEST_LINE: usize = 16 * 1024;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Writes one stream of a container.
#[derive(Debug)]
pub(crate) struct LogWriter {
    file: File,
    stream: Stream,
    clock: Clock,
    pending: Vec<u8>,
}

impl LogWriter {
    /// Appends to the file at `path`, which is made where absent.
    pub(crate) fn open(path: &Path, stream: Stream, clock: Clock) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file,
            stream,
            clock,
            pending: Vec::new(),
        })
    }

    /// Takes output; complete lines reach the file.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) if end <= LONGEST_LINE => {
                    let (line, tail) = rest.split_at(end);
                    self.line(&mut out, 'F', line);
                    rest = tail.get(1..).unwrap_or_default();
                }
                _ if rest.len() > LONGEST_LINE => {
                    let (part, tail) = rest.split_at(LONGEST_LINE);
                    self.line(&mut out, 'P', part);
                    rest = tail;
                }
                _ => break,
            }
        }
        self.pending = rest.to_vec();
        self.file.write_all(&out)
    }

    /// Writes what is left without a line end.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        self.line(&mut out, 'P', &pending);
        self.file.write_all(&out)
    }

    fn line(&self, out: &mut Vec<u8>, tag: char, text: &[u8]) {
        let stream = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let head = format!("{:.9} {stream} {tag} ", self.clock.now());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(chunks: &[&[u8]]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pod/0.log");
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let mut log = LogWriter::open(&path, Stream::Stdout, clock).unwrap();
        for chunk in chunks {
            log.write(chunk).unwrap();
        }
        log.finish().unwrap();
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_put_together_from_chunks() {
        let lines = written(&[b"on", b"e\ntwo\nthr", b"ee\n"]);
        let time = "2026-01-01T00:00:00.000000000Z";
        assert_eq!(
            lines,
            ["one", "two", "three"].map(|text| format!("{time} stdout F {text}"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_unfinished_line_is_partial() {
        assert!(written(&[b"prompt$ "])[0].ends_with("stdout P prompt$ "));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_line_is_split() {
        let text = [vec![b'x'; LONGEST_LINE + 5], b"\n".to_vec()].concat();
        let lines = written(&[&text]);
        assert!(lines[0].contains(" P xx") && lines[1].ends_with(" F xxxxx"));
    }
}
