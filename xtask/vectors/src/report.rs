//! What came out, for people and for programs.

use crate::differ::{Difference, Outcome};
use serde::Serialize;

/// A vector that is not as recorded.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// The vector's id.
    pub(crate) id: String,
    /// What differs.
    pub(crate) differences: Vec<Difference>,
    /// Our way to the answer, one sentence a step.
    pub(crate) trace: Vec<String>,
}

/// One file's vectors.
#[derive(Debug, Serialize)]
pub(crate) struct FileReport {
    /// Folder and name.
    pub(crate) file: String,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Why they are skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) failures: Vec<Failure>,
}

/// All files.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) files: Vec<FileReport>,
}

impl FileReport {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            passed: 0,
            failed: 0,
            skipped: 0,
            reason: None,
            failures: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, id: &str, outcome: Outcome) {
        if outcome.differences.is_empty() {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        self.failures.push(Failure {
            id: id.to_owned(),
            differences: outcome.differences,
            trace: outcome.trace,
        });
    }

    fn lines(&self) -> Vec<String> {
        let counts = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let mut lines = vec![format!("{}: {}", self.file, counts.join(", "))];
        for failure in &self.failures {
            for difference in &failure.differences {
                let Difference { field, wanted, got } = difference;
                lines.push(format!(
                    "  {} {field}: wanted {wanted}, got {got}",
                    failure.id
                ));
            }
            let steps = failure.trace.iter();
            lines.extend(steps.map(|sentence| format!("    {sentence}")));
        }
        lines
    }
}

impl Report {
    pub(crate) fn push(&mut self, file: FileReport) {
        self.passed += file.passed;
        self.failed += file.failed;
        self.skipped += file.skipped;
        self.files.push(file);
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// The report for people: what ran file by file, what did not folder by folder.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut index = 0;
        while let Some(file) = self.files.get(index) {
            let Some(reason) = &file.reason else {
                lines.extend(file.lines());
                index += 1;
                continue;
            };
            let rest = self.files.iter().skip(index);
            let same: Vec<&FileReport> = rest
                .take_while(|other| other.reason.as_ref() == Some(reason))
                .collect();
            let vectors: usize = same.iter().map(|file| file.skipped).sum();
            let folder = file.file.split('/').next().unwrap_or_default();
            lines.push(format!(
                "{folder}: {vectors} skipped in {} files: {reason}",
                same.len()
            ));
            index += same.len();
        }
        let Self {
            passed,
            failed,
            skipped,
            ..
        } = self;
        lines.push(format!(
            "{passed} passed, {failed} failed, {skipped} skipped"
        ));
        lines
    }
}
