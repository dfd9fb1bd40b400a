//! Property names as identifiers.

/// Words that are syntax.
const SYNTAX: &[&str] = &["true", "false", "null", "in"];

/// Words that may become syntax one day.
pub(crate) const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name expressions use for a JSON property: `foo-bar` is `foo__dash__bar`, `namespace` is
/// `__namespace__`. Names that start with a digit or hold other characters have none and stay as
/// they are, which no identifier can equal.
///
/// ```
/// assert_eq!(plimsoll_cel::escape("x-prop.one"), "x__dash__prop__dot__one");
/// assert_eq!(plimsoll_cel::escape("redact__d"), "redact__underscores__d");
/// ```
pub fn escape(name: &str) -> String {
    if SYNTAX.contains(&name) || RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '_' if rest.peek() == Some(&'_') => {
                rest.next();
                escaped.push_str("__underscores__");
            }
            '.' => escaped.push_str("__dot__"),
            '-' => escaped.push_str("__dash__"),
            '/' => escaped.push_str("__slash__"),
            other => escaped.push(other),
        }
    }
    escaped
}
