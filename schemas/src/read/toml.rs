//! TOML by the `toml` crate, into located trees.
//!
//! The tokens are counted before anything is built: a dotted key makes one table a dot, so that a megabyte of dots would
//! otherwise become a gigabyte of tables.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::Limits;
use super::json::{float_of, int_of};
use crate::node::{Entry, Kind, Node, Span};
use crate::report::{Issue, Report};

/// Tables and lists that one document may open, by header, bracket, brace or dotted key.
const MOST_OPENED: usize = 50_000;

/// Syntax errors shown for one file; one mistake often causes several.
const MOST_SHOWN: usize = 10;

pub(super) fn parse(name: &str, text: &str, limits: &Limits) -> Result<Node, Report> {
    before(name, text, limits)?;
    let table = DeTable::parse(text).map_err(|_| syntax(name, text))?;
    let mut builder = Builder {
        depth: limits.depth,
        issues: Vec::new(),
        text,
    };
    let root = builder.table(table.span(), table.into_inner(), limits.depth, "");
    if builder.issues.is_empty() {
        return Ok(root);
    }
    builder.issues.sort_by_key(|issue| (issue.line, issue.column));
    Err(Report {
        file: name.to_owned(),
        issues: builder.issues,
        more: false,
    })
}

/// What the token stream alone shows to be too much.
fn before(name: &str, text: &str, limits: &Limits) -> Result<(), Report> {
    let (mut opened, mut dots) = (0, 0);
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => {
                dots += 1;
                opened += 1;
            }
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                dots = 0;
                opened += 1;
            }
            TokenKind::Newline | TokenKind::Equals | TokenKind::Comma => dots = 0,
            _ => {}
        }
        let message = if dots > limits.depth {
            format!("found a key of more than {} parts", limits.depth)
        } else if opened > MOST_OPENED {
            format!("found more than {MOST_OPENED} tables and lists")
        } else {
            continue;
        };
        let span = token.span();
        return Err(Report::one(
            name,
            Issue::new(message).at(text, &(span.start() as u32..span.end() as u32)),
        ));
    }
    Ok(())
}

/// Every syntax error, by a second pass that recovers.
fn syntax(name: &str, text: &str) -> Report {
    let (_, errors) = DeTable::parse_recoverable(text);
    let mut issues: Vec<Issue> = Vec::new();
    for error in errors.iter().take(MOST_SHOWN) {
        let span = error.span().unwrap_or(0..0);
        let mut lines = error.message().lines();
        let issue = Issue::new(lines.next().unwrap_or("not TOML"));
        let expected = lines.collect::<Vec<_>>().join("; ");
        let issue = Issue {
            help: (!expected.is_empty()).then_some(expected),
            ..issue
        };
        let issue = issue.at(text, &(span.start as u32..span.end as u32));
        if !issues.iter().any(|other| other.line == issue.line) {
            issues.push(issue);
        }
    }
    if issues.is_empty() {
        issues.push(Issue::new("not TOML"));
    }
    issues.sort_by_key(|issue| (issue.line, issue.column));
    Report {
        file: name.to_owned(),
        issues,
        more: errors.len() > MOST_SHOWN,
    }
}

struct Builder<'a> {
    depth: usize,
    issues: Vec<Issue>,
    text: &'a str,
}

impl Builder<'_> {
    fn refuse(&mut self, message: String, help: Option<&str>, span: &Span, pointer: &str) -> Kind {
        if self.issues.len() < MOST_SHOWN {
            let issue = Issue {
                pointer: pointer.to_owned(),
                help: help.map(str::to_owned),
                ..Issue::new(message)
            };
            self.issues.push(issue.at(self.text, span));
        }
        Kind::Null
    }

    /// Members in source order; the `toml` crate sorts them.
    fn table(&mut self, span: std::ops::Range<usize>, table: DeTable<'_>, depth: usize, pointer: &str) -> Node {
        let span = span_of(&span);
        let Some(depth) = depth.checked_sub(1) else {
            let kind = self.refuse(
                format!("found values nested deeper than {}", self.depth),
                None,
                &span,
                pointer,
            );
            return Node { span, kind };
        };
        let mut entries: Vec<Entry> = Vec::with_capacity(table.len());
        for (key, value) in table {
            let key_span = span_of(&key.span());
            let key = key.into_inner().into_owned();
            let below = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            entries.push(Entry {
                key,
                key_span,
                value: self.value(value, depth, &below),
            });
        }
        entries.sort_by_key(|entry| entry.key_span.start);
        Node {
            span,
            kind: Kind::Object(entries),
        }
    }

    fn value(&mut self, value: Spanned<DeValue<'_>>, depth: usize, pointer: &str) -> Node {
        let range = value.span();
        let span = span_of(&range);
        let number = |read: Result<Kind, (String, &'static str)>, this: &mut Self| {
            read.unwrap_or_else(|(message, help)| this.refuse(message, Some(help), &span, pointer))
        };
        let kind = match value.into_inner() {
            DeValue::String(text) => Kind::String(text.into_owned()),
            DeValue::Boolean(b) => Kind::Bool(b),
            DeValue::Datetime(moment) => Kind::String(moment.to_string()),
            DeValue::Integer(n) => number(integer(&n), self),
            DeValue::Float(n) => number(float_of(n.as_str()), self),
            DeValue::Table(table) => return self.table(range, table, depth, pointer),
            DeValue::Array(items) => match depth.checked_sub(1) {
                Some(depth) => {
                    let items = items.into_iter().enumerate();
                    Kind::Array(
                        items
                            .map(|(at, item)| self.value(item, depth, &format!("{pointer}/{at}")))
                            .collect(),
                    )
                }
                None => self.refuse(
                    format!("found values nested deeper than {}", self.depth),
                    None,
                    &span,
                    pointer,
                ),
            },
        };
        Node { span, kind }
    }
}

fn span_of(range: &std::ops::Range<usize>) -> Span {
    range.start as u32..range.end as u32
}

fn integer(n: &DeInteger<'_>) -> Result<Kind, (String, &'static str)> {
    // `i64::from_str_radix` reads what the lexer left of `0x…`, `0o…`, `0b…`; what does not fit is beyond 2^53 anyway.
    match i64::from_str_radix(n.as_str(), n.radix()) {
        Ok(0) if n.as_str().starts_with('-') => int_of("-0"),
        Ok(value) => int_of(&value.to_string()),
        Err(_) => int_of(n.as_str()),
    }
}
