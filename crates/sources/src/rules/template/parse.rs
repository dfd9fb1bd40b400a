//! From text to a tree.

use super::{Choice, Command, FUNCTIONS, Node, Operand, Pipeline, Template, TemplateError, Value};

/// Parses a template.
///
/// # Errors
/// [`TemplateError`].
pub(in super::super) fn parse(text: &str) -> Result<Template, TemplateError> {
    let pieces = split(text)?;
    let mut reader = Reader {
        pieces: pieces.into_iter().peekable(),
    };
    let nodes = reader.nodes()?;
    match reader.pieces.next() {
        Some(Piece::Action(action)) => {
            let word = action.word();
            Err(action.fail(0, format!("unexpected <<{word}>>")).at_open())
        }
        Some(Piece::Text(_)) | None => Ok(Template(nodes)),
    }
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Action(Action),
}

/// What stands between delimiters, and at which character it begins.
#[derive(Debug)]
struct Action {
    text: Vec<char>,
    begin: usize,
}

impl Action {
    fn word(&self) -> String {
        self.text
            .iter()
            .take_while(|c| c.is_alphanumeric())
            .collect()
    }

    fn fail(&self, at: usize, why: impl Into<String>) -> TemplateError {
        TemplateError {
            position: self.begin + at + 1,
            why: why.into(),
        }
    }
}

impl TemplateError {
    /// Points at the opening delimiter instead of what follows it.
    fn at_open(mut self) -> Self {
        self.position = self.position.saturating_sub(2).max(1);
        self
    }
}

/// Splits text and actions, trims space where actions say so, and drops comments.
fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let (mut rest, mut offset, mut trim) = (text, 0, false);
    while let Some((before, after)) = rest.split_once("<<") {
        let open = offset + before.chars().count();
        let Some((inside, behind)) = after.split_once(">>") else {
            return Err(TemplateError {
                position: open + 1,
                why: "unclosed action".to_owned(),
            });
        };
        let mut shown = if trim { before.trim_start() } else { before };
        let inner = inside
            .strip_prefix("- ")
            .or_else(|| inside.strip_prefix('-'));
        let opening = if inner.is_some() {
            shown = shown.trim_end();
            inner.unwrap_or_default()
        } else {
            inside
        };
        let closing = opening.strip_suffix('-');
        trim = closing.is_some();
        let code = closing.unwrap_or(opening);
        if !shown.is_empty() {
            pieces.push(Piece::Text(shown.to_owned()));
        }
        let begin = open + 2 + inside.chars().count() - opening.chars().count();
        let leading = code.chars().take_while(|c| c.is_whitespace()).count();
        let code = code.trim();
        if !(code.starts_with("/*") && code.ends_with("*/")) {
            pieces.push(Piece::Action(Action {
                text: code.chars().collect(),
                begin: begin + leading,
            }));
        }
        offset = open + 4 + inside.chars().count();
        rest = behind;
    }
    let shown = if trim { rest.trim_start() } else { rest };
    if !shown.is_empty() {
        pieces.push(Piece::Text(shown.to_owned()));
    }
    Ok(pieces)
}

struct Reader {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
}

/// Deepest nesting of `if`, `range` and `with`, and of parentheses.
const DEEPEST: usize = 50;

impl Reader {
    fn nodes(&mut self) -> Result<Vec<Node>, TemplateError> {
        self.block(0)
    }

    /// Reads up to an `else`, an `end` or the end of the text.
    fn block(&mut self, depth: usize) -> Result<Vec<Node>, TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next_if(|piece| match piece {
            Piece::Text(_) => true,
            Piece::Action(action) => !matches!(action.word().as_str(), "else" | "end"),
        }) {
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let word = action.word();
            let choice = match word.as_str() {
                "if" => Choice::If,
                "with" => Choice::With,
                "range" => Choice::Range,
                "template" | "block" | "define" | "break" | "continue" => {
                    return Err(action.fail(0, format!("<<{word}>> is not supported")));
                }
                _ => {
                    nodes.push(Node::Print(pipeline(&action, 0)?));
                    continue;
                }
            };
            nodes.push(self.choice(choice, &action, word.len(), depth)?);
        }
        Ok(nodes)
    }

    fn choice(
        &mut self,
        choice: Choice,
        action: &Action,
        from: usize,
        depth: usize,
    ) -> Result<Node, TemplateError> {
        if depth >= DEEPEST {
            return Err(action.fail(0, "nested too deeply"));
        }
        let condition = pipeline(action, from)?;
        let then = self.block(depth + 1)?;
        let open = |word: &str| {
            let why = format!("unexpected end: <<{word}>> without <<end>>");
            action.fail(0, why).at_open()
        };
        let Some(Piece::Action(next)) = self.pieces.next() else {
            return Err(open(&action.word()));
        };
        if next.word() == "end" {
            return Ok(Node::Choice(choice, condition, then, Vec::new()));
        }
        let rest: String = next.text.iter().skip(4).collect();
        let again = rest.trim_start();
        let otherwise = if again.starts_with("if") {
            let skipped = next.text.len() - again.chars().count();
            vec![self.choice(Choice::If, &next, skipped + 2, depth + 1)?]
        } else if again.is_empty() {
            let otherwise = self.block(depth + 1)?;
            let Some(Piece::Action(end)) = self.pieces.next() else {
                return Err(open(&action.word()));
            };
            if end.word() != "end" {
                return Err(end.fail(0, "unexpected <<else>>"));
            }
            otherwise
        } else {
            return Err(next.fail(0, "unexpected text behind else"));
        };
        Ok(Node::Choice(choice, condition, then, otherwise))
    }
}

/// Reads the pipeline of an action from a character on.
fn pipeline(action: &Action, from: usize) -> Result<Pipeline, TemplateError> {
    let mut words = Words {
        action,
        at: from,
        depth: 0,
    };
    let read = words.pipeline()?;
    if words.peek().is_some() {
        return Err(action.fail(words.at, "unexpected right paren"));
    }
    Ok(read)
}

struct Words<'a> {
    action: &'a Action,
    at: usize,
    depth: usize,
}

impl Words<'_> {
    fn peek(&self) -> Option<char> {
        self.action.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            taken.push(c);
            self.at += 1;
        }
        taken
    }

    /// Reads commands up to a closing parenthesis or the end.
    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let mut commands = Vec::new();
        loop {
            commands.push(self.command()?);
            self.skip_space();
            if self.peek() != Some('|') {
                return Ok(commands);
            }
            self.at += 1;
        }
    }

    fn command(&mut self) -> Result<Command, TemplateError> {
        self.skip_space();
        let position = self.action.begin + self.at + 1;
        let mut words = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None | Some('|' | ')') => break,
                Some(_) => words.push(self.operand()?),
            }
        }
        let why = match words.as_slice() {
            [] => "missing value for command",
            [Operand::Function(_), ..] | [_] => return Ok(Command { position, words }),
            [_, _, ..] => "can't give argument to non-function",
        };
        Err(TemplateError {
            position,
            why: why.to_owned(),
        })
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let start = self.at;
        let fail = |why: String| self.action.fail(start, why);
        match self.peek() {
            Some('.') => Ok(Operand::Field(self.fields())),
            Some('$') => {
                self.at += 1;
                if self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    return Err(fail("variables are not supported".to_owned()));
                }
                Ok(Operand::Root(self.fields()))
            }
            Some('"' | '`') => self.quoted(),
            Some('(') => self.nested(),
            Some(c) if c.is_ascii_digit() || c == '-' => {
                let text = self.take_while(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
                let number = text
                    .parse()
                    .map_err(|_| fail(format!("bad number {text:?}")))?;
                Ok(Operand::Literal(Value::Number(number)))
            }
            Some(c) if c.is_alphabetic() => {
                let word = self.take_while(|c| c.is_alphanumeric() || c == '_');
                let known = FUNCTIONS.iter().find(|(name, _)| *name == word);
                match (known, word.as_str()) {
                    (Some((_, function)), _) => Ok(Operand::Function(*function)),
                    (None, "true" | "false") => Ok(Operand::Literal(Value::Bool(word == "true"))),
                    (None, _) => Err(fail(format!("function {word:?} not defined"))),
                }
            }
            other => {
                let shown = other.unwrap_or(' ');
                Err(fail(format!("unexpected {shown:?} in action")))
            }
        }
    }

    /// `.A.B`, with the first dot next.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while self.peek() == Some('.') {
            self.at += 1;
            let name = self.take_while(|c| c.is_alphanumeric() || c == '_');
            if name.is_empty() {
                break;
            }
            fields.push(name);
        }
        fields
    }

    fn nested(&mut self) -> Result<Operand, TemplateError> {
        let start = self.at;
        if self.depth >= DEEPEST {
            return Err(self.action.fail(start, "nested too deeply"));
        }
        (self.at, self.depth) = (self.at + 1, self.depth + 1);
        let inner = self.pipeline()?;
        self.depth -= 1;
        self.skip_space();
        if self.peek() != Some(')') {
            return Err(self.action.fail(start, "unclosed left paren"));
        }
        self.at += 1;
        Ok(Operand::Nested(inner))
    }

    fn quoted(&mut self) -> Result<Operand, TemplateError> {
        let start = self.at;
        let fail = || self.action.fail(start, "unterminated quoted string");
        let quote = self.peek().ok_or_else(fail)?;
        let mut text = String::new();
        let mut rest = self.action.text.iter().skip(start + 1);
        let mut length = 1;
        loop {
            let c = *rest.next().ok_or_else(fail)?;
            length += 1;
            if c == quote {
                break;
            }
            if c != '\\' || quote == '`' {
                text.push(c);
                continue;
            }
            length += 1;
            match *rest.next().ok_or_else(fail)? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                plain @ ('"' | '\\' | '\'') => text.push(plain),
                other => {
                    let why = format!("unknown escape \\{other}");
                    return Err(self.action.fail(start + length - 1, why));
                }
            }
        }
        self.at = start + length;
        Ok(Operand::Literal(Value::Text(text)))
    }
}
