//! The reader: lines, and the commands in them.
//!
//! Follows libuci's parser step for step where that decides what a file means, oddities included: a device's other
//! programs read the same file with libuci.

use super::{Error, is_name};

/// A line with its end; several where quotes or a `\` at the end join them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) raw: Vec<u8>,
    pub(super) commands: Vec<Command>,
    /// What stands behind the last command is white space and a comment, and may stay when the command changes.
    pub(super) plain_end: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) says: Says,
    /// Its place in `raw`: from the keyword to the end of the last word.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where it begins in the file, from 1.
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Says {
    Package { name: String },
    Config { kind: String, name: Option<String> },
    Option { name: String, value: Vec<u8> },
    Item { name: String, value: Vec<u8> },
}

impl std::fmt::Debug for Says {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Says::Package { name } => write!(f, "package {name}"),
            Says::Config { kind, name } => write!(f, "config {kind} {name:?}"),
            Says::Option { name, .. } => write!(f, "option {name}"),
            Says::Item { name, .. } => write!(f, "list {name}"),
        }
    }
}

/// All lines of a file.
pub(super) fn lines(bytes: &[u8]) -> Result<Vec<Line>, Error> {
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        return Err(error(bytes, at, "a NUL byte; expected text"));
    }
    let mut lines = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let mut cursor = Cursor {
            bytes,
            start: at,
            pos: at,
            end: line_end(bytes, at),
            stop: None,
        };
        lines.push(cursor.line()?);
        at = cursor.end;
    }
    Ok(lines)
}

/// Just behind the newline that ends the line at `from`.
fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(bytes.len(), |n| from + n + 1)
}

fn error(bytes: &[u8], at: usize, what: &'static str) -> Error {
    let before = &bytes[..at.min(bytes.len())];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let column = 1 + before.len() - before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    Error { line, column, what }
}

/// What C's `isspace` says in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// One logical line being read.
struct Cursor<'b> {
    bytes: &'b [u8],
    start: usize,
    pos: usize,
    /// Just behind the last line taken in so far.
    end: usize,
    /// Nothing from here on is looked at: a comment, or what libuci drops.
    stop: Option<usize>,
}

struct Word {
    text: Vec<u8>,
    start: usize,
    end: usize,
}

impl Cursor<'_> {
    fn now(&self) -> Option<u8> {
        let end = self.stop.map_or(self.end, |s| s.min(self.end));
        (self.pos < end).then(|| self.bytes[self.pos])
    }

    /// Takes the next line in.
    fn more(&mut self) -> bool {
        let end = line_end(self.bytes, self.end);
        std::mem::replace(&mut self.end, end) != end
    }

    fn wrong(&self, at: usize, what: &'static str) -> Error {
        error(self.bytes, at, what)
    }

    fn skip_space(&mut self) {
        while self.now().is_some_and(is_space) {
            self.pos += 1;
        }
    }

    fn line(&mut self) -> Result<Line, Error> {
        let mut commands = Vec::new();
        let mut plain_end = true;
        self.skip_space();
        while let Some(command) = self.command()? {
            plain_end = self.plain_from(command.end);
            let (start, end) = (command.start - self.start, command.end - self.start);
            commands.push(Command { start, end, ..command });
        }
        let raw = self.bytes[self.start..self.end].to_vec();
        Ok(Line {
            raw,
            commands,
            plain_end,
        })
    }

    /// Whether only white space and a comment stand between `at` and the end of what was taken in.
    fn plain_from(&self, at: usize) -> bool {
        let rest = &self.bytes[at..self.end];
        rest.iter().find(|b| !is_space(**b)).is_none_or(|b| *b == b'#')
            && self.stop.is_none_or(|s| s >= self.end || self.bytes[s] == b'#')
    }

    fn command(&mut self) -> Result<Option<Command>, Error> {
        while matches!(self.now(), Some(b' ' | b'\t')) {
            self.pos += 1;
        }
        let start = self.pos;
        while self.now().is_some_and(|b| b != b' ' && b != b'\t') {
            self.pos += 1;
        }
        let keyword = &self.bytes[start..self.pos];
        if keyword.is_empty() || keyword[0] == b'#' {
            return Ok(None);
        }
        let known = [&b"package"[..], b"config", b"option", b"list"];
        let Some(keyword) = known.into_iter().find(|k| *k == keyword || k[..1] == *keyword) else {
            return Err(self.wrong(start, "no command; expected config, option, list, package or a comment"));
        };
        if self.now().is_none() {
            return Err(self.wrong(self.pos, "the line ends here; expected a name"));
        }
        self.pos += 1;
        let at = error(self.bytes, start, "");
        let (says, end) = match keyword {
            b"package" => {
                let name = self.name_word(true)?;
                (
                    Says::Package {
                        name: ascii(&name.text),
                    },
                    name.end,
                )
            }
            b"config" => {
                let kind = self.word()?;
                if kind.text.is_empty() {
                    return Err(self.wrong(kind.start, "nothing; expected the type of a section"));
                }
                if !kind.text.iter().all(u8::is_ascii_graphic) {
                    return Err(self.wrong(kind.start, "a section type with other than printing ASCII characters"));
                }
                let name = self.word()?;
                if !name.text.is_empty() && !std::str::from_utf8(&name.text).is_ok_and(is_name) {
                    return Err(self.wrong(name.start, "a section name with other than letters, digits and '_'"));
                }
                let end = if name.end > name.start { name.end } else { kind.end };
                let name = (!name.text.is_empty()).then(|| ascii(&name.text));
                (
                    Says::Config {
                        kind: ascii(&kind.text),
                        name,
                    },
                    end,
                )
            }
            _ => {
                let name = self.name_word(false)?;
                let value = self.word()?;
                let end = if value.end > value.start { value.end } else { name.end };
                let (name, value) = (ascii(&name.text), value.text);
                (
                    if keyword == b"list" {
                        Says::Item { name, value }
                    } else {
                        Says::Option { name, value }
                    },
                    end,
                )
            }
        };
        let extra = self.word()?;
        if !extra.text.is_empty() {
            return Err(self.wrong(
                extra.start,
                "one word too many; expected the end of the line (put a value with spaces in quotes)",
            ));
        }
        Ok(Some(Command {
            says,
            start,
            end,
            line: at.line,
            column: at.column,
        }))
    }

    /// A name that must be there; that of a package may hold any printing character.
    fn name_word(&mut self, package: bool) -> Result<Word, Error> {
        let word = self.word()?;
        if word.text.is_empty() {
            return Err(self.wrong(word.start, "nothing; expected a name"));
        }
        let good = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || package && *b == b'-';
        if !word.text.iter().all(good) {
            return Err(self.wrong(word.start, "a name with other than letters, digits and '_'"));
        }
        Ok(word)
    }

    fn word(&mut self) -> Result<Word, Error> {
        let before = self.pos;
        self.skip_space();
        let start = self.pos;
        let mut text = Vec::new();
        if self.now().is_none() {
            // An error is shown where the word should stand, not on the next line.
            return Ok(Word {
                text,
                start: before,
                end: before,
            });
        }
        if self.now() == Some(b';') {
            self.pos += 1;
            return Ok(Word {
                text,
                start,
                end: start,
            });
        }
        // libuci unquotes in place. Where quotes or backslashes were left out there is room for its final NUL; else that
        // NUL falls on the `;` itself, and nothing behind it is seen.
        let mut shrunk = false;
        let end = loop {
            match self.now() {
                None => break self.pos,
                Some(b'\'') => {
                    shrunk = true;
                    self.single_quoted(&mut text)?;
                }
                Some(b'"') => {
                    shrunk = true;
                    self.double_quoted(&mut text)?;
                }
                Some(b'#') => {
                    self.stop = Some(self.pos);
                    break self.pos;
                }
                Some(b';') => {
                    if !shrunk {
                        self.stop = Some(self.pos);
                    }
                    return Ok(Word {
                        text,
                        start,
                        end: self.pos,
                    });
                }
                Some(b'\\') => {
                    shrunk = true;
                    if self.escaped() {
                        self.take(&mut text);
                    }
                }
                Some(_) => self.take(&mut text),
            }
            match self.now() {
                None => break self.pos,
                Some(b) if is_space(b) => {
                    self.pos += 1;
                    break self.pos - 1;
                }
                Some(_) => {}
            }
        };
        Ok(Word { text, start, end })
    }

    fn take(&mut self, text: &mut Vec<u8>) {
        text.extend(self.now());
        self.pos += 1;
    }

    /// Behind a `\`: whether a character follows that it protects. At the end of a line it joins the next one.
    fn escaped(&mut self) -> bool {
        self.pos += 1;
        let rest = &self.bytes[self.pos..self.end];
        if !rest.is_empty() && rest != b"\n" && rest != b"\r\n" {
            return true;
        }
        let next = self.end;
        if self.more() {
            self.pos = next;
        } else {
            self.stop = Some(self.pos);
        }
        false
    }

    fn single_quoted(&mut self, text: &mut Vec<u8>) -> Result<(), Error> {
        let open = self.pos;
        self.pos += 1;
        loop {
            match self.now() {
                Some(b'\'') => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(_) => self.take(text),
                None if self.stop.is_none() && self.more() => {}
                None => return Err(self.wrong(open, "a quote ' that nothing closes")),
            }
        }
    }

    fn double_quoted(&mut self, text: &mut Vec<u8>) -> Result<(), Error> {
        let open = self.pos;
        self.pos += 1;
        loop {
            match self.now() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    if self.escaped() {
                        self.take(text);
                    }
                }
                Some(_) => self.take(text),
                None if self.stop.is_none() && self.more() => {}
                None => return Err(self.wrong(open, "a quote \" that nothing closes")),
            }
        }
    }
}

/// Bytes that were checked to be ASCII.
fn ascii(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
