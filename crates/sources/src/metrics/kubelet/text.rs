//! Reads the Prometheus text of `/metrics/resource` as it arrives, keeping only the series that
//! usage is computed from.

use super::ledger::Ledger;
use super::track::{Reading, Series};
use std::borrow::Cow;

/// A longer line is nobody's sample.
const LONGEST_LINE: usize = 16 * 1024;

/// Takes the text in pieces and hands each sample to a [`Ledger`].
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The beginning of a line that is not complete yet.
    rest: Vec<u8>,
    /// Whether that line is already too long to be read.
    skipping: bool,
    /// Lines of wanted series that could not be understood.
    pub(super) malformed: usize,
}

impl Reader {
    /// Reads a piece of the text.
    pub(super) fn push(&mut self, piece: &[u8], ledger: &mut Ledger) {
        let mut lines = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            let is_complete = lines.peek().is_some();
            if !is_complete {
                self.hold(part);
            } else if self.rest.is_empty() && !self.skipping {
                self.line(part, ledger);
            } else {
                self.hold(part);
                self.end_line(ledger);
            }
        }
    }

    /// Reads a last line that has no line end.
    pub(super) fn finish(&mut self, ledger: &mut Ledger) {
        if self.skipping || !self.rest.is_empty() {
            self.end_line(ledger);
        }
    }

    fn hold(&mut self, part: &[u8]) {
        if self.rest.len() + part.len() > LONGEST_LINE {
            self.rest.clear();
            self.skipping = true;
        } else if !self.skipping {
            self.rest.extend_from_slice(part);
        }
    }

    fn end_line(&mut self, ledger: &mut Ledger) {
        let mut whole = std::mem::take(&mut self.rest);
        if std::mem::take(&mut self.skipping) {
            return;
        }
        self.line(&whole, ledger);
        whole.clear();
        self.rest = whole;
    }

    fn line(&mut self, line: &[u8], ledger: &mut Ledger) {
        let Some((series, rest)) = series_of(line) else {
            return;
        };
        let sample = std::str::from_utf8(rest).ok().and_then(sample);
        match sample {
            Some((labels, reading)) if ledger.take(series, &labels.named(), reading) => {}
            Some(_) | None => self.malformed += 1,
        }
    }
}

/// The series of a line, and what follows its name; `None` for lines that nobody needs.
fn series_of(line: &[u8]) -> Option<(Series, &[u8])> {
    // Most lines are of other families: the first byte tells most of them apart.
    if !matches!(line.first(), Some(b'n' | b'c')) {
        return None;
    }
    let end = line
        .iter()
        .position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    let (name, rest) = line.split_at_checked(end)?;
    Some((Series::named(name)?, rest))
}

/// The labels that tell containers apart.
#[derive(Debug, Default)]
struct Labels<'a> {
    container: Cow<'a, str>,
    namespace: Cow<'a, str>,
    pod: Cow<'a, str>,
}

impl Labels<'_> {
    fn named(&self) -> [&str; 3] {
        [&self.namespace, &self.pod, &self.container]
    }
}

/// What follows a series' name: labels, value, time in milliseconds.
fn sample(text: &str) -> Option<(Labels<'_>, Reading)> {
    let (labels, rest) = match text.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::default(), text),
    };
    let mut words = rest.split_ascii_whitespace();
    let value: f64 = words.next()?.parse().ok()?;
    let at_millis = match words.next() {
        Some(word) => Some(word.parse::<i64>().ok()?),
        None => None,
    };
    if words.next().is_some() || !value.is_finite() || value < 0.0 {
        return None;
    }
    Some((labels, Reading { value, at_millis }))
}

/// Labels up to and with the closing brace, and what follows.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut found = Labels::default();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        rest = after;
        match name.trim() {
            "container" => found.container = value,
            "namespace" => found.namespace = value,
            "pod" => found.pod = value,
            _ => {}
        }
    }
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    let (plain, rest) = text.split_at_checked(end)?;
    if let Some(after) = rest.strip_prefix('"') {
        return Some((Cow::Borrowed(plain), after));
    }
    let mut value = plain.to_owned();
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return Some((Cow::Owned(value), letters.as_str())),
            '\\' => match letters.next()? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const TEXT: &str = "# HELP node_cpu_usage_seconds_total CPU.\n\
        # TYPE node_cpu_usage_seconds_total counter\n\
        node_cpu_usage_seconds_total 12.5 1700000000000\n\
        node_memory_working_set_bytes 4096 1700000000000\n\
        container_cpu_usage_seconds_total{container=\"app\",namespace=\"n\",pod=\"p\"} 1.5 1700000000000\n\
        container_memory_working_set_bytes{container=\"app\",namespace=\"n\",pod=\"p\"} 2.5e+06 1700000000000\n\
        container_start_time_seconds{container=\"app\",namespace=\"n\",pod=\"p\"} 1.6999999e+09\n\
        pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 1.6 1700000000000\n";

    /// What the text says, read in pieces of `size` bytes.
    fn read(text: &[u8], size: usize) -> (Ledger, usize) {
        let (mut ledger, mut reader) = (Ledger::default(), Reader::default());
        ledger.begin();
        for piece in text.chunks(size.max(1)) {
            reader.push(piece, &mut ledger);
        }
        reader.finish(&mut ledger);
        (ledger, reader.malformed)
    }

    #[rstest]
    #[case::plain("node_cpu_usage_seconds_total 1.5", 0)]
    #[case::with_time("node_cpu_usage_seconds_total 1.5 1000", 0)]
    #[case::empty_labels("node_cpu_usage_seconds_total{} 1.5 1000", 0)]
    #[case::tabs("node_cpu_usage_seconds_total\t1.5\t1000", 0)]
    #[case::trailing_comma(
        "container_start_time_seconds{pod=\"p\",namespace=\"n\",container=\"c\",} 1",
        0
    )]
    #[case::another_series("container_cpu_usage_seconds 1.5", 0)]
    #[case::comment("# node_cpu_usage_seconds_total", 0)]
    #[case::not_a_number("node_cpu_usage_seconds_total NaN 1000", 1)]
    #[case::infinite("node_cpu_usage_seconds_total +Inf 1000", 1)]
    #[case::negative("node_cpu_usage_seconds_total -1 1000", 1)]
    #[case::no_value("node_cpu_usage_seconds_total ", 1)]
    #[case::time_not_whole("node_cpu_usage_seconds_total 1 1000.5", 1)]
    #[case::too_many_words("node_cpu_usage_seconds_total 1 1000 x", 1)]
    #[case::open_labels("container_start_time_seconds{pod=\"p\" 1", 1)]
    #[case::open_quote("container_start_time_seconds{pod=\"p} 1", 1)]
    #[case::no_pod("container_start_time_seconds{namespace=\"n\",container=\"c\"} 1", 1)]
    fn a_line_is_understood_or_counted(#[case] line: &str, #[case] malformed: usize) {
        assert_eq!(read(line.as_bytes(), 7).1, malformed);
    }

    #[test]
    fn escapes_in_labels_are_undone() {
        let (value, rest) = quoted(r#"a\"b\\c\nd" rest"#).unwrap();
        assert_eq!((&*value, rest), ("a\"b\\c\nd", " rest"));
    }

    #[test]
    fn a_line_without_end_is_skipped_and_the_next_one_read() {
        let mut text = vec![b'n'; LONGEST_LINE * 3];
        text.extend_from_slice(b"\nnode_cpu_usage_seconds_total NaN\n");
        assert_eq!(read(&text, 1000).1, 1);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(size in 1_usize..200) {
            let whole = read(TEXT.as_bytes(), TEXT.len());
            let pieces = read(TEXT.as_bytes(), size);
            prop_assert_eq!(format!("{:?}", whole.0), format!("{:?}", pieces.0));
            prop_assert_eq!(pieces.1, 0);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000), size in 1_usize..64) {
            read(&bytes, size);
        }

        #[test]
        fn almost_right_text_is_survived(
            cut in 0_usize..600, with in "[{}\",=\\\\ 0-9a-z\n]{0,12}", size in 1_usize..64,
        ) {
            let mut text = TEXT.as_bytes().to_vec();
            let at = cut.min(text.len());
            text.splice(at..at, with.bytes());
            read(&text, size);
        }
    }
}
