//! What differs between two packages, or two images: fields, scripts, files, modes, and contents line by line.
//!
//! Owns: the comparison of two [`Report`]s ([`image`] has that of disks), and of the programs in them no more than that they differ.
//! Never: shows a line of what is no text, or colours anything.

pub mod image;

use std::collections::BTreeSet;
use std::fmt;

use jos_schemas::report::Plain;
use similar::TextDiff;

use crate::formats::{Entry, EntryKind, Report, hash};

/// A text above this is compared by its hash alone.
const LARGEST_TEXT: usize = 1 << 20;

/// One thing that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Difference {
    /// Another kind of package altogether.
    Kind {
        /// In the first.
        old: String,
        /// In the second.
        new: String,
    },
    /// A control field.
    Field {
        /// Its name.
        name: String,
        /// In the first; none where it is not there.
        old: Option<String>,
        /// In the second.
        new: Option<String>,
    },
    /// A script that the package manager runs.
    Script {
        /// Its name.
        name: String,
        /// Lines, as diff(1) writes them with three lines around each change.
        diff: String,
    },
    /// A path that only the second has.
    Added {
        /// Absolute.
        path: String,
        /// Bytes of its content.
        size: u64,
    },
    /// A path that only the first has.
    Removed {
        /// Absolute.
        path: String,
        /// Bytes of its content.
        size: u64,
    },
    /// Permission bits, owner, or kept over upgrades or not.
    Metadata {
        /// Absolute.
        path: String,
        /// Which: `mode`, `owner`, `conffile`, `kind`; in images `size`.
        attribute: &'static str,
        /// In the first.
        old: String,
        /// In the second.
        new: String,
    },
    /// What a file holds, or where a link leads.
    Content {
        /// Absolute.
        path: String,
        /// SHA-256, or a link's target.
        old: String,
        /// SHA-256, or a link's target.
        new: String,
        /// Of texts: lines.
        #[serde(skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
    },
    /// Of a disk, or of one of its partitions.
    Disk {
        /// Which: `size`, `name`, `start`, `type`, `id`, `file system`, `label`.
        attribute: &'static str,
        /// In the first.
        old: String,
        /// In the second.
        new: String,
    },
    /// What a partition holds whose file system is not looked into.
    Bytes {
        /// SHA-256 of the first.
        old: String,
        /// SHA-256 of the second.
        new: String,
    },
    /// All that is inside is the same and the files are not: order, times or compression.
    Packing {
        /// SHA-256 of the first.
        old: String,
        /// SHA-256 of the second.
        new: String,
    },
}

/// All that differs; nothing where the two are the same to the byte.
#[must_use]
pub fn diff(a: &Report, b: &Report) -> Vec<Difference> {
    let mut all = Vec::new();
    if a.sha256 == b.sha256 {
        return all;
    }
    if a.kind != b.kind {
        all.push(Difference::Kind {
            old: format!("{:?}", a.kind).to_lowercase(),
            new: format!("{:?}", b.kind).to_lowercase(),
        });
    }
    fields(a, b, &mut all);
    scripts(a, b, &mut all);
    files(a, b, &mut all);
    if all.is_empty() {
        all.push(Difference::Packing {
            old: a.sha256.clone(),
            new: b.sha256.clone(),
        });
    }
    all
}

fn fields(a: &Report, b: &Report, all: &mut Vec<Difference>) {
    let names: BTreeSet<&str> = a
        .control
        .fields
        .iter()
        .chain(&b.control.fields)
        .map(|(name, _)| name.as_str())
        .collect();
    for name in names {
        let (old, new) = (a.control.get(name), b.control.get(name));
        if old != new {
            all.push(Difference::Field {
                name: name.to_owned(),
                old: old.map(str::to_owned),
                new: new.map(str::to_owned),
            });
        }
    }
}

fn scripts(a: &Report, b: &Report, all: &mut Vec<Difference>) {
    let names: BTreeSet<&str> = a.scripts.iter().chain(&b.scripts).map(|s| s.name.as_str()).collect();
    for name in names {
        let of = |report: &Report| {
            let found = report.scripts.iter().find(|s| s.name == name);
            found.map(|s| s.text.clone()).unwrap_or_default()
        };
        let (old, new) = (of(a), of(b));
        if old != new {
            all.push(Difference::Script {
                name: name.to_owned(),
                diff: lines(&old, &new),
            });
        }
    }
}

fn files(a: &Report, b: &Report, all: &mut Vec<Difference>) {
    let paths: BTreeSet<&str> = a
        .tree
        .entries()
        .chain(b.tree.entries())
        .map(|e| e.path.as_str())
        .collect();
    for path in paths {
        let shown = format!("/{path}");
        match (a.tree.get(path), b.tree.get(path)) {
            (Some(old), None) => all.push(Difference::Removed {
                path: shown,
                size: old.size(),
            }),
            (None, Some(new)) => all.push(Difference::Added {
                path: shown,
                size: new.size(),
            }),
            (Some(old), Some(new)) => {
                let kept = |report: &Report| report.conffiles.contains(&shown).to_string();
                entry(&shown, (old, &kept(a)), (new, &kept(b)), all);
            }
            (None, None) => {}
        }
    }
}

fn entry(path: &str, (old, old_kept): (&Entry, &str), (new, new_kept): (&Entry, &str), all: &mut Vec<Difference>) {
    let kind = |entry: &Entry| match entry.kind {
        EntryKind::File(_) => "file".to_owned(),
        EntryKind::Dir => "folder".to_owned(),
        EntryKind::Symlink(_) => "link".to_owned(),
    };
    let pairs = [
        ("kind", kind(old), kind(new)),
        ("mode", format!("{:04o}", old.mode), format!("{:04o}", new.mode)),
        (
            "owner",
            format!("{}:{}", old.uid, old.gid),
            format!("{}:{}", new.uid, new.gid),
        ),
        ("conffile", old_kept.to_owned(), new_kept.to_owned()),
    ];
    for (attribute, old, new) in pairs.into_iter().filter(|(_, old, new)| old != new) {
        all.push(Difference::Metadata {
            path: path.to_owned(),
            attribute,
            old,
            new,
        });
    }
    match (&old.kind, &new.kind) {
        (EntryKind::File(old), EntryKind::File(new)) if old != new => {
            let diff = text(old).zip(text(new)).map(|(old, new)| lines(old, new));
            all.push(Difference::Content {
                path: path.to_owned(),
                old: hash::sha256(old),
                new: hash::sha256(new),
                diff,
            });
        }
        (EntryKind::Symlink(old), EntryKind::Symlink(new)) if old != new => all.push(Difference::Content {
            path: path.to_owned(),
            old: old.clone(),
            new: new.clone(),
            diff: None,
        }),
        _ => {}
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    let text = (bytes.len() <= LARGEST_TEXT).then(|| std::str::from_utf8(bytes).ok())??;
    text.chars().all(plain).then_some(text)
}

fn lines(old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(3)
        .to_string()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indented = |f: &mut fmt::Formatter<'_>, diff: &str| {
            diff.lines()
                .try_for_each(|line| write!(f, "\n    {}", Plain(&line.replace('\t', "    "))))
        };
        match self {
            Self::Kind { old, new } => write!(f, "kind: {old} → {new}"),
            Self::Field { name, old, new } => {
                let shown = |value: &Option<String>| match value {
                    Some(value) => format!("{:?}", Plain(value).to_string()),
                    None => "none".to_owned(),
                };
                write!(f, "field {name}: {} → {}", shown(old), shown(new))
            }
            Self::Script { name, diff } => {
                write!(f, "script {name}:")?;
                indented(f, diff)
            }
            Self::Added { path, size } => write!(f, "+ {} ({size} bytes)", Plain(path)),
            Self::Removed { path, size } => write!(f, "- {} ({size} bytes)", Plain(path)),
            Self::Metadata {
                path,
                attribute,
                old,
                new,
            } => write!(f, "{}: {attribute} {old} → {new}", Plain(path)),
            Self::Content { path, old, new, diff } => {
                let short = |text: &str| text.get(..16).unwrap_or(text).to_owned();
                match diff {
                    Some(diff) => {
                        write!(f, "{}:", Plain(path))?;
                        indented(f, diff)
                    }
                    None => write!(
                        f,
                        "{}: content {} → {}",
                        Plain(path),
                        Plain(&short(old)),
                        Plain(&short(new))
                    ),
                }
            }
            Self::Disk { attribute, old, new } => write!(f, "{attribute} {} → {}", Plain(old), Plain(new)),
            Self::Bytes { old, new } => write!(f, "content {} → {}", &old[..16], &new[..16]),
            Self::Packing { .. } => f.write_str("all that is inside is the same; order, times or compression differ"),
        }
    }
}
