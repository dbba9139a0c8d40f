//! Directories and files that no operation may reach, known by what they are and not by their names.
//!
//! Owns the last line behind the gate, which judges names: whoever walks a path and comes through a protected directory, by
//! whatever mount, firmlink or spelling, is stopped there. A protected path that does not exist yet is known by the nearest
//! directory above it that does, and what follows.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use super::Disk;
use super::sys::{self, Id};
use crate::globs;

/// What is protected.
#[derive(Default)]
pub(super) struct Own {
    known: BTreeMap<Id, Vec<Start>>,
    /// Directories that were walked to and are none of these: they need no second walk.
    clean: RefCell<BTreeSet<Id>>,
}

/// A pattern, from a directory that exists on.
struct Start {
    /// What follows that directory; empty: it is protected itself.
    rest: String,
    whole: String,
}

/// How a way on from a directory lies to what is protected.
pub(super) enum Meets<'o> {
    /// It leads there: to this pattern.
    It(&'o str),
    /// It may lead there further on.
    Near,
    Nothing,
}

impl Own {
    /// What lies ahead of whoever is at `at` and goes on by `way`.
    pub(super) fn ahead(&self, at: Id, way: &[&str]) -> Meets<'_> {
        let mut meets = Meets::Nothing;
        for start in self.known.get(&at).into_iter().flatten() {
            match follow(&start.rest, way) {
                Meets::It(_) => return Meets::It(&start.whole),
                Meets::Near => meets = Meets::Near,
                Meets::Nothing => {}
            }
        }
        meets
    }

    pub(super) fn is_clean(&self, at: Id) -> bool {
        self.clean.borrow().contains(&at)
    }

    pub(super) fn found_clean(&self, at: Id) {
        self.clean.borrow_mut().insert(at);
    }
}

fn follow<'r>(rest: &'r str, way: &[&str]) -> Meets<'r> {
    let mut way = way.iter();
    // Who went a part of it may be back by a directory that does not exist yet.
    let mut other = Meets::Nothing;
    for part in rest.split('/').skip(1) {
        let Some(name) = way.next() else { return Meets::Near };
        if part.contains("**") {
            return Meets::It(rest);
        }
        // The gate folds its patterns as this file system compares names.
        let same = if cfg!(any(target_os = "macos", windows)) {
            globs::matches(part, &name.to_lowercase())
        } else {
            globs::matches(part, name)
        };
        if !same {
            return other;
        }
        other = Meets::Near;
    }
    Meets::It(rest)
}

/// How much of a pattern names one path and no other: up to its last whole component without a wildcard.
pub(super) fn literal(pattern: &str) -> &str {
    match pattern.find(['*', '?']) {
        Some(wild) => &pattern[..pattern[..wild].rfind('/').unwrap_or(0)],
        None => pattern,
    }
}

impl Disk {
    /// `pattern` as it is without links, where the directories that it begins with lie elsewhere.
    pub(crate) fn real(&self, pattern: &str) -> Option<String> {
        let root = std::fs::canonicalize(sys::base(&self.shown)).ok()?;
        let mut end = literal(pattern).len();
        let there = loop {
            match std::fs::canonicalize(self.at(&pattern[..end])) {
                Ok(real) => break real,
                Err(_) if end == 0 => return None,
                Err(_) => end = pattern[..end].rfind('/').unwrap_or(0),
            }
        };
        let mut real = String::new();
        for part in there.strip_prefix(root).ok()?.iter() {
            real.push('/');
            real.push_str(part.to_str()?);
        }
        real.push_str(&pattern[end..]);
        (real != pattern).then_some(real)
    }

    fn at(&self, path: &str) -> PathBuf {
        sys::base(&self.shown).join(path.trim_start_matches('/'))
    }

    /// From now on nothing is reached that one of `patterns` covers, whatever it is called.
    pub(crate) fn keep_off<'p>(&self, patterns: impl Iterator<Item = &'p str>) {
        let mut own = Own::default();
        for whole in patterns {
            let mut end = literal(whole).len();
            let start = loop {
                match sys::id_of_path(&self.at(&whole[..end])) {
                    Some(id) => break Some(id),
                    _ if end == 0 => break None,
                    _ => end = whole[..end].rfind('/').unwrap_or(0),
                }
            };
            let rest = whole[end..].to_owned();
            let whole = whole.to_owned();
            if let Some(start) = start {
                own.known.entry(start).or_default().push(Start { rest, whole });
            }
        }
        *self.own.borrow_mut() = Some(Rc::new(own));
    }
}
