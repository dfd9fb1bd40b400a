//! What is said about a request beside its answer.

use parking_lot::Mutex;

/// Collects it: warnings for the caller, annotations for the audit log.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    warnings: Mutex<Vec<String>>,
    annotations: Mutex<Vec<(String, String)>>,
}

impl Remarks {
    /// Adds `Warning` headers to the answer.
    pub(crate) fn warn(&self, texts: impl IntoIterator<Item = String>) {
        self.warnings.lock().extend(texts);
    }

    /// Adds an annotation to the audit event; of several with one key, the first counts.
    pub(crate) fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        self.annotations.lock().push((key.into(), value.into()));
    }

    /// The warnings and the annotations.
    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<(String, String)>) {
        (self.warnings.into_inner(), self.annotations.into_inner())
    }
}
