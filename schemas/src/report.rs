//! What is wrong with a document, every part of it: where, what was found, what was expected, what to do.

use std::fmt;

use serde::Serialize;

use crate::node::Span;

/// All that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The file as its reader named it.
    pub file: String,
    /// In source order; never empty.
    pub issues: Vec<Issue>,
    /// There is more, left out after [`MOST`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// At most so many issues are collected for one file.
pub const MOST: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Issue {
    /// From 1; 0 for a value that was never text.
    pub line: u32,
    /// In characters, from 1; 0 for a value that was never text.
    pub column: u32,
    /// JSON pointer (RFC 6901) to the value, or to where it is missing; empty for the whole document.
    pub pointer: String,
    /// What is wrong, without the place.
    pub message: String,
    /// What was found there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The source line, where showing it helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
}

/// A source line and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Excerpt {
    /// The line, cut to what fits a terminal.
    pub text: String,
    /// Characters before the part.
    pub from: usize,
    /// Characters of the part, at least 1.
    pub length: usize,
}

impl Issue {
    /// An issue with the place still to be set by [`Issue::at`].
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the place from a span of `text`.
    #[must_use]
    pub fn at(mut self, text: &str, span: &Span) -> Self {
        if text.is_empty() && *span == (0..0) {
            return self;
        }
        let start = floor(text, span.start as usize);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        self.line = 1 + u32::try_from(text[..start].bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX - 1);
        self.column = 1 + u32::try_from(text[line_start..start].chars().count()).unwrap_or(u32::MAX - 1);
        self.excerpt = excerpt(
            &text[line_start..line_end],
            start - line_start,
            floor(text, span.end as usize).saturating_sub(start),
        );
        self
    }

    /// The place in people's words: `spec.apply[3].mode`.
    pub fn path(&self) -> String {
        let mut out = String::new();
        for token in self.pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            if !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) {
                out.push_str(&format!("[{token}]"));
            } else if !token.is_empty() && token.chars().all(|c| c.is_alphanumeric() || "_-$+".contains(c)) {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&token);
            } else {
                out.push_str(&format!("[{token:?}]"));
            }
        }
        out
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Cuts a line to a window around the part; gives none where the line holds control characters or nothing.
fn excerpt(line: &str, start: usize, length: usize) -> Option<Excerpt> {
    const WIDTH: usize = 100;
    let line = line.trim_end_matches('\r');
    if line.trim().is_empty() || line.chars().any(|c| c.is_control() && c != '\t') || start > line.len() {
        return None;
    }
    let before = line[..start].chars().count();
    let part = line[start..]
        .char_indices()
        .take_while(|(at, _)| *at < length)
        .count()
        .max(1);
    let indent = line.chars().take_while(|c| c.is_whitespace()).count().min(before);
    let skip = if before - indent > WIDTH / 2 {
        before - WIDTH / 2
    } else {
        indent
    };
    let text: String = line
        .chars()
        .skip(skip)
        .take(WIDTH)
        .map(|c| if c == '\t' { ' ' } else { c })
        .collect();
    let from = before - skip;
    let room = text.chars().count().saturating_sub(from).max(1);
    Some(Excerpt {
        text,
        from,
        length: part.min(room),
    })
}

impl Report {
    /// A report of one issue.
    pub fn one(file: impl Into<String>, issue: Issue) -> Self {
        Self {
            file: file.into(),
            issues: vec![issue],
            more: false,
        }
    }

    /// The same without anything that stood in the file: for files that may hold a secret.
    #[must_use]
    pub fn without_content(mut self) -> Self {
        for issue in &mut self.issues {
            issue.excerpt = None;
            if issue.found.take().is_some() || issue.message.starts_with("found ") {
                issue.message = match &issue.expected {
                    Some(expected) => format!("expected {expected}"),
                    None => "not what is expected here; the file may hold a secret, so it is not shown".to_owned(),
                };
            }
        }
        self
    }
}

/// Text that somebody else wrote, for a terminal: it must not move the cursor or colour what comes after it. Lines stay.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' => f.write_str("\n"),
            c if c.is_control() => write!(f, "{}", c.escape_unicode()),
            c => write!(f, "{c}"),
        })
    }
}

/// A pointer holds keys of the document, and a key may hold line feeds: it must not look like a line of ours.
fn one_line(pointer: &str) -> String {
    pointer.replace('\n', "\\n")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, issue) in self.issues.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if issue.line > 0 {
                write!(f, ":{}:{}", issue.line, issue.column)?;
            }
            let path = issue.path();
            if path.is_empty() {
                write!(f, ": {}", Plain(&issue.message))?;
            } else {
                write!(f, ": {path}: {}", Plain(&issue.message))?;
            }
            if let Some(excerpt) = &issue.excerpt {
                let gutter = issue.line.to_string();
                write!(f, "\n  {gutter} | {}", excerpt.text)?;
                write!(f, "\n  {:1$} | ", "", gutter.len())?;
                write!(f, "{:2$}{}", "", "^".repeat(excerpt.length), excerpt.from)?;
                if !issue.pointer.is_empty() {
                    write!(f, " at {}", Plain(&one_line(&issue.pointer)))?;
                }
            } else if !issue.pointer.is_empty() && issue.line > 0 {
                write!(f, "\n  at {}", Plain(&one_line(&issue.pointer)))?;
            }
            if let Some(help) = &issue.help {
                write!(f, "\n  help: {}", Plain(help))?;
            }
        }
        if self.more {
            write!(
                f,
                "\n{}: more was found; the first {} are shown",
                self.file,
                self.issues.len()
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
