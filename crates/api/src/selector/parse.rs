//! The grammar of label selectors.

use super::label::{LabelRequirement, Operator};
use super::lexer::{Lexer, Token};
use std::collections::BTreeSet;

/// The requirements of `app=web,tier in (a,b),!x`, as written.
pub(super) fn parse(text: &str) -> Result<Vec<LabelRequirement>, String> {
    let mut lexer = Lexer::new(text);
    let mut requirements = Vec::new();
    if lexer.peek() == Token::End {
        return Ok(requirements);
    }
    loop {
        requirements.push(requirement(&mut lexer)?);
        match lexer.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => {}
            other @ (Token::Word(_) | Token::Symbol(_)) => {
                return Err(format!("found '{other}', expected: ',' or 'end of string'"));
            }
        }
        match lexer.peek() {
            Token::Word(_) | Token::Symbol("!") => {}
            other @ (Token::Symbol(_) | Token::End) => {
                return Err(format!("found '{other}', expected: identifier after ','"));
            }
        }
    }
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<LabelRequirement, String> {
    let negated = lexer.peek() == Token::Symbol("!");
    if negated {
        lexer.next();
    }
    let key = match lexer.next() {
        Token::Word(key) => key,
        other @ (Token::Symbol(_) | Token::End) => {
            return Err(format!("found '{other}', expected: identifier"));
        }
    };
    if negated {
        return LabelRequirement::new(key, Operator::DoesNotExist, BTreeSet::new());
    }
    let operator = match lexer.peek() {
        Token::End | Token::Symbol(",") => {
            return LabelRequirement::new(key, Operator::Exists, BTreeSet::new());
        }
        Token::Word("in") => Operator::In,
        Token::Word("notin") => Operator::NotIn,
        Token::Symbol("=" | "==") => Operator::Equals,
        Token::Symbol("!=") => Operator::NotEquals,
        Token::Symbol(">") => Operator::GreaterThan,
        Token::Symbol("<") => Operator::LessThan,
        other @ (Token::Word(_) | Token::Symbol(_)) => {
            return Err(format!(
                "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
            ));
        }
    };
    lexer.next();
    let values = match operator {
        Operator::In | Operator::NotIn => value_set(lexer)?,
        Operator::Equals
        | Operator::NotEquals
        | Operator::Exists
        | Operator::DoesNotExist
        | Operator::GreaterThan
        | Operator::LessThan => BTreeSet::from([single_value(lexer)?]),
    };
    LabelRequirement::new(key, operator, values)
}

fn single_value(lexer: &mut Lexer<'_>) -> Result<String, String> {
    match lexer.peek() {
        Token::End | Token::Symbol(",") => Ok(String::new()),
        Token::Word(value) => {
            lexer.next();
            Ok(value.to_owned())
        }
        other @ Token::Symbol(_) => Err(format!("found '{other}', expected: identifier")),
    }
}

/// `(a, b)`; a missing value is the empty one.
fn value_set(lexer: &mut Lexer<'_>) -> Result<BTreeSet<String>, String> {
    match lexer.next() {
        Token::Symbol("(") => {}
        other @ (Token::Word(_) | Token::Symbol(_) | Token::End) => {
            return Err(format!("found '{other}' expected: '('"));
        }
    }
    let mut values = BTreeSet::new();
    loop {
        let value = match lexer.peek() {
            Token::Word(value) => {
                lexer.next();
                value
            }
            Token::Symbol(_) | Token::End => "",
        };
        values.insert(value.to_owned());
        match lexer.next() {
            Token::Symbol(")") => return Ok(values),
            Token::Symbol(",") => {}
            other @ (Token::Word(_) | Token::Symbol(_) | Token::End) => {
                return Err(format!("found '{other}', expected: ',', or ')'"));
            }
        }
    }
}
