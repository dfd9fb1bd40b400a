//! Tokens into trees: precedence climbing, with macros expanded on the way.

mod macros;

use crate::ast::{Call, Element, Entry, Expr, ExprKind, Field, Literal};
use crate::error::{CompileError, Issue};
use crate::escape::RESERVED;
use crate::lex::{self, Kind, Mistake, Token};
use crate::library;

/// Levels an expression may nest; keeps every recursion over it within a small stack.
const MAX_DEPTH: u16 = 200;
/// Characters of the longest expression.
const MAX_LENGTH: usize = 100_000;
/// What may start an operand, as the grammar's own error lists it.
const OPERAND: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, \
                       NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// The tree of an expression.
pub(crate) fn parse(text: &str) -> Result<Expr, CompileError> {
    expression(text).map_err(|mistake| CompileError {
        issues: vec![issue(text, mistake)],
    })
}

/// A mistake with its line and column.
pub(crate) fn issue(text: &str, (at, message): Mistake) -> Issue {
    let mut left = usize::try_from(at).unwrap_or(usize::MAX);
    let mut lines = text.split('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let length = line.chars().count();
        if left <= length || lines.peek().is_none() {
            let source_line = line.replace('\t', " ");
            return Issue {
                line: number + 1,
                column: left + 1,
                message,
                source_line,
            };
        }
        left -= length + 1;
    }
    Issue {
        line: 1,
        column: 1,
        message,
        source_line: String::new(),
    }
}

fn expression(text: &str) -> Result<Expr, Mistake> {
    let length = text.chars().count();
    if length > MAX_LENGTH {
        let message =
            format!("expression code point size exceeds limit: size: {length}, limit {MAX_LENGTH}");
        return Err((0, message));
    }
    let mut parser = Parser {
        tokens: lex::tokens(text)?,
        next: 0,
        depth: 0,
    };
    let expr = parser.expr()?;
    let rest = parser.peek();
    if rest.kind == Kind::End {
        return Ok(expr);
    }
    let text = &rest.text;
    Err((
        rest.at,
        format!("Syntax error: extraneous input '{text}' expecting <EOF>"),
    ))
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: u16,
}

/// The token after the last one.
static END: Token = Token {
    kind: Kind::End,
    at: 0,
    text: String::new(),
};

impl Parser {
    fn peek(&self) -> &Token {
        // The last token is the end, and nothing moves past it.
        self.tokens
            .get(self.next)
            .or(self.tokens.last())
            .unwrap_or(&END)
    }

    fn sees(&self, punct: &str) -> bool {
        matches!(self.peek().kind, Kind::Punct(p) if p == punct)
    }

    /// Takes the punctuation if it is next; where it was.
    fn take(&mut self, punct: &str) -> Option<u32> {
        let at = self.peek().at;
        self.sees(punct).then(|| {
            self.next += 1;
            at
        })
    }

    fn must(&mut self, punct: &str) -> Result<u32, Mistake> {
        let (at, text) = (self.peek().at, self.peek().text.clone());
        self.take(punct)
            .ok_or_else(|| (at, format!("Syntax error: missing '{punct}' at '{text}'")))
    }

    fn node(at: u32, kind: ExprKind) -> Result<Expr, Mistake> {
        let expr = Expr::new(at, kind);
        if expr.depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(expr)
    }

    fn call(at: u32, name: &str, args: Vec<Expr>) -> Result<Expr, Mistake> {
        let (function, name) = (library::function(name), name.to_owned());
        Self::node(
            at,
            ExprKind::Call(Call {
                name,
                member: false,
                function,
                args,
            }),
        )
    }

    fn expr(&mut self) -> Result<Expr, Mistake> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.peek().at));
        }
        let condition = self.binary(0)?;
        let expr = match self.take("?") {
            None => condition,
            Some(at) => {
                let yes = self.binary(0)?;
                self.must(":")?;
                let no = self.expr()?;
                Self::node(at, ExprKind::Ternary(Box::new([condition, yes, no])))?
            }
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// The operator that comes next: its power and the function it stands for.
    fn operator(&self) -> Option<(u8, &'static str)> {
        Some(match &self.peek().kind {
            Kind::Ident(word) if word == "in" => (2, "@in"),
            Kind::Punct("||") => (0, "_||_"),
            Kind::Punct("&&") => (1, "_&&_"),
            Kind::Punct("==") => (2, "_==_"),
            Kind::Punct("!=") => (2, "_!=_"),
            Kind::Punct("<") => (2, "_<_"),
            Kind::Punct("<=") => (2, "_<=_"),
            Kind::Punct(">") => (2, "_>_"),
            Kind::Punct(">=") => (2, "_>=_"),
            Kind::Punct("+") => (3, "_+_"),
            Kind::Punct("-") => (3, "_-_"),
            Kind::Punct("*") => (4, "_*_"),
            Kind::Punct("/") => (4, "_/_"),
            Kind::Punct("%") => (4, "_%_"),
            _ => return None,
        })
    }

    fn binary(&mut self, power: u8) -> Result<Expr, Mistake> {
        let mut left = self.unary()?;
        while let Some((own, name)) = self.operator().filter(|(own, _)| *own >= power) {
            let at = self.peek().at;
            self.next += 1;
            let right = self.binary(own + 1)?;
            left = match name {
                "_||_" => Self::node(at, ExprKind::Or(flat(left, right, is_or)))?,
                "_&&_" => Self::node(at, ExprKind::And(flat(left, right, is_and)))?,
                name => Self::call(at, name, vec![left, right])?,
            };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Mistake> {
        let mut signs = Vec::new();
        while let Some((at, name)) = self
            .take("!")
            .map(|at| (at, "!_"))
            .or_else(|| self.take("-").map(|at| (at, "-_")))
        {
            let literal = match &self.peek().kind {
                Kind::Int(n) => Some(Literal::Int(0_i64.wrapping_sub_unsigned(*n))),
                Kind::Double(n) => Some(Literal::Double(-n)),
                _ => None,
            };
            if let Some(literal) = literal.filter(|_| name == "-_") {
                self.next += 1;
                let number = Self::node(at, ExprKind::Literal(literal))?;
                let operand = self.members(number)?;
                return wrap(signs, operand);
            }
            signs.push((at, name));
        }
        let primary = self.primary()?;
        let operand = self.members(primary)?;
        wrap(signs, operand)
    }

    fn members(&mut self, mut operand: Expr) -> Result<Expr, Mistake> {
        loop {
            if let Some(at) = self.take(".") {
                let optional = self.take("?").is_some();
                operand = self.member(operand, at, optional)?;
            } else if let Some(at) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expr()?;
                self.must("]")?;
                let name = if optional { "_[?_]" } else { "_[_]" };
                operand = Self::call(at, name, vec![operand, index])?;
            } else if self.sees("{") && dotted(&operand).is_some() {
                operand = self.structure(&operand)?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn member(&mut self, operand: Expr, at: u32, optional: bool) -> Result<Expr, Mistake> {
        let token = self.peek().clone();
        let field = match token.kind {
            Kind::Ident(name) if !["in", "true", "false", "null"].contains(&name.as_str()) => name,
            Kind::Quoted(name) => name,
            _ => {
                let (at, text) = (token.at, token.text);
                let message = format!("Syntax error: no viable alternative at input '.{text}'");
                return Err((at, message));
            }
        };
        self.next += 1;
        if optional || !self.sees("(") {
            let operand = Box::new(operand);
            return Self::node(
                at,
                ExprKind::Select {
                    operand,
                    field,
                    optional,
                },
            );
        }
        let at = self.must("(")?;
        let args = self.list(")")?;
        Self::method(operand, at, (&field, args))
    }

    fn primary(&mut self) -> Result<Expr, Mistake> {
        let token = self.peek().clone();
        let literal = match token.kind {
            Kind::Int(n) => Literal::Int(i64::try_from(n).map_err(|_| {
                (
                    token.at,
                    format!("Syntax error: invalid int literal: {}", token.text),
                )
            })?),
            Kind::Uint(n) => Literal::Uint(n),
            Kind::Double(n) => Literal::Double(n),
            Kind::Text(text) => Literal::Text(text),
            Kind::Bytes(bytes) => Literal::Bytes(bytes),
            Kind::Ident(name) => return self.word(token.at, name),
            Kind::Punct("(") => {
                self.next += 1;
                let inner = self.expr()?;
                self.must(")")?;
                return Ok(inner);
            }
            Kind::Punct("[") => return self.list_literal(token.at),
            Kind::Punct("{") => return self.map_literal(token.at),
            Kind::Punct(".") => {
                self.next += 1;
                return match self.peek().kind.clone() {
                    Kind::Ident(name) => self.word(token.at, name),
                    _ => Err(self.unexpected()),
                };
            }
            Kind::Quoted(_) | Kind::Punct(_) | Kind::End => return Err(self.unexpected()),
        };
        self.next += 1;
        Self::node(token.at, ExprKind::Literal(literal))
    }

    fn unexpected(&self) -> Mistake {
        let token = self.peek();
        let message = format!(
            "Syntax error: mismatched input '{}' expecting {OPERAND}",
            token.text
        );
        (token.at, message)
    }

    fn word(&mut self, at: u32, name: String) -> Result<Expr, Mistake> {
        let literal = match name.as_str() {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "null" => Some(Literal::Null),
            "in" => return Err(self.unexpected()),
            _ => None,
        };
        self.next += 1;
        if let Some(literal) = literal {
            return Self::node(at, ExprKind::Literal(literal));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err((at, format!("reserved identifier: {name}")));
        }
        let Some(at_call) = self.take("(") else {
            return Self::node(at, ExprKind::Ident(name));
        };
        let args = self.list(")")?;
        if name == "has" {
            return Self::has(at_call, args);
        }
        Self::call(at_call, &name, args)
    }

    /// Expressions up to the closing punctuation.
    fn list(&mut self, close: &'static str) -> Result<Vec<Expr>, Mistake> {
        let mut found = Vec::new();
        while self.take(close).is_none() {
            found.push(self.expr()?);
            if self.take(",").is_none() {
                self.must(close)?;
                break;
            }
            if self.sees(close) && close == ")" {
                return Err(self.unexpected());
            }
        }
        Ok(found)
    }

    fn list_literal(&mut self, at: u32) -> Result<Expr, Mistake> {
        self.next += 1;
        let mut elements = Vec::new();
        while self.take("]").is_none() {
            let optional = self.take("?").is_some();
            elements.push(Element {
                value: self.expr()?,
                optional,
            });
            if self.take(",").is_none() {
                self.must("]")?;
                break;
            }
        }
        Self::node(at, ExprKind::List(elements))
    }

    fn map_literal(&mut self, at: u32) -> Result<Expr, Mistake> {
        self.next += 1;
        let mut entries = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let key = self.expr()?;
            self.must(":")?;
            let value = self.expr()?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            if self.take(",").is_none() {
                self.must("}")?;
                break;
            }
        }
        Self::node(at, ExprKind::Map(entries))
    }

    fn structure(&mut self, operand: &Expr) -> Result<Expr, Mistake> {
        let at = self.must("{")?;
        let name = dotted(operand).unwrap_or_default();
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let token = self.peek().clone();
            let (Kind::Ident(name) | Kind::Quoted(name)) = token.kind else {
                return Err(self.unexpected());
            };
            self.next += 1;
            let at = self.must(":")?;
            let value = self.expr()?;
            fields.push(Field {
                at,
                name,
                value,
                optional,
            });
            if self.take(",").is_none() {
                self.must("}")?;
                break;
            }
        }
        Self::node(at, ExprKind::Struct { name, fields })
    }
}

fn too_deep(at: u32) -> Mistake {
    (
        at,
        format!("expression recursion limit exceeded: {MAX_DEPTH}"),
    )
}

/// `a.b.c` as one text, if the expression is nothing but names.
fn dotted(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Ident(name) => Some(name.clone()),
        ExprKind::Select {
            operand,
            field,
            optional: false,
        } => Some(format!("{}.{field}", dotted(operand)?)),
        _ => None,
    }
}

fn wrap(signs: Vec<(u32, &'static str)>, operand: Expr) -> Result<Expr, Mistake> {
    let mut signs = signs.into_iter().rev();
    signs.try_fold(operand, |operand, (at, name)| {
        Parser::call(at, name, vec![operand])
    })
}

fn is_or(kind: ExprKind) -> Result<Vec<Expr>, ExprKind> {
    match kind {
        ExprKind::Or(terms) => Ok(terms),
        other => Err(other),
    }
}

fn is_and(kind: ExprKind) -> Result<Vec<Expr>, ExprKind> {
    match kind {
        ExprKind::And(terms) => Ok(terms),
        other => Err(other),
    }
}

/// Chains of one logical operator as one flat list: they are as long as people like.
fn flat(left: Expr, right: Expr, same: fn(ExprKind) -> Result<Vec<Expr>, ExprKind>) -> Vec<Expr> {
    let Expr { at, depth, kind } = left;
    let mut terms = same(kind).unwrap_or_else(|kind| vec![Expr { at, depth, kind }]);
    terms.push(right);
    terms
}
