//! From a tree and values to text.

use super::{Choice, Command, Function, Node, Operand, TemplateError, Value};
use std::fmt::Write as _;

/// What `$` and `.` stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) root: &'a Value,
    pub(super) dot: &'a Value,
}

pub(super) fn nodes(
    list: &[Node],
    scope: Scope<'_>,
    out: &mut String,
) -> Result<(), TemplateError> {
    for node in list {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => print(&evaluate(pipeline, scope)?, out),
            Node::Choice(choice, condition, then, otherwise) => {
                let value = evaluate(condition, scope)?;
                if !is_true(&value) {
                    nodes(otherwise, scope, out)?;
                    continue;
                }
                branch(*choice, (&value, then), scope, out)?;
            }
        }
    }
    Ok(())
}

fn branch(
    choice: Choice,
    (value, then): (&Value, &[Node]),
    scope: Scope<'_>,
    out: &mut String,
) -> Result<(), TemplateError> {
    let over = |dot| Scope { dot, ..scope };
    match (choice, value) {
        (Choice::If, _) => nodes(then, scope, out),
        (Choice::With, value) => nodes(then, over(value), out),
        (Choice::Range, Value::List(items)) => items
            .iter()
            .try_for_each(|item| nodes(then, over(item), out)),
        (Choice::Range, Value::Map(items)) => items
            .values()
            .try_for_each(|item| nodes(then, over(item), out)),
        (Choice::Range, _) => Err(TemplateError {
            position: 1,
            why: "range can't iterate over a single value".to_owned(),
        }),
    }
}

fn evaluate(pipeline: &[Command], scope: Scope<'_>) -> Result<Value, TemplateError> {
    let mut last = None;
    for command in pipeline {
        last = Some(execute(command, last, scope)?);
    }
    last.ok_or(TemplateError {
        position: 1,
        why: "missing value for command".to_owned(),
    })
}

fn execute(
    command: &Command,
    piped: Option<Value>,
    scope: Scope<'_>,
) -> Result<Value, TemplateError> {
    let fail = |why: String| TemplateError {
        position: command.position,
        why,
    };
    let value_of = |operand: &Operand| -> Result<Value, TemplateError> {
        match operand {
            Operand::Field(path) => walk(scope.dot, path).map_err(fail),
            Operand::Root(path) => walk(scope.root, path).map_err(fail),
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Nested(pipeline) => evaluate(pipeline, scope),
            Operand::Function(function) => call(*function, &[]).map_err(fail),
        }
    };
    match command.words.as_slice() {
        [Operand::Function(function), arguments @ ..] => {
            let mut values = Vec::with_capacity(arguments.len() + 1);
            for argument in arguments {
                values.push(value_of(argument)?);
            }
            values.extend(piped);
            call(*function, &values).map_err(fail)
        }
        [operand] if piped.is_none() => value_of(operand),
        _ => Err(fail("can't give argument to non-function".to_owned())),
    }
}

fn walk(value: &Value, path: &[String]) -> Result<Value, String> {
    let mut found = value;
    for (depth, name) in path.iter().enumerate() {
        let Value::Map(map) = found else {
            return Err(format!("can't evaluate field {name} in a single value"));
        };
        found = match map.get(name) {
            Some(next) => next,
            // Below the top there are Go maps, whose absent keys are zero values.
            None if depth > 0 => return Ok("".into()),
            None => return Err(format!("there is no field {name}")),
        };
    }
    Ok(found.clone())
}

fn call(function: Function, arguments: &[Value]) -> Result<Value, String> {
    match (function, arguments) {
        (Function::Index, [from, keys @ ..]) => index(from, keys),
        (Function::Print, values) => {
            let mut out = String::new();
            for value in values {
                print(value, &mut out);
            }
            Ok(Value::Text(out))
        }
        (Function::Printf, [Value::Text(format), values @ ..]) => {
            Ok(Value::Text(printf(format, values)))
        }
        (Function::Len, [Value::Text(text)]) => number(text.len()),
        (Function::Len, [Value::List(list)]) => number(list.len()),
        (Function::Len, [Value::Map(map)]) => number(map.len()),
        (Function::Eq, [first, rest @ ..]) if !rest.is_empty() => {
            Ok(Value::Bool(rest.contains(first)))
        }
        (Function::Ne, [first, second]) => Ok(Value::Bool(first != second)),
        (Function::Not, [value]) => Ok(Value::Bool(!is_true(value))),
        (Function::And, [.., last]) => {
            let first_false = arguments.iter().find(|value| !is_true(value));
            Ok(first_false.unwrap_or(last).clone())
        }
        (Function::Or, [.., last]) => {
            let first_true = arguments.iter().find(|value| is_true(value));
            Ok(first_true.unwrap_or(last).clone())
        }
        (
            Function::Index
            | Function::Printf
            | Function::Len
            | Function::Eq
            | Function::Ne
            | Function::Not
            | Function::And
            | Function::Or,
            _,
        ) => Err("wrong number or type of arguments".to_owned()),
    }
}

fn number(count: usize) -> Result<Value, String> {
    let count = i64::try_from(count).map_err(|_| "too long".to_owned())?;
    Ok(Value::Number(count))
}

fn index(from: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut found = from.clone();
    for key in keys {
        found = match (&found, key) {
            (Value::Map(map), Value::Text(key)) => {
                map.get(key).cloned().unwrap_or_else(|| "".into())
            }
            (Value::List(list), Value::Number(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| list.get(at).cloned())
                .ok_or_else(|| format!("index out of range: {at}"))?,
            _ => return Err("can't index a value with a key of this type".to_owned()),
        };
    }
    Ok(found)
}

/// `%s`, `%v`, `%d`, `%q` and `%%`; anything else stays as Go would complain about it.
fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(verb @ ('s' | 'v' | 'd' | 'q')) => match values.next() {
                Some(value) if verb == 'q' => {
                    let mut text = String::new();
                    print(value, &mut text);
                    write!(out, "{text:?}").unwrap_or_default();
                }
                Some(value) => print(value, &mut out),
                None => write!(out, "%!{verb}(MISSING)").unwrap_or_default(),
            },
            Some(other) => write!(out, "%!{other}(NOVERB)").unwrap_or_default(),
            None => out.push_str("%!(NOVERB)"),
        }
    }
    out
}

fn print(value: &Value, out: &mut String) {
    match value {
        Value::Text(text) => out.push_str(text),
        Value::Number(number) => write!(out, "{number}").unwrap_or_default(),
        Value::Bool(bool) => write!(out, "{bool}").unwrap_or_default(),
        Value::List(list) => {
            out.push('[');
            for (place, item) in list.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { " " });
                print(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (place, (key, item)) in map.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { " " });
                write!(out, "{key}:").unwrap_or_default();
                print(item, out);
            }
            out.push(']');
        }
    }
}

/// Go's truth: neither empty nor zero.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Text(text) => !text.is_empty(),
        Value::Number(number) => *number != 0,
        Value::Bool(bool) => *bool,
        Value::List(list) => !list.is_empty(),
        Value::Map(map) => !map.is_empty(),
    }
}
