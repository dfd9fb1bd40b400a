//! Container logs: files in CRI format (`TIME stdout|stderr F|P TEXT`).

mod stream;

pub(crate) use stream::stream;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use plimsoll_api::node::{LogOptions, LogStream};
use std::collections::VecDeque;
use std::path::Path;

/// Removes a pod's logs; absent is fine.
pub(crate) fn remove(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(directory = %directory.display(), %error, "logs not removed");
    }
}

/// One entry of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a str,
    stream: LogStream,
    ends_line: bool,
    text: &'a [u8],
}

/// Takes an entry apart (without its line end); `None` if it is none.
fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let text = parts.next().unwrap_or_default();
    let stream = match stream {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        _ => return None,
    };
    let ends_line = tag.first() == Some(&b'F');
    Some(Entry {
        time: std::str::from_utf8(time).ok()?,
        stream,
        ends_line,
        text,
    })
}

/// Turns entries into what the client asked for.
#[derive(Debug)]
struct Filter {
    since: Option<Timestamp>,
    timestamps: bool,
    stream: LogStream,
    left: Option<u64>,
    in_line: bool,
}

impl Filter {
    fn new(options: &LogOptions) -> Self {
        let (since, timestamps) = (options.since, options.timestamps);
        Self {
            since,
            timestamps,
            stream: options.stream,
            left: options.limit_bytes,
            in_line: false,
        }
    }

    /// Whether the byte limit is reached.
    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn add(&mut self, line: &[u8], out: &mut BytesMut) {
        let Some(entry) = parse(line) else { return };
        if self.stream != LogStream::All && self.stream != entry.stream {
            return;
        }
        if self
            .since
            .is_some_and(|since| entry.time.parse::<Timestamp>().is_ok_and(|t| t < since))
        {
            return;
        }
        if self.timestamps && !self.in_line {
            self.put(entry.time.as_bytes(), out);
            self.put(b" ", out);
        }
        self.put(entry.text, out);
        if entry.ends_line {
            self.put(b"\n", out);
        }
        self.in_line = !entry.ends_line;
    }

    fn put(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let room = self.left.map_or(bytes.len(), |left| {
            usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
        });
        out.put_slice(bytes.get(..room).unwrap_or_default());
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(u64::try_from(room).unwrap_or(u64::MAX));
        }
    }
}

/// The part of a log file to show first: all of it, or its last lines.
fn tail(file: &[u8], lines: Option<u64>) -> Vec<&[u8]> {
    let entries = file
        .split_inclusive(|b| *b == b'\n')
        .filter(|l| l.ends_with(b"\n"));
    let entries = entries.map(|l| l.strip_suffix(b"\n").unwrap_or(l));
    let Some(wanted) = lines else {
        return entries.collect();
    };
    let mut kept: VecDeque<&[u8]> = VecDeque::new();
    let mut ends: u64 = 0;
    for entry in entries {
        kept.push_back(entry);
        ends += u64::from(parse(entry).is_some_and(|e| e.ends_line));
        while ends > wanted || (wanted == 0 && !kept.is_empty()) {
            let Some(first) = kept.pop_front() else { break };
            ends = ends.saturating_sub(u64::from(parse(first).is_some_and(|e| e.ends_line)));
        }
    }
    kept.into()
}

/// What a client gets of a whole file.
fn render(file: &[u8], options: &LogOptions, filter: &mut Filter) -> Bytes {
    let mut out = BytesMut::new();
    for line in tail(file, options.tail_lines) {
        filter.add(line, &mut out);
    }
    out.freeze()
}

/// The text of the last lines of (the end of) a log file.
pub(crate) fn last_lines(file: &[u8], lines: u64) -> Bytes {
    let options = LogOptions {
        tail_lines: Some(lines),
        ..LogOptions::default()
    };
    render(file, &options, &mut Filter::new(&options))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"2026-01-01T00:00:00.1Z stdout F one\n\
        2026-01-01T00:00:01Z stderr P tw\n\
        2026-01-01T00:00:01.5Z stderr F o\n\
        2026-01-01T00:00:02Z stdout F three\n\
        2026-01-01T00:00:03Z stdout F unfini";

    fn shown(options: &LogOptions) -> String {
        let bytes = render(FILE, options, &mut Filter::new(options));
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn partial_entries_join_and_an_entry_being_written_waits() {
        assert_eq!(shown(&LogOptions::default()), "one\ntwo\nthree\n");
    }

    #[rstest::rstest]
    #[case(0, "")]
    #[case(1, "three\n")]
    #[case(2, "two\nthree\n")]
    #[case(9, "one\ntwo\nthree\n")]
    fn tail_counts_lines_not_entries(#[case] lines: u64, #[case] want: &str) {
        let options = LogOptions {
            tail_lines: Some(lines),
            ..LogOptions::default()
        };
        assert_eq!(shown(&options), want);
    }

    #[rstest::rstest]
    #[case(LogStream::All, "one\ntwo\nthree\n")]
    #[case(LogStream::Stdout, "one\nthree\n")]
    #[case(LogStream::Stderr, "two\n")]
    fn one_stream_can_be_asked_for(#[case] stream: LogStream, #[case] want: &str) {
        let options = LogOptions {
            stream,
            ..LogOptions::default()
        };
        assert_eq!(shown(&options), want);
    }

    #[test]
    fn timestamps_since_and_limit_apply() {
        let since = Some("2026-01-01T00:00:02Z".parse().unwrap());
        let options = LogOptions {
            since,
            timestamps: true,
            ..LogOptions::default()
        };
        assert_eq!(shown(&options), "2026-01-01T00:00:02Z three\n");
        let options = LogOptions {
            limit_bytes: Some(5),
            ..LogOptions::default()
        };
        assert_eq!(shown(&options), "one\nt");
    }
}
