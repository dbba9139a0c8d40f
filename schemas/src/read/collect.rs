//! All errors of a document: read, note the error, pass over what is wrong, read again.

use std::collections::HashSet;

use serde::de::DeserializeOwned;

use super::de::{Context, Reader};
use super::hole::CANDIDATES;
use super::wrong::{Error, Inner, Place, Wrong};
use crate::check::Issues;
use crate::node::{Kind, Node, Span, escaped, shortened};
use crate::report::{Issue, MOST, Report};

/// Readings at most; each ends with something passed over or made up, so that this is only a bound on time.
const READINGS: usize = 4 * MOST;

pub(super) fn typed<T: DeserializeOwned>(name: &str, text: &str, root: &Node) -> Result<T, Report> {
    let mut value = None;
    repeated(name, text, root, &mut |reader| {
        value = Some(T::deserialize(reader)?);
        Ok(())
    })?;
    value.ok_or_else(|| Report::one(name, Issue::new("not a valid document")))
}

/// What jos wrote for itself: one reading, the first error.
pub(crate) fn own<T: DeserializeOwned>(node: &Node) -> Result<T, String> {
    let context = Context::own();
    match T::deserialize(Reader::new(node, &context)) {
        Ok(value) => Ok(value),
        Err(error) => Err(first(error, node)),
    }
}

fn first(error: Error<'_>, root: &Node) -> String {
    let Inner { place, wrong } = error.into_inner();
    let mut path = Vec::new();
    match place {
        Place::Unknown => {}
        Place::Value(node) | Place::Hole(node, _) => drop(find(root, node, &mut path)),
        Place::Key(entry) => drop(find(root, &entry.value, &mut path)),
    }
    let message = worded(&wrong).message;
    match path.is_empty() {
        true => message,
        false => format!("{message}, at {}", pointer(&path)),
    }
}

/// Reads until nothing new goes wrong.
fn repeated<'a>(
    name: &str,
    text: &str,
    root: &'a Node,
    read: &mut dyn FnMut(Reader<'a, '_>) -> Result<(), Error<'a>>,
) -> Result<(), Report> {
    let context = Context::default();
    let mut collector = Collector {
        text,
        root,
        context: &context,
        damaged: HashSet::new(),
        issues: Vec::new(),
    };
    let mut more = true;
    for _ in 0..READINGS {
        match read(Reader::new(root, &context)) {
            Ok(()) if collector.issues.is_empty() => return Ok(()),
            Ok(()) => more = false,
            Err(error) => {
                if collector.take(error.into_inner()) {
                    if collector.issues.len() < MOST {
                        continue;
                    }
                } else {
                    more = false;
                }
            }
        }
        break;
    }
    let mut issues = collector.issues;
    if issues.is_empty() {
        issues.push((0..0, Issue::new("not a valid document")));
    }
    issues.sort_by(|(a, x), (b, y)| (a.start, &x.pointer).cmp(&(b.start, &y.pointer)));
    issues.truncate(MOST);
    Err(Report {
        file: name.to_owned(),
        issues: issues.into_iter().map(|(_, issue)| issue).collect(),
        more,
    })
}

struct Collector<'a, 'c> {
    text: &'a str,
    root: &'a Node,
    context: &'c Context,
    /// Nodes of which something was passed over, up to two levels below: rules between fields cannot be judged there.
    damaged: HashSet<*const Node>,
    issues: Vec<(Span, Issue)>,
}

impl Collector<'_, '_> {
    /// Notes the error and passes over its cause. False when nothing is left to read.
    fn take(&mut self, Inner { place, wrong }: Inner<'_>) -> bool {
        match place {
            Place::Unknown => self.value(self.root, &wrong),
            Place::Key(entry) => {
                let path = self.path_to(&entry.value);
                self.note(pointer(&path), &entry.key_span, worded(&wrong));
                self.pass_over(&path)
            }
            Place::Hole(node, field) => self.next_candidate(node, field),
            Place::Value(node) => self.value(node, &wrong),
        }
    }

    fn value(&mut self, node: &Node, wrong: &Wrong) -> bool {
        let path = self.path_to(node);
        match wrong {
            Wrong::Missing(field) => {
                if !self.explained(node, field) {
                    let place = format!("{}/{field}", pointer(&path));
                    self.note(place, &opening(node), worded(wrong));
                }
                // `type` decides what else is expected; without it nothing more can be said about this value.
                let holes = &mut *self.context.holes.borrow_mut();
                let known = holes
                    .get(&(node as *const Node))
                    .is_some_and(|holes| holes.iter().any(|(f, _)| f == field));
                if *field != "type" && !known {
                    holes.entry(node).or_default().push((field, 0));
                    self.damaged.insert(node);
                    return true;
                }
            }
            Wrong::Other(text) => match Issues::decode(text) {
                Some(_) if self.damaged.contains(&(node as *const Node)) => {}
                Some(found) => {
                    for found in found {
                        let at = node.pointer(&found.pointer).unwrap_or(node);
                        let help = (!found.help.is_empty()).then_some(found.help);
                        let issue = Issue {
                            help,
                            ..Issue::new(found.message)
                        };
                        let span = if std::ptr::eq(at, node) {
                            opening(node)
                        } else {
                            at.span.clone()
                        };
                        self.note(pointer(&path) + &found.pointer, &span, issue);
                    }
                }
                None => self.note(pointer(&path), &node.span, worded(wrong)),
            },
            _ => self.note(pointer(&path), &opening(node), worded(wrong)),
        }
        self.pass_over(&path)
    }

    /// A missing field needs no word where its value was refused, or where a misspelt key was taken for unknown.
    fn explained(&self, node: &Node, field: &str) -> bool {
        let skipped = self.context.skipped.borrow();
        node.entries().iter().any(|entry| {
            entry.key == field
                || (skipped.contains(&(&entry.value as *const Node))
                    && nearest(&entry.key, [field].into_iter()).is_some())
        })
    }

    /// Tries the next made-up value for a missing field, or gives up on the table that misses it.
    fn next_candidate(&mut self, node: &Node, field: &str) -> bool {
        if let Some(holes) = self.context.holes.borrow_mut().get_mut(&(node as *const Node))
            && let Some((_, candidate)) = holes.iter_mut().find(|(f, c)| *f == field && *c + 1 < CANDIDATES)
        {
            *candidate += 1;
            return true;
        }
        let path = self.path_to(node);
        self.pass_over(&path)
    }

    fn note(&mut self, pointer: String, span: &Span, issue: Issue) {
        let issue = Issue { pointer, ..issue };
        self.issues.push((span.clone(), issue.at(self.text, span)));
    }

    /// Passes over the last node of a path. False for the root, or for one passed over before.
    fn pass_over(&mut self, path: &[(String, *const Node)]) -> bool {
        let Some(((_, node), above)) = path.split_last() else {
            return false;
        };
        self.damaged.extend(above.iter().rev().take(2).map(|(_, node)| *node));
        if above.len() < 2 {
            self.damaged.insert(self.root);
        }
        self.context.skipped.borrow_mut().insert(*node)
    }

    /// The way from the root to a node, by identity, the root itself left out.
    fn path_to(&self, node: &Node) -> Vec<(String, *const Node)> {
        let mut path = Vec::new();
        find(self.root, node, &mut path);
        path
    }
}

fn find(from: &Node, wanted: &Node, path: &mut Vec<(String, *const Node)>) -> bool {
    if std::ptr::eq(from, wanted) {
        return true;
    }
    let mut below = |token: String, node: &Node| {
        path.push((token, node as *const Node));
        find(node, wanted, path) || path.pop().is_none()
    };
    match &from.kind {
        Kind::Array(items) => items.iter().enumerate().any(|(at, item)| below(at.to_string(), item)),
        Kind::Object(entries) => entries.iter().any(|entry| below(entry.key.clone(), &entry.value)),
        _ => false,
    }
}

/// A JSON pointer whose tokens are cut to a length that people can read.
fn pointer(path: &[(String, *const Node)]) -> String {
    path.iter()
        .map(|(token, _)| format!("/{}", escaped(&shortened(token))))
        .collect()
}

/// Where a value begins: a table of many lines is shown by its first byte only.
fn opening(node: &Node) -> Span {
    match node.kind {
        Kind::Object(_) | Kind::Array(_) => node.span.start..(node.span.start + 1).min(node.span.end),
        _ => node.span.clone(),
    }
}

fn worded(wrong: &Wrong) -> Issue {
    match wrong {
        Wrong::Expected { found, expected } => Issue {
            found: Some(found.clone()),
            expected: Some(expected.clone()),
            ..Issue::new(format!("found {found}, expected {expected}"))
        },
        Wrong::Missing(field) => Issue {
            found: Some("nothing".to_owned()),
            expected: Some(format!("the field {field:?}")),
            ..Issue::new(format!("missing field {field:?}"))
        },
        Wrong::Unknown { what, found, known } => unknown(what, found, known),
        Wrong::Other(text) => Issue::new(text.clone()),
    }
}

fn unknown(what: &str, found: &str, known: &[&str]) -> Issue {
    let mut message = match what {
        "field" => "unknown field".to_owned(),
        _ => format!("unknown {what} {:?}", shortened(found)),
    };
    if let Some(near) = nearest(found, known.iter().copied()) {
        message.push_str(&format!("; did you mean {near:?}?"));
    }
    let mut list = known
        .iter()
        .filter(|name| **name != "$schema")
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if list.is_empty() {
        list = "none".to_owned();
    }
    Issue {
        found: Some(format!("{what} {:?}", shortened(found))),
        expected: Some(format!("one of {list}")),
        help: Some(format!("known {what}s: {list}")),
        ..Issue::new(message)
    }
}

/// The known name that was most likely meant.
pub(crate) fn nearest<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let found = shortened(found).to_lowercase();
    let scored = known.map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), name));
    let (distance, name) = scored.min()?;
    let longest = found.chars().count().max(name.chars().count());
    (distance * 5 <= longest * 2).then_some(name)
}
