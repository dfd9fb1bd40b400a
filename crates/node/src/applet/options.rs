//! Command-line options as the small Unix tools read them.

/// Options and operands, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    found: Vec<(String, Option<String>)>,
    /// What is no option.
    pub(super) operands: Vec<String>,
}

impl Options {
    /// Takes arguments apart. `with_value` lists options that take a value, `without` those that
    /// do not: single letters as `x`, long ones as `--long`.
    ///
    /// # Errors
    ///
    /// The option that is neither, or lacks its value.
    pub(super) fn parse(
        arguments: &[String],
        with_value: &[&str],
        without: &[&str],
    ) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                options.operands.extend(words.by_ref().cloned());
            } else if word.starts_with("--") {
                let (name, value) = match word.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (word.as_str(), None),
                };
                if with_value.contains(&name) {
                    let value = value.or_else(|| words.next().cloned());
                    let value = value.ok_or(format!("option '{name}' requires an argument"))?;
                    options.found.push((name.to_owned(), Some(value)));
                } else if without.contains(&name) {
                    options.found.push((name.to_owned(), None));
                } else {
                    return Err(format!("unrecognized option '{name}'"));
                }
            } else if word.len() > 1 && word.starts_with('-') {
                options.letters(word, &mut words, with_value, without)?;
            } else {
                options.operands.push(word.clone());
            }
        }
        Ok(options)
    }

    fn letters(
        &mut self,
        word: &str,
        words: &mut std::slice::Iter<'_, String>,
        with_value: &[&str],
        without: &[&str],
    ) -> Result<(), String> {
        let mut letters = word.chars().skip(1);
        while let Some(letter) = letters.next() {
            let name = letter.to_string();
            if with_value.contains(&name.as_str()) {
                let rest: String = letters.by_ref().collect();
                let value = if rest.is_empty() {
                    words.next().cloned()
                } else {
                    Some(rest)
                };
                let value = value.ok_or(format!("option requires an argument -- '{name}'"))?;
                self.found.push((name, Some(value)));
            } else if without.contains(&name.as_str()) {
                self.found.push((name, None));
            } else {
                return Err(format!("invalid option -- '{name}'"));
            }
        }
        Ok(())
    }

    /// Whether one of the names was given.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.found
            .iter()
            .any(|(found, _)| names.contains(&found.as_str()))
    }

    /// The last value given under one of the names.
    pub(super) fn value<'a>(&'a self, names: &'a [&'a str]) -> Option<&'a str> {
        self.values(names).last()
    }

    /// Every value given under one of the names, in order.
    pub(super) fn values<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.found
            .iter()
            .filter(|(found, _)| names.contains(&found.as_str()))
            .filter_map(|(_, value)| value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words, &["O", "T", "--header"], &["q", "S", "--spider"])
    }

    #[test]
    fn a_value_may_be_glued_to_its_letter() {
        let options = parse("-q -O- http://a").unwrap();
        assert!(options.has(&["q"]));
        assert_eq!(options.value(&["O"]), Some("-"));
        assert_eq!(options.operands, ["http://a"]);
    }

    #[test]
    fn letters_may_be_put_together() {
        let options = parse("-qSO out x").unwrap();
        assert!(options.has(&["S"]) && options.value(&["O"]) == Some("out"));
    }

    #[test]
    fn long_options_take_values_both_ways() {
        let options = parse("--header=a:b --header c:d").unwrap();
        assert_eq!(
            options.values(&["--header"]).collect::<Vec<_>>(),
            ["a:b", "c:d"]
        );
    }

    #[test]
    fn unknown_options_and_missing_values_are_errors() {
        assert!(parse("-Z").is_err());
        assert!(parse("--nope").is_err());
        assert!(parse("-T").is_err());
    }
}
