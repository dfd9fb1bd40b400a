//! The part of Go's text templates that rules are written in.
//!
//! Delimiters are `<<` and `>>` (with `-` to trim space). There are fields, `index`, pipelines,
//! parentheses, string and number literals, `if`/`else`, `range`, `with`, and the functions `print`,
//! `printf`, `len`, `eq`, `ne`, `not`, `and`, `or`. Whatever else Go has is an error that says where.

mod parse;
mod run;

pub(super) use parse::parse;
use std::collections::BTreeMap;

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template(Vec<Node>);

/// A value while a template runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

/// What is wrong, and at which character (from 1) of the template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {why}")]
pub(super) struct TemplateError {
    pub(super) position: usize,
    pub(super) why: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Print(Pipeline),
    /// `if`, `with`: the branch, and the other one.
    Choice(Choice, Pipeline, Vec<Node>, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    If,
    With,
    Range,
}

/// Commands, each of which gets the value of the one before as its last argument.
type Pipeline = Vec<Command>;

#[derive(Debug, Clone, PartialEq)]
struct Command {
    position: usize,
    /// A function and its arguments, or one operand.
    words: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    /// `.A.B`; empty for `.`.
    Field(Vec<String>),
    /// `$.A.B`.
    Root(Vec<String>),
    Literal(Value),
    Function(Function),
    Nested(Pipeline),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Index,
    Print,
    Printf,
    Len,
    Eq,
    Ne,
    Not,
    And,
    Or,
}

const FUNCTIONS: [(&str, Function); 9] = [
    ("index", Function::Index),
    ("print", Function::Print),
    ("printf", Function::Printf),
    ("len", Function::Len),
    ("eq", Function::Eq),
    ("ne", Function::Ne),
    ("not", Function::Not),
    ("and", Function::And),
    ("or", Function::Or),
];

impl Template {
    /// Fills the template in.
    ///
    /// # Errors
    /// [`TemplateError`] for what only shows with values, such as a field that does not exist.
    pub(super) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        let mut out = String::new();
        run::nodes(
            &self.0,
            run::Scope {
                root: data,
                dot: data,
            },
            &mut out,
        )?;
        Ok(out)
    }
}

impl Value {
    /// A map from names to values.
    pub(super) fn map<const N: usize>(entries: [(&str, Value); N]) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Self::Map(entries.collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, parse};
    use proptest::prelude::*;
    use rstest::rstest;

    fn data() -> Value {
        Value::map([
            ("Series", "http_requests_total".into()),
            ("LabelMatchers", r#"namespace="a",pod=~"x|y""#.into()),
            (
                "LabelValuesByName",
                Value::map([("namespace", "a".into()), ("pod", "x|y".into())]),
            ),
            ("GroupBy", "pod,code".into()),
            (
                "GroupBySlice",
                Value::List(vec!["pod".into(), "code".into()]),
            ),
        ])
    }

    #[rstest]
    #[case(
        "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)",
        r#"sum(rate(http_requests_total{namespace="a",pod=~"x|y"}[2m])) by (pod,code)"#
    )]
    #[case(r#"<<index .LabelValuesByName "namespace">>"#, "a")]
    #[case("<<index .LabelValuesByName `namespace`>>", "a")]
    #[case(r#"<<index .LabelValuesByName "absent">>"#, "")]
    #[case("<<.LabelValuesByName.pod>>", "x|y")]
    #[case("<<index .GroupBySlice 1>>", "code")]
    #[case(
        r#"<<.Series | printf "%s_%q" .GroupBy>>"#,
        r#"pod,code_"http_requests_total""#
    )]
    #[case(r#"<<printf "%v" (index .GroupBySlice 0)>>"#, "pod")]
    #[case("a <<- .Series ->> b", "ahttp_requests_totalb")]
    #[case("a<</* a comment */>>b", "ab")]
    #[case(r#"<<if eq .Series "x">>1<<else if .GroupBy>>2<<else>>3<<end>>"#, "2")]
    #[case(
        "<<range .GroupBySlice>>[<<.>>/<<$.Series>>]<<end>>",
        "[pod/http_requests_total][code/http_requests_total]"
    )]
    #[case("<<with .GroupBy>><<.>>!<<else>>none<<end>>", "pod,code!")]
    #[case("<<len .GroupBySlice>>", "2")]
    #[case("<<.GroupBySlice>>", "[pod code]")]
    #[case(
        "<<not .Series>> <<and .Series 0>> <<or .Series 0>>",
        "false 0 http_requests_total"
    )]
    #[case("no action > here", "no action > here")]
    fn templates_render_as_in_go(#[case] text: &str, #[case] want: &str) {
        let got = parse(text).and_then(|template| template.render(&data()));
        assert_eq!(got.as_deref(), Ok(want));
    }

    #[rstest]
    #[case("abc<<.Series", 4, "unclosed action")]
    #[case("a<<toUpper .Series>>", 4, r#"function "toUpper" not defined"#)]
    #[case("<<if .Series>>x", 1, "unexpected end: <<if>> without <<end>>")]
    #[case("x<<end>>", 2, "unexpected <<end>>")]
    #[case("<<.Nothing>>", 3, "there is no field Nothing")]
    #[case("<<$x := .Series>>", 3, "variables are not supported")]
    #[case("<<>>", 3, "missing value for command")]
    #[case(r#"<<index .LabelValuesByName "a>>"#, 28, "unterminated quoted string")]
    #[case("<<(.Series>>", 3, "unclosed left paren")]
    #[case("<<.Series .GroupBy>>", 3, "can't give argument to non-function")]
    #[case("<<index .GroupBySlice 7>>", 3, "index out of range: 7")]
    #[case("<<template \"x\">>", 3, "<<template>> is not supported")]
    fn faults_say_where_they_are(#[case] text: &str, #[case] position: usize, #[case] why: &str) {
        let got = parse(text).and_then(|template| template.render(&data()));
        let error = got.unwrap_err();
        assert_eq!((error.position, error.why.as_str()), (position, why));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "(<<|>>|[-.|()$\"`%a-z 0-9\u{e9}]|if |end|range |index ){0,12}") {
            drop(parse(&text).and_then(|template| template.render(&data())));
        }

        #[test]
        fn text_without_actions_stays(text in "[^<>]{0,40}") {
            prop_assert_eq!(parse(&text).unwrap().render(&data()).unwrap(), text);
        }
    }
}
