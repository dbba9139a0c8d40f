//! JSON (RFC 8259), strictly, into located trees.
//!
//! Recursive, with the depth limit as its bound; every error carries the offset at which it was seen.

use std::collections::HashSet;

use super::Limits;
use crate::node::{Entry, Kind, Node, shortened};
use crate::report::{Issue, Report};

/// The largest integer that binary64, and so JavaScript and RFC 8785, holds exactly: 2^53−1.
const MAX_INT: i64 = 9_007_199_254_740_991;

pub(super) fn parse(name: &str, text: &str, limits: &Limits) -> Result<Node, Report> {
    let mut parser = Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        depth: limits.depth,
        path: Vec::new(),
    };
    parser.document().map_err(|wrong| {
        let pointer: String = parser.path.iter().map(Step::token).collect();
        let issue = Issue {
            pointer,
            help: wrong.help.map(str::to_owned),
            ..Issue::new(wrong.message)
        };
        Report::one(name, issue.at(text, &(wrong.from as u32..wrong.to as u32)))
    })
}

/// What is wrong, and where.
struct Wrong {
    message: String,
    from: usize,
    to: usize,
    help: Option<&'static str>,
}

/// One step of the path to the value being read, for errors.
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn token(&self) -> String {
        match self {
            Step::Key(key) => format!("/{}", shortened(key).replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => format!("/{index}"),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    path: Vec<Step>,
}

type Read<T> = Result<T, Wrong>;

impl Parser<'_> {
    fn document(&mut self) -> Read<Node> {
        let node = self.value(self.depth)?;
        self.blank();
        if self.at < self.bytes.len() {
            return Err(self.unexpected("the end of the document after its one value"));
        }
        Ok(node)
    }

    fn wrong(&self, message: impl Into<String>, from: usize, to: usize) -> Wrong {
        Wrong {
            message: message.into(),
            from,
            to,
            help: None,
        }
    }

    /// What stands at the cursor is not what the grammar wants.
    fn unexpected(&self, expected: &str) -> Wrong {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(c) if c.is_control() => format!("found the control character U+{:04X}", c as u32),
            Some(c) => format!("found {c:?}"),
            None => "found the end of the file".to_owned(),
        };
        self.wrong(format!("{found}, expected {expected}"), self.at, self.at + 1)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Read<Kind> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(kind);
        }
        Err(self.unexpected("a JSON value"))
    }

    fn value(&mut self, depth: usize) -> Read<Node> {
        self.blank();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Kind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return Err(self.unexpected("a JSON value")),
        };
        Ok(Node {
            span: start as u32..self.at as u32,
            kind,
        })
    }

    fn deeper(&self, depth: usize) -> Read<usize> {
        depth.checked_sub(1).ok_or_else(|| {
            self.wrong(
                format!("found values nested deeper than {}", self.depth),
                self.at,
                self.at + 1,
            )
        })
    }

    fn array(&mut self, depth: usize) -> Read<Kind> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        let mut items = Vec::new();
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Kind::Array(items));
        }
        loop {
            self.path.push(Step::Index(items.len()));
            items.push(self.value(depth)?);
            self.path.pop();
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.unexpected("',' or ']'")),
            }
        }
        self.at += 1;
        Ok(Kind::Array(items))
    }

    fn object(&mut self, depth: usize) -> Read<Kind> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Kind::Object(entries));
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let from = self.at;
            let key = self.string()?;
            let key_span = from as u32..self.at as u32;
            if !seen.insert(key.clone()) {
                self.path.push(Step::Key(key.clone()));
                return Err(self.wrong(format!("duplicate key {:?}", shortened(&key)), from, self.at));
            }
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("':' after the key"));
            }
            self.at += 1;
            self.path.push(Step::Key(key.clone()));
            let value = self.value(depth)?;
            self.path.pop();
            entries.push(Entry { key, key_span, value });
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.unexpected("',' or '}'")),
            }
        }
        self.at += 1;
        Ok(Kind::Object(entries))
    }

    fn string(&mut self) -> Read<String> {
        self.at += 1;
        let mut out = String::new();
        let mut from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    out.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[from..self.at]);
                    out.push(self.escape()?);
                    from = self.at;
                }
                Some(0..=0x1f) | None => return Err(self.unexpected("the closing '\"' of the text")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let from = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.hex4()?;
                return match first {
                    0xd800..=0xdbff => self.low_surrogate(first, from),
                    // RFC 8259 §8.2 leaves lone surrogates open; no Unicode text can hold one.
                    0xdc00..=0xdfff => Err(self.lone(from)),
                    _ => char::from_u32(first).ok_or_else(|| self.lone(from)),
                };
            }
            _ => return Err(self.unexpected("one of \" \\ / b f n r t u after '\\'")),
        };
        self.at += 1;
        Ok(c)
    }

    fn lone(&self, from: usize) -> Wrong {
        self.wrong("found half a surrogate pair, expected valid Unicode", from, self.at)
    }

    fn low_surrogate(&mut self, high: u32, from: usize) -> Read<char> {
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return Err(self.lone(from));
        }
        self.at += 2;
        let low = self.hex4()?;
        if !(0xdc00..=0xdfff).contains(&low) {
            return Err(self.lone(from));
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(|| self.lone(from))
    }

    fn hex4(&mut self) -> Read<u32> {
        let mut n = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            n = n * 16 + digit.ok_or_else(|| self.unexpected("four hex digits after \\u"))?;
            self.at += 1;
        }
        Ok(n)
    }

    fn digits(&mut self) -> Read<()> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == from {
            Err(self.unexpected("a digit"))
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Read<Kind> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.peek() {
                return Err(self.unexpected("no digit after a leading zero"));
            }
        } else {
            self.digits()?;
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            float = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let literal = &self.text[from..self.at];
        if float { float_of(literal) } else { int_of(literal) }.map_err(|(message, help)| Wrong {
            help: Some(help),
            ..self.wrong(message, from, self.at)
        })
    }
}

/// What is wrong with a number, and what to do about it.
type BadNumber = (String, &'static str);

/// An integer within ±(2^53−1), never `-0`.
pub(super) fn int_of(literal: &str) -> Result<Kind, BadNumber> {
    if literal == "-0" {
        return Err(("found -0, expected 0".into(), "write 0"));
    }
    match literal.parse::<i64>() {
        Ok(n) if n.unsigned_abs() <= MAX_INT as u64 => Ok(Kind::Int(n)),
        _ => Err((
            format!(
                "found {}, expected an integer within ±{MAX_INT} (2^53−1)",
                shortened(literal)
            ),
            "larger numbers change silently in other readers: write them as text",
        )),
    }
}

/// A finite number, never `-0.0`.
pub(super) fn float_of(literal: &str) -> Result<Kind, BadNumber> {
    match literal.parse::<f64>() {
        Ok(n) if n == 0.0 && n.is_sign_negative() => Err(("found -0, expected 0".into(), "write 0")),
        Ok(n) if n.is_finite() => Ok(Kind::Float(n)),
        _ => Err((
            format!("found {}, expected a number that binary64 can hold", shortened(literal)),
            "write a smaller number, or text",
        )),
    }
}
