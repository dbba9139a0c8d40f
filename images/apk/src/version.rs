//! Versions: `1.2.3a_rc1~0a1b-r4`, their grammar and their order.
//!
//! Owns: digits, parts after dots, one letter, suffixes with a number, a commit, and the package's own revision, in that
//! order (apk-package(5), *Version specification*).

use std::cmp::Ordering;

use crate::ApkError;

/// Suffixes that come before the version they are on, then those that come after it, in their order.
const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// One part of a version; the order of the variants is that in which they may follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    First(u64),
    Digits(u64, &'a str),
    Letter(u8),
    /// Place in the order of suffixes; below 4 is before the plain version.
    Suffix(usize),
    SuffixNumber(u64),
    Commit(&'a str),
    Revision(u64),
    End,
}

impl Part<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::First(_) => 0,
            Self::Digits(..) => 1,
            Self::Letter(_) => 2,
            Self::Suffix(_) => 3,
            Self::SuffixNumber(_) => 4,
            Self::Commit(_) => 5,
            Self::Revision(_) => 6,
            Self::End => 7,
        }
    }
}

/// A version as it stands, known to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    text: &'a str,
}

impl<'a> Version<'a> {
    /// Takes `text` for a version.
    ///
    /// # Errors
    /// [`ApkError::Field`] where it is none.
    pub fn new(text: &'a str) -> Result<Self, ApkError> {
        let mut rest = text;
        let mut last = first(&mut rest);
        while let Some(part) = last {
            if part == Part::End {
                return Ok(Self { text });
            }
            last = next(&part, &mut rest);
        }
        Err(ApkError::field(
            "version",
            text,
            "digits, then .digits, a letter, _suffixN, ~commit and -rN, such as 1.2.3-r1",
        ))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut mine, mut theirs) = (self.text, other.text);
        let (mut a, mut b) = (first(&mut mine), first(&mut theirs));
        loop {
            let (Some(x), Some(y)) = (a, b) else {
                return Ordering::Equal;
            };
            if x.rank() != y.rank() {
                // What goes on is the later, unless it goes on as a version's forerunner.
                return match (x, y) {
                    (Part::Suffix(s), _) if s < BEFORE.len() => Ordering::Less,
                    (_, Part::Suffix(s)) if s < BEFORE.len() => Ordering::Greater,
                    _ => y.rank().cmp(&x.rank()),
                };
            }
            let order = compare(&x, &y);
            if order != Ordering::Equal || x == Part::End {
                return order;
            }
            (a, b) = (next(&x, &mut mine), next(&y, &mut theirs));
        }
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare(a: &Part<'_>, b: &Part<'_>) -> Ordering {
    match (a, b) {
        // A leading zero makes it a fraction: 1.05 is before 1.1.
        (Part::Digits(_, a), Part::Digits(_, b)) if a.starts_with('0') || b.starts_with('0') => a.cmp(b),
        (Part::First(a), Part::First(b))
        | (Part::Digits(a, _), Part::Digits(b, _))
        | (Part::SuffixNumber(a), Part::SuffixNumber(b))
        | (Part::Revision(a), Part::Revision(b)) => a.cmp(b),
        (Part::Letter(a), Part::Letter(b)) => a.cmp(b),
        (Part::Suffix(a), Part::Suffix(b)) => a.cmp(b),
        (Part::Commit(a), Part::Commit(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

fn first<'a>(rest: &mut &'a str) -> Option<Part<'a>> {
    digits(rest).map(|(number, _)| Part::First(number))
}

/// The part after `last`, `None` where none may stand.
fn next<'a>(last: &Part<'a>, rest: &mut &'a str) -> Option<Part<'a>> {
    let rank = last.rank();
    let Some(head) = rest.bytes().next() else {
        return Some(Part::End);
    };
    match head {
        b'a'..=b'z' if rank <= 1 => {
            *rest = &rest[1..];
            Some(Part::Letter(head))
        }
        b'.' if rank <= 1 => {
            *rest = &rest[1..];
            digits(rest).map(|(number, text)| Part::Digits(number, text))
        }
        b'0'..=b'9' if matches!(last, Part::Suffix(_)) => digits(rest).map(|(number, _)| Part::SuffixNumber(number)),
        b'_' if rank <= 4 => {
            let word = take(&rest[1..], |b| b.is_ascii_lowercase());
            *rest = &rest[1 + word.len()..];
            let place = BEFORE.iter().chain(&AFTER).position(|suffix| *suffix == word)?;
            Some(Part::Suffix(place))
        }
        b'~' if rank < 5 => {
            let word = take(&rest[1..], |b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            *rest = &rest[1 + word.len()..];
            (!word.is_empty()).then_some(Part::Commit(word))
        }
        b'-' if rank < 6 => {
            *rest = rest.strip_prefix("-r")?;
            digits(rest).map(|(number, _)| Part::Revision(number))
        }
        _ => None,
    }
}

fn digits<'a>(rest: &mut &'a str) -> Option<(u64, &'a str)> {
    let text = take(rest, |b| b.is_ascii_digit());
    *rest = &rest[text.len()..];
    Some((text.parse().ok()?, text))
}

fn take(text: &str, is: impl Fn(u8) -> bool) -> &str {
    &text[..text.bytes().take_while(|b| is(*b)).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_order_of_apk_tools() {
        // Each is before the next.
        let ascending = [
            "0.1_alpha1",
            "0.1_alpha2",
            "0.1_beta1",
            "0.1_pre1",
            "0.1_rc2",
            "0.1",
            "0.1-r1",
            "0.1-r10",
            "0.1_p1",
            "0.1a",
            "0.1.0",
            "0.1.05",
            "0.1.5",
            "0.1.10",
            "0.2",
            "1",
            "1.0",
            "2.3.4-r1",
            "2.3.4~0a-r1",
            "2.3.4_git20200101",
            "10",
        ];
        for pair in ascending.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|v| Version::new(v).expect("a version"));
            assert_eq!(
                (a.cmp(&b), b.cmp(&a)),
                (Ordering::Less, Ordering::Greater),
                "{a:?} {b:?}"
            );
        }
        let same = Version::new("1.0-r1").expect("a version");
        assert_eq!(same.cmp(&same), Ordering::Equal);
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "a",
            "1.",
            "1..2",
            "1.0-1",
            "1.0-r",
            "1.0_nope",
            "1.0ab",
            "1.0-r1-r2",
            "1.0~",
            "1.0 ",
            "v1",
            "1.0~dev",
        ] {
            assert!(Version::new(text).is_err(), "{text:?}");
        }
    }
}
