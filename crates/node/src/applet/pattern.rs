//! Simple patterns: letters, `.`, `[…]`, `*`, `^`, `$` and `\` before any of them.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    start: bool,
    end: bool,
    atoms: Vec<(Atom, Times)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Atom {
    Letter(char),
    Any,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Any,
}

impl Pattern {
    /// Letters that stand for themselves only.
    pub(super) fn fixed(text: &str) -> Self {
        let atoms = text
            .chars()
            .map(|letter| (Atom::Letter(letter), Times::Once))
            .collect();
        Self {
            start: false,
            end: false,
            atoms,
        }
    }

    /// Reads a pattern; what makes no sense stands for itself.
    pub(super) fn parse(text: &str) -> Self {
        let start = text.starts_with('^');
        let text = text.strip_prefix('^').unwrap_or(text);
        let end = text.ends_with('$') && !text.ends_with("\\$");
        let text = if end {
            text.strip_suffix('$').unwrap_or(text)
        } else {
            text
        };
        let mut atoms: Vec<(Atom, Times)> = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let atom = match letter {
                '*' => {
                    match atoms.last_mut() {
                        Some((_, times)) => *times = Times::Any,
                        None => atoms.push((Atom::Letter('*'), Times::Once)),
                    }
                    continue;
                }
                '.' => Atom::Any,
                '\\' => Atom::Letter(letters.next().unwrap_or('\\')),
                '[' => match letters.as_str().split_once(']') {
                    Some((set, rest)) if !set.is_empty() => {
                        letters = rest.chars();
                        parse_set(set)
                    }
                    _ => Atom::Letter('['),
                },
                other => Atom::Letter(other),
            };
            atoms.push((atom, Times::Once));
        }
        Self { start, end, atoms }
    }

    /// Whether a line holds the pattern.
    pub(super) fn finds(&self, line: &str) -> bool {
        let letters: Vec<char> = line.chars().collect();
        let starts = if self.start { 0..=0 } else { 0..=letters.len() };
        starts.into_iter().any(|from| {
            // Every position that can be reached after each atom: no backtracking, no surprises.
            let mut reached = vec![from];
            for (atom, times) in &self.atoms {
                reached = step(atom, *times, &letters, &reached);
            }
            if self.end {
                reached.contains(&letters.len())
            } else {
                !reached.is_empty()
            }
        })
    }
}

fn step(atom: &Atom, times: Times, letters: &[char], from: &[usize]) -> Vec<usize> {
    let mut to = Vec::new();
    for &at in from {
        let mut at = at;
        loop {
            if times == Times::Any && !to.contains(&at) {
                to.push(at);
            }
            if !letters.get(at).is_some_and(|letter| atom.takes(*letter)) {
                break;
            }
            at += 1;
            if times == Times::Once {
                if !to.contains(&at) {
                    to.push(at);
                }
                break;
            }
        }
    }
    to
}

impl Atom {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Letter(own) => *own == letter,
            Self::Any => true,
            Self::Set { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&letter))
                    != *negated
            }
        }
    }
}

fn parse_set(text: &str) -> Atom {
    let negated = text.starts_with('^');
    let letters: Vec<char> = text.strip_prefix('^').unwrap_or(text).chars().collect();
    let mut ranges = Vec::new();
    let mut rest = letters.as_slice();
    loop {
        match rest {
            [low, '-', high, tail @ ..] => {
                ranges.push((*low, *high));
                rest = tail;
            }
            [one, tail @ ..] => {
                ranges.push((*one, *one));
                rest = tail;
            }
            [] => return Atom::Set { negated, ranges },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("OK", "it is OK!", true)]
    #[case("^OK", "it is OK!", false)]
    #[case("OK.$", "it is OK!", true)]
    #[case("a.*c", "xabbbc", true)]
    #[case("ab*c", "ac", true)]
    #[case("[0-9][0-9]*m", "200m", true)]
    #[case("[^a-z]", "abc", false)]
    #[case(r"1\.2", "1x2", false)]
    #[case("", "", true)]
    #[case("*a", "b*a", true)]
    fn patterns_find(#[case] pattern: &str, #[case] line: &str, #[case] found: bool) {
        assert_eq!(Pattern::parse(pattern).finds(line), found);
    }

    proptest! {
        #[test]
        fn no_pattern_panics_and_a_fixed_one_finds_itself(text in ".{0,20}", line in ".{0,20}") {
            let _either = Pattern::parse(&text).finds(&line);
            let joined = format!("{line}{text}{line}");
            prop_assert!(Pattern::fixed(&text).finds(&joined));
        }
    }
}
