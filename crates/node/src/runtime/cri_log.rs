//! Container logs in the CRI format: `TIME stdout|stderr F|P TEXT`, one line each.

use parking_lot::Mutex;
use plimsoll_clock::Clock;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longer lines are split, and all parts but the last are marked `P`.
const LONGEST_LINE: usize = 16 * 1024;
/// A file that would grow beyond this is put aside (a kubelet's default).
const LARGEST: u64 = 10 << 20;
/// How many files put aside are kept (a kubelet keeps five with the present one).
const KEPT: u32 = 4;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The file both streams of a container are written to.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
}

impl LogFile {
    fn open(path: &Path, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            size,
            most,
        })
    }

    /// Writes whole entries, into a fresh file where this one is full.
    fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        let length = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(length) > self.most {
            self.rotate()?;
        }
        self.file.write_all(entries)?;
        self.size = self.size.saturating_add(length);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let older = |age: u32| self.path.with_extension(format!("log.{age}"));
        for age in (1..KEPT).rev() {
            // The older ones appear one by one.
            drop(fs::rename(older(age), older(age + 1)));
        }
        fs::rename(&self.path, older(1))?;
        *self = Self::open(&self.path, self.most)?;
        Ok(())
    }
}

/// Writes one stream of a container.
#[derive(Debug)]
pub(crate) struct LogWriter {
    file: Arc<Mutex<LogFile>>,
    stream: Stream,
    clock: Clock,
    pending: Vec<u8>,
}

impl LogWriter {
    /// Appends to the file at `path`, which is made where absent: standard output and error.
    pub(crate) fn open(path: &Path, clock: Clock) -> io::Result<(Self, Self)> {
        Self::open_sized(path, clock, LARGEST)
    }

    fn open_sized(path: &Path, clock: Clock, most: u64) -> io::Result<(Self, Self)> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = Arc::new(Mutex::new(LogFile::open(path, most)?));
        let writer = |stream| Self {
            file: Arc::clone(&file),
            stream,
            clock,
            pending: Vec::new(),
        };
        Ok((writer(Stream::Stdout), writer(Stream::Stderr)))
    }

    /// Whether the beginning of a line waits for its end.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
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
        if out.is_empty() {
            return Ok(());
        }
        self.file.lock().append(&out)
    }

    /// Writes what there is of a line that has not ended, as a part of it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        self.line(&mut out, 'P', &pending);
        self.file.lock().append(&out)
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
        let (mut log, _) = LogWriter::open(&path, clock).unwrap();
        for chunk in chunks {
            log.write(chunk).unwrap();
        }
        log.flush().unwrap();
        fs::read_to_string(path)
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

    #[tokio::test(start_paused = true)]
    async fn a_full_file_is_put_aside_and_only_the_last_ones_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let (mut out, mut err) = LogWriter::open_sized(&path, clock, 200).unwrap();
        for number in 0..40 {
            let log = if number % 2 == 0 { &mut out } else { &mut err };
            log.write(format!("number {number}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let names = ["0.log.4", "0.log.3", "0.log.2", "0.log.1", "0.log"];
        let text: String = names.iter().map(|name| read(name)).collect();
        let kept: Vec<_> = text.lines().filter_map(|l| l.rsplit(' ').next()).collect();
        let want: Vec<_> = (40 - kept.len()..40).map(|n| n.to_string()).collect();
        assert_eq!(kept, want);
        assert!(kept.len() < 30 && names.iter().all(|name| read(name).len() <= 200));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), names.len());
    }
}
