//! UCI files: our own reader and writer of OpenWrt's `/etc/config`.
//!
//! Owns what such a file says (sections, options, lists) and how it is changed without touching the rest: comments,
//! order, blank lines and quotes of what is not changed stay byte for byte. Reads what libuci's strict parser reads, the
//! same way; what libuci refuses is refused here, with line and column. Values are bytes: UCI knows no encoding.
//! Touches no disk.
//!
//! ```text
//! package NAME            checked, then ignored, as libuci does for a file of /etc/config
//! config TYPE ['NAME']    opens a section; a name seen before opens that section again
//!     option NAME VALUE   the last one wins, at the place of the first; an empty VALUE says nothing
//!     list NAME VALUE     one item; an `option` of the same name before it becomes the first item
//! # comment               from a # that no quote covers to the end of the line, even inside a word
//! ```
//! Words are separated by white space. `'…'` keeps everything, `"…"` and bare words know `\`; quotes may go over lines;
//! quoted and bare pieces without space between them are one word. `;` separates commands, except that after a bare word
//! libuci drops the rest of the line. Keywords may be one letter.

mod edit;
mod read;
pub(crate) mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use read::Line;

/// Why a file is no UCI file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// What was found and what was expected. Never a value: it may be a secret.
    pub what: &'static str,
}

/// Why an edit cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// UCI has no place for such a value.
    #[error("{0}")]
    Unwritable(&'static str),
    /// What was written would read as something else than what was meant. The file is left alone.
    #[error("the file is written in a way that cannot be changed safely; rewrite it with `uci export` first")]
    Differs,
}

/// The value of an option.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// `option`; never empty.
    One(Vec<u8>),
    /// `list`, in order.
    Many(Vec<Vec<u8>>),
}

/// Values may be secrets: only their shape is shown.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::One(v) => write!(f, "One({} bytes)", v.len()),
            Value::Many(v) => write!(f, "Many({} items)", v.len()),
        }
    }
}

/// A section as UCI knows it: all `config` lines of its name together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its type.
    pub kind: String,
    /// Its name; one that libuci would make up where it has none.
    pub name: String,
    /// The name is made up.
    pub anonymous: bool,
    /// In the order in which they first appear.
    pub options: Vec<(String, Value)>,
}

impl Section {
    /// The value of an option.
    pub fn get(&self, option: &str) -> Option<&Value> {
        self.options.iter().find(|(name, _)| name == option).map(|(_, v)| v)
    }
}

/// A UCI file: what it says, and its lines.
#[derive(Clone, Debug)]
pub struct Config {
    lines: Vec<Line>,
    sections: Vec<Section>,
    /// For each section: which lines, and which command of the line.
    places: Vec<Places>,
}

/// Where a section is written. A place is (line, command in the line).
#[derive(Clone, Debug, Default)]
struct Places {
    /// Its `config` commands.
    heads: Vec<(usize, usize)>,
    /// Its other commands with the option that each names.
    options: Vec<(String, (usize, usize))>,
}

impl Config {
    /// Reads a file.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let lines = read::lines(bytes)?;
        let (sections, places) = model(&lines)?;
        Ok(Self {
            lines,
            sections,
            places,
        })
    }

    /// The file; byte for byte what was read where nothing was changed.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|l| l.raw.iter().copied()).collect()
    }

    /// All sections, in order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The place in [`Config::sections`] of a section by its name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.sections.iter().position(|s| s.name == name)
    }

    /// The same, of the `index`-th section of a type: `@type[index]`.
    pub fn indexed(&self, kind: &str, index: usize) -> Option<usize> {
        self.of_type(kind).nth(index)
    }

    /// All sections of a type.
    pub fn of_type<'c>(&'c self, kind: &'c str) -> impl Iterator<Item = usize> + 'c {
        let of = move |(at, s): (usize, &Section)| (s.kind == kind).then_some(at);
        self.sections.iter().enumerate().filter_map(of)
    }
}

/// What the commands of a file come to, and where each section is written.
fn model(lines: &[Line]) -> Result<(Vec<Section>, Vec<Places>), Error> {
    use read::Says;
    let (mut sections, mut places): (Vec<Section>, Vec<Places>) = (Vec::new(), Vec::new());
    // The first section of a name, the first option of a name in each section: a file of a megabyte has many.
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut known: Vec<BTreeMap<&str, usize>> = Vec::new();
    let mut open: Option<usize> = None;
    let commands = lines
        .iter()
        .enumerate()
        .flat_map(|(l, line)| line.commands.iter().enumerate().map(move |(c, cmd)| ((l, c), cmd)));
    for (place, command) in commands {
        let wrong = |what| Error {
            line: command.line,
            column: command.column,
            what,
        };
        match &command.says {
            Says::Package { .. } => {}
            Says::Config { kind, name } => {
                let at = match name.as_ref().and_then(|n| names.get(n).copied()) {
                    Some(at) if sections[at].kind != *kind => {
                        return Err(wrong(
                            "a section of this name has another type above; expected the same type",
                        ));
                    }
                    Some(at) => at,
                    None => {
                        let anonymous = name.is_none();
                        let name = name.clone().unwrap_or_else(|| made_up(sections.len() + 1, kind));
                        names.entry(name.clone()).or_insert(sections.len());
                        sections.push(Section {
                            kind: kind.clone(),
                            name,
                            anonymous,
                            options: Vec::new(),
                        });
                        places.push(Places::default());
                        known.push(BTreeMap::new());
                        sections.len() - 1
                    }
                };
                places[at].heads.push(place);
                open = Some(at);
            }
            Says::Option { name, value } | Says::Item { name, value } => {
                let Some(at) = open else {
                    return Err(wrong(
                        "an option or list before the first section; expected \"config TYPE\" above it",
                    ));
                };
                places[at].options.push((name.clone(), place));
                let options = &mut sections[at].options;
                let says_nothing = matches!(command.says, Says::Option { .. }) && value.is_empty();
                if says_nothing {
                    continue;
                }
                let place = *known[at].entry(name).or_insert(options.len());
                match (&command.says, options.get_mut(place).map(|(_, v)| v)) {
                    (Says::Option { .. }, Some(old)) => *old = Value::One(value.clone()),
                    (Says::Option { .. }, None) => options.push((name.clone(), Value::One(value.clone()))),
                    (_, Some(Value::Many(items))) => items.push(value.clone()),
                    (_, Some(old @ Value::One(_))) => {
                        let Value::One(first) = std::mem::replace(old, Value::Many(Vec::new())) else {
                            continue;
                        };
                        *old = Value::Many(vec![first, value.clone()]);
                    }
                    (_, None) => options.push((name.clone(), Value::Many(vec![value.clone()]))),
                }
            }
        }
    }
    Ok((sections, places))
}

/// The name that libuci gives to the `number`-th section when it has none: its place and a hash (djb2) of its type.
fn made_up(number: usize, kind: &str) -> String {
    let hash = kind
        .bytes()
        .fold(5381_u32, |h, b| h.wrapping_mul(33).wrapping_add(u32::from(b)))
        & 0x7fff_ffff;
    format!("cfg{number:02x}{:04x}", hash % (1 << 16))
}

/// A name of a section or option.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
