//! What was said last, so that the same is not said again.

/// Remembers one text.
#[derive(Debug, Default)]
pub(crate) struct Said(String);

impl Said {
    /// Whether this is other than what was said last. It counts as said then.
    pub(crate) fn is_news(&mut self, text: &str) -> bool {
        let news = self.0 != text;
        if news {
            text.clone_into(&mut self.0);
        }
        news
    }

    /// What was said is over: the next time it is news.
    pub(crate) fn is_over(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::Said;

    #[test]
    fn the_same_is_said_again_only_when_it_was_over() {
        let mut said = Said::default();
        assert_eq!(
            ["a", "a", "b", "a"].map(|text| said.is_news(text)),
            [true, false, true, true]
        );
        said.is_over();
        assert!(said.is_news("a"));
    }
}
