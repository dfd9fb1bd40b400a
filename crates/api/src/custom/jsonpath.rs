//! JSONPath as printer columns, scale paths and selectable fields use it.
//!
//! `.spec.a`, `['a']`, `[0]`, `[-1:]`, `[*]`, `..a`, `[?(@.type=="Ready")]`; a backslash makes the
//! next character part of a name.

use serde_json::Value;

/// Steps of a path, at most this many.
const MAX_STEPS: usize = 64;
/// Values a path may lead to, at most.
const MAX_FOUND: usize = 10_000;

/// A compiled path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Descend,
    Filter(Filter),
}

/// `@.left OP right`; without an operator the left must exist.
#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Vec<Step>,
    test: Option<(Operator, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    Path(Vec<Step>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a text is no JSONPath.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// A bracket or quote is not closed.
    #[error("unterminated {0}")]
    Unterminated(&'static str),
    /// Something that is not understood.
    #[error("unrecognized character in action: {0:?}")]
    Unexpected(String),
    /// The path is too long.
    #[error("too many steps")]
    TooLong,
}

impl JsonPath {
    /// Compiles a path; it may start with `$` or `@`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        let text = text.trim();
        let text = text.strip_prefix(['$', '@']).unwrap_or(text);
        let mut parser = Parser { rest: text };
        let steps = parser.steps()?;
        if parser.rest.is_empty() {
            Ok(Self(steps))
        } else {
            Err(JsonPathError::Unexpected(parser.rest.to_owned()))
        }
    }

    /// The names of a path that only goes from field to field.
    pub fn fields(&self) -> Option<Vec<String>> {
        let names = self.0.iter().map(|step| match step {
            Step::Field(name) => Some(name.clone()),
            Step::Index(_) | Step::Slice(..) | Step::All | Step::Descend | Step::Filter(_) => None,
        });
        names
            .collect::<Option<Vec<_>>>()
            .filter(|names| !names.is_empty())
    }

    /// What the path leads to, in order.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        follow(&self.0, value)
    }
}

fn follow<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    let mut here = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in here {
            take(step, value, &mut next);
            next.truncate(MAX_FOUND);
        }
        here = next;
    }
    here
}

fn take<'v>(step: &Step, value: &'v Value, out: &mut Vec<&'v Value>) {
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => out.extend(map.get(name)),
        (Step::Index(index), Value::Array(items)) => {
            out.extend(position(*index, items.len()).and_then(|i| items.get(i)));
        }
        (Step::Slice(from, to), Value::Array(items)) => {
            let bound = |index: i64| position(index, items.len()).unwrap_or(items.len());
            let (from, to) = (from.map_or(0, bound), to.map_or(items.len(), bound));
            out.extend(items.iter().take(to).skip(from));
        }
        (Step::All, Value::Array(items)) => out.extend(items),
        (Step::All, Value::Object(map)) => out.extend(map.values()),
        (Step::Descend, _) => descend(value, out),
        (Step::Filter(filter), Value::Array(items)) => {
            out.extend(items.iter().filter(|item| filter.accepts(item)));
        }
        (Step::Filter(filter), Value::Object(map)) => {
            out.extend(map.values().filter(|item| filter.accepts(item)));
        }
        // Fields are of objects and places of lists; nothing is below anything else.
        (_, _) => {}
    }
}

fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    if out.len() >= MAX_FOUND {
        return;
    }
    out.push(value);
    match value {
        Value::Array(items) => {
            for item in items {
                descend(item, out);
            }
        }
        Value::Object(map) => {
            for item in map.values() {
                descend(item, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The place of an index that may count from the end.
fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let place = if index < 0 { index + length } else { index };
    usize::try_from(place.max(0))
        .ok()
        .filter(|_| place >= 0 && place <= length)
}

impl Filter {
    fn accepts(&self, item: &Value) -> bool {
        let left = follow(&self.left, item);
        let Some(left) = left.first() else {
            return false;
        };
        match &self.test {
            None => true,
            Some((operator, Operand::Literal(right))) => operator.holds(left, right),
            Some((operator, Operand::Path(path))) => follow(path, item)
                .first()
                .is_some_and(|right| operator.holds(left, right)),
        }
    }
}

impl Operator {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ => (left == right).then_some(std::cmp::Ordering::Equal),
        };
        match self {
            Self::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
            Self::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
            Self::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn until(&mut self, end: char, what: &'static str) -> Result<&'t str, JsonPathError> {
        let (inside, rest) = self
            .rest
            .split_once(end)
            .ok_or(JsonPathError::Unterminated(what))?;
        self.rest = rest;
        Ok(inside)
    }

    fn steps(&mut self) -> Result<Vec<Step>, JsonPathError> {
        let mut steps = Vec::new();
        loop {
            if steps.len() > MAX_STEPS {
                return Err(JsonPathError::TooLong);
            }
            if self.eat("..") {
                steps.push(Step::Descend);
                self.field(&mut steps);
            } else if self.eat(".") {
                self.field(&mut steps);
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else if steps.is_empty() && self.rest.starts_with(name_start) {
                self.field(&mut steps);
            } else {
                return Ok(steps);
            }
        }
    }

    /// A name, or `*`; nothing before a bracket or the end.
    fn field(&mut self, steps: &mut Vec<Step>) {
        if self.eat("*") {
            steps.push(Step::All);
            return;
        }
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
                '.' | '[' | ']' | ')' | ' ' | '=' | '!' | '<' | '>' | '{' | '}' => {
                    end = at;
                    break;
                }
                _ => name.push(c),
            }
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        if !name.is_empty() {
            steps.push(Step::Field(name));
        }
    }

    fn bracket(&mut self) -> Result<Step, JsonPathError> {
        for quote in ['\'', '"'] {
            if self.rest.starts_with(quote) {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let name = self.until(quote, "quoted string")?.to_owned();
                let closed = self.eat("]");
                return if closed {
                    Ok(Step::Field(name))
                } else {
                    Err(JsonPathError::Unterminated("array"))
                };
            }
        }
        if self.eat("?(") {
            let filter = self.filter()?;
            return if self.eat(")]") {
                Ok(Step::Filter(filter))
            } else {
                Err(JsonPathError::Unterminated("filter"))
            };
        }
        let inside = self.until(']', "array")?.trim();
        let number = |text: &str| {
            let text = text.trim();
            text.parse::<i64>()
                .map_err(|_| JsonPathError::Unexpected(text.to_owned()))
        };
        if inside == "*" {
            return Ok(Step::All);
        }
        let Some((from, to)) = inside.split_once(':') else {
            return Ok(Step::Index(number(inside)?));
        };
        let bound = |text: &str| {
            let text = text.trim();
            (!text.is_empty()).then(|| number(text)).transpose()
        };
        Ok(Step::Slice(bound(from)?, bound(to)?))
    }

    fn filter(&mut self) -> Result<Filter, JsonPathError> {
        self.space();
        if !self.eat("@") {
            return Err(JsonPathError::Unexpected(self.rest.to_owned()));
        }
        let left = self.steps()?;
        self.space();
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let operator = operators.into_iter().find(|(text, _)| self.eat(text));
        let Some((_, operator)) = operator else {
            return Ok(Filter { left, test: None });
        };
        self.space();
        let operand = self.operand()?;
        self.space();
        let test = Some((operator, operand));
        Ok(Filter { left, test })
    }

    fn operand(&mut self) -> Result<Operand, JsonPathError> {
        if self.eat("@") {
            return Ok(Operand::Path(self.steps()?));
        }
        for (open, quote) in [("'", '\''), ("\"", '"')] {
            if self.eat(open) {
                return Ok(Operand::Literal(self.until(quote, "quoted string")?.into()));
            }
        }
        let end = self.rest.find([')', ' ']).unwrap_or(self.rest.len());
        let word = self.rest.get(..end).unwrap_or_default();
        self.rest = self.rest.get(end..).unwrap_or_default();
        let value = serde_json::from_str::<Value>(word);
        value
            .map(Operand::Literal)
            .map_err(|_| JsonPathError::Unexpected(word.to_owned()))
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

fn name_start(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(".spec.replicas", json!([3]))]
    #[case("spec.replicas", json!([3]))]
    #[case("$.spec.replicas", json!([3]))]
    #[case(".spec['replicas']", json!([3]))]
    #[case(".metadata.labels.app\\.kubernetes\\.io/name", json!(["web"]))]
    #[case(".metadata.labels['app.kubernetes.io/name']", json!(["web"]))]
    #[case(".status.conditions[?(@.type==\"Ready\")].status", json!(["True"]))]
    #[case(".status.conditions[?(@.type=='Ready')].status", json!(["True"]))]
    #[case(".status.conditions[?(@.type != 'Ready')].status", json!(["False"]))]
    #[case(".status.conditions[0].type", json!(["Ready"]))]
    #[case(".status.conditions[-1].type", json!(["Slow"]))]
    #[case(".status.conditions[-1:].type", json!(["Slow"]))]
    #[case(".status.conditions[0:1].type", json!(["Ready"]))]
    #[case(".status.conditions[*].type", json!(["Ready", "Slow"]))]
    #[case(".status.conditions[?(@.n > 1)].type", json!(["Slow"]))]
    #[case(".status.conditions[?(@.reason)].type", json!(["Slow"]))]
    #[case("..status", json!([{"conditions": [
        {"type": "Ready", "status": "True", "n": 1},
        {"type": "Slow", "status": "False", "n": 2, "reason": "x"}]}, "True", "False"]))]
    #[case(".spec.absent.deeper", json!([]))]
    #[case(".spec.replicas.deeper", json!([]))]
    fn paths_find_what_they_name(#[case] path: &str, #[case] want: Value) {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
            "spec": {"replicas": 3},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1},
                {"type": "Slow", "status": "False", "n": 2, "reason": "x"},
            ]},
        });
        let got = JsonPath::parse(path).unwrap();
        assert_eq!(json!(got.find(&object)), want);
    }

    #[rstest]
    #[case(".spec[")]
    #[case(".spec['a")]
    #[case(".spec[?(@.a==]")]
    #[case(".spec[x]")]
    #[case(".spec]")]
    fn broken_paths_are_refused(#[case] path: &str) {
        assert!(JsonPath::parse(path).is_err());
    }

    #[rstest]
    #[case(".spec.replicas", Some(vec!["spec", "replicas"]))]
    #[case(".spec.list[0]", None)]
    #[case(".", None)]
    fn only_plain_paths_have_fields(#[case] path: &str, #[case] want: Option<Vec<&str>>) {
        let got = JsonPath::parse(path).unwrap().fields();
        assert_eq!(
            got.as_deref(),
            want.map(|w| w.iter().map(ToString::to_string).collect::<Vec<_>>())
                .as_deref()
        );
    }
}
