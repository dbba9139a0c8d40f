//! Walks over canonical bytes whose members are known by heart: they stand in one order and one spelling.
//!
//! For readings that are quick or not there: whatever is not exactly what was expected is `None`, and left to a reading that
//! takes every form and words what is wrong.

use super::jcs::value_end;
use super::scan::plain_end;

/// A place in a canonical text.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The largest text that is read so: larger ones have limits of their own, which the other reading knows.
    pub const MOST: usize = 64 * 1024;

    /// At the beginning of canonical bytes. A router's small program does without all this: what never begins is not compiled
    /// (decision 043).
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        if cfg!(target_arch = "mips") {
            return None;
        }
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.len() <= Self::MOST)?;
        Some(Self { text, at: 0 })
    }

    /// Steps over `literal`, which must stand here.
    pub fn after(&mut self, literal: &str) -> Option<&mut Self> {
        self.text.as_bytes()[self.at..]
            .starts_with(literal.as_bytes())
            .then(|| {
                self.at += literal.len();
                self
            })
    }

    /// What follows `literal`, where it stands here. The outer `None`: it does, and something unknown follows.
    pub fn maybe<T>(&mut self, literal: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.after(literal) {
            Some(at) => read(at).map(Some),
            None => Some(None),
        }
    }

    /// A string without escapes.
    pub fn text(&mut self) -> Option<&'a str> {
        let start = self.after("\"")?.at;
        let (end, _) = plain_end(self.text.as_bytes(), start)?;
        self.at = end;
        self.after("\"")?;
        self.text.get(start..end)
    }

    /// An integer that is surely in range.
    pub fn number(&mut self) -> Option<u64> {
        let digits = self.text.as_bytes()[self.at..]
            .iter()
            .take_while(|b| b.is_ascii_digit());
        let end = self.at + digits.count();
        let number = self.text.get(self.at..end)?;
        self.at = end;
        let plain = number.len() <= 15 && (number == "0" || !number.starts_with('0'));
        number.parse().ok().filter(|_| plain)
    }

    /// Any value, as it stands there.
    pub fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.at = value_end(self.text.as_bytes(), start)?;
        self.text.get(start..self.at)
    }

    /// Nothing must follow.
    pub fn end(&self) -> Option<()> {
        (self.at == self.text.len()).then_some(())
    }
}
