//! Where in an object a check is, written out only when something is wrong there.

use std::fmt::Write;

/// One step from an object to a part of it.
#[derive(Debug, Clone, Copy)]
enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// A path as a chain of borrowed steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

impl<'a> Path<'a> {
    /// The object itself.
    pub(super) const ROOT: Path<'static> = Path {
        parent: None,
        segment: Segment::Key(""),
    };

    /// A path that starts with text.
    pub(super) fn from_text(text: &'a str) -> Self {
        Self {
            parent: None,
            segment: Segment::Key(text),
        }
    }

    pub(super) fn key(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            segment: Segment::Key(name),
        }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }

    /// `spec.items[0].name`.
    pub(super) fn text(&self) -> String {
        let mut text = self.parent.map(Path::text).unwrap_or_default();
        match self.segment {
            Segment::Key(name) => {
                if !text.is_empty() && !name.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Segment::Index(index) => write!(text, "[{index}]").unwrap_or_default(),
        }
        text
    }
}
