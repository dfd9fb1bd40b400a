//! Text into tokens.

use std::sync::Arc;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Ident(String),
    /// `` `quoted-name` ``, allowed after a dot.
    Quoted(String),
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    Punct(&'static str),
    End,
}

/// A token and where it starts, in characters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: u32,
    pub(crate) text: String,
}

/// A mistake and where it is, in characters.
pub(crate) type Mistake = (u32, String);

/// Longest first, so that `<=` is not `<`.
const PUNCTUATION: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "?", ":", "<",
    ">", "!", "+", "*", "/", "%",
];

/// The tokens of a text, the last one being [`Kind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars, next: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.next;
        let kind = lexer.token()?;
        let end = kind == Kind::End;
        let text = if end {
            "<EOF>".to_owned()
        } else {
            lexer.slice(start, lexer.next)
        };
        found.push(Token {
            kind,
            at: place(start),
            text,
        });
        if end {
            return Ok(found);
        }
    }
}

fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

struct Lexer {
    chars: Vec<char>,
    next: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.next + ahead).copied()
    }

    fn slice(&self, from: usize, to: usize) -> String {
        let to = to.min(self.chars.len());
        self.chars
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .collect()
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.peek(0) {
            if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.next += 1;
                }
            } else if matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}') {
                self.next += 1;
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Kind, Mistake> {
        let Some(c) = self.peek(0) else {
            return Ok(Kind::End);
        };
        if let Some(prefix) = self.string_prefix() {
            return self.string(prefix);
        }
        if c == '_' || c.is_ascii_alphabetic() {
            let start = self.next;
            while self
                .peek(0)
                .is_some_and(|c| c == '_' || c.is_ascii_alphanumeric())
            {
                self.next += 1;
            }
            return Ok(Kind::Ident(self.slice(start, self.next)));
        }
        if c == '`' {
            return self.quoted();
        }
        let fraction = c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit());
        if c.is_ascii_digit() || fraction {
            return self.number();
        }
        let rest = self.slice(self.next, self.next + 2);
        match PUNCTUATION.iter().find(|p| rest.starts_with(**p)) {
            Some(punct) => {
                self.next += punct.len();
                Ok(Kind::Punct(punct))
            }
            None => Err((
                place(self.next),
                format!("Syntax error: token recognition error at: '{c}'"),
            )),
        }
    }

    fn quoted(&mut self) -> Result<Kind, Mistake> {
        let start = self.next;
        self.next += 1;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/ ".contains(c);
        while self.peek(0).is_some_and(allowed) {
            self.next += 1;
        }
        if self.peek(0) != Some('`') || self.next == start + 1 {
            let seen = self.slice(start, self.next);
            let message = format!("Syntax error: token recognition error at: '{seen}'");
            return Err((place(start), message));
        }
        self.next += 1;
        Ok(Kind::Quoted(self.slice(start + 1, self.next - 1)))
    }

    fn number(&mut self) -> Result<Kind, Mistake> {
        let start = self.next;
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.next += 2;
            self.digits(|c| c.is_ascii_hexdigit());
            let digits = self.slice(start + 2, self.next);
            return self.integer(start, &digits, 16);
        }
        self.digits(|c| c.is_ascii_digit());
        let mut real = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            real = true;
            self.next += 1;
            self.digits(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                real = true;
                self.next += 1 + sign;
                self.digits(|c| c.is_ascii_digit());
            }
        }
        let text = self.slice(start, self.next);
        if !real {
            return self.integer(start, &text, 10);
        }
        let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
        number.map(Kind::Double).ok_or_else(|| {
            (
                place(start),
                format!("Syntax error: invalid double literal: {text}"),
            )
        })
    }

    fn digits(&mut self, is_digit: fn(char) -> bool) {
        while self.peek(0).is_some_and(is_digit) {
            self.next += 1;
        }
    }

    fn integer(&mut self, start: usize, digits: &str, radix: u32) -> Result<Kind, Mistake> {
        let unsigned = matches!(self.peek(0), Some('u' | 'U'));
        self.next += usize::from(unsigned);
        let kind = if unsigned { "uint" } else { "int" };
        let refuse = || {
            let text = self.slice(start, self.next);
            (
                place(start),
                format!("Syntax error: invalid {kind} literal: {text}"),
            )
        };
        let value = u64::from_str_radix(digits, radix).map_err(|_| refuse())?;
        // One above the largest integer is kept for the parser, which knows of a minus before it.
        if !unsigned && value > i64::MAX.unsigned_abs() + 1 {
            return Err(refuse());
        }
        Ok(if unsigned {
            Kind::Uint(value)
        } else {
            Kind::Int(value)
        })
    }
}

/// How a string literal starts.
#[derive(Debug, Clone, Copy, Default)]
struct Prefix {
    raw: bool,
    bytes: bool,
    letters: usize,
}

impl Lexer {
    fn string_prefix(&self) -> Option<Prefix> {
        let mut prefix = Prefix::default();
        loop {
            match self.peek(prefix.letters)? {
                'r' | 'R' if !prefix.raw => prefix.raw = true,
                'b' | 'B' if !prefix.bytes => prefix.bytes = true,
                '"' | '\'' => return Some(prefix),
                _ => return None,
            }
            prefix.letters += 1;
        }
    }

    fn string(&mut self, prefix: Prefix) -> Result<Kind, Mistake> {
        let start = self.next;
        self.next += prefix.letters;
        let quote = self.peek(0).unwrap_or('"');
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let length = if triple { 3 } else { 1 };
        self.next += length;
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let closed = (0..length).all(|i| self.peek(i) == Some(quote));
            if closed {
                self.next += length;
                break;
            }
            let c = self.peek(0).filter(|c| triple || !matches!(c, '\n' | '\r'));
            let Some(c) = c else {
                let seen = self.slice(start, self.next);
                let message = format!("Syntax error: token recognition error at: '{seen}'");
                return Err((place(start), message));
            };
            self.next += 1;
            if c == '\\' && !prefix.raw {
                self.escape(prefix, &mut bytes)?;
            } else {
                push(c, &mut bytes);
            }
        }
        if prefix.bytes {
            return Ok(Kind::Bytes(bytes.into()));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Kind::Text(text.into())),
            Err(_) => Err((
                place(start),
                "Syntax error: invalid string literal".to_owned(),
            )),
        }
    }

    fn escape(&mut self, prefix: Prefix, out: &mut Vec<u8>) -> Result<(), Mistake> {
        let at = self.next.saturating_sub(1);
        let refuse = || {
            (
                place(at),
                "Syntax error: unable to unescape string".to_owned(),
            )
        };
        let c = self.peek(0).ok_or_else(refuse)?;
        self.next += 1;
        let simple = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '`' | '?' => c,
            'x' | 'X' => return self.numeric(16, 2, prefix, out).ok_or_else(refuse),
            'u' if !prefix.bytes => return self.numeric(16, 4, prefix, out).ok_or_else(refuse),
            'U' if !prefix.bytes => return self.numeric(16, 8, prefix, out).ok_or_else(refuse),
            '0'..='3' => {
                self.next -= 1;
                return self.numeric(8, 3, prefix, out).ok_or_else(refuse);
            }
            _ => return Err(refuse()),
        };
        push(simple, out);
        Ok(())
    }

    /// `\x41`, `\101`, `\u00e9`: a byte in byte literals, else a character.
    fn numeric(
        &mut self,
        radix: u32,
        count: usize,
        prefix: Prefix,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let digits = self.slice(self.next, self.next + count);
        if digits.len() != count || !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.next += count;
        let code = u32::from_str_radix(&digits, radix).ok()?;
        if prefix.bytes {
            out.push(u8::try_from(code).ok()?);
        } else {
            push(char::from_u32(code)?, out);
        }
        Some(())
    }
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
