//! What the states want of each path: the executor's side of a comparison, without a disk.
//!
//! Owns one question, asked twice: by the plane when it records what it found, and by replay when it holds what was
//! recorded against the states. Nothing here reads anything but documents.

use std::collections::BTreeMap;

use jos_schemas::documents::desired_state::{Content, DesiredState, Step};
use jos_schemas::text::{Mode, Name, Owner};
use jos_trust::{Digest, sha256};

use super::line::{Ids, ShapeLine};
use crate::plan::Shape;

/// The mode of a file for which a state names none.
const FILE_MODE: u32 = 0o644;
/// The same for one that holds a secret.
const SECRET_MODE: u32 = 0o600;
/// The mode of a directory for which a state names none, and of those made above a path.
pub(crate) const DIRECTORY_MODE: u32 = 0o755;
/// Who may read a file is shown by this bit: without it its content is known by MAC alone.
const READ_BY_ALL: u32 = 0o004;

/// What a file is to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Holds<'s> {
    /// This text.
    Text(&'s str),
    /// A value that only the device knows.
    Secret(&'s Name),
    /// Content by hash.
    Blob(Digest, u64),
}

/// What a path is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Want<'s> {
    File {
        holds: Holds<'s>,
        mode: u32,
        /// As the state names it; empty where it names nobody.
        owner: &'s str,
    },
    Dir {
        mode: u32,
        owner: &'s str,
    },
    Link {
        target: &'s str,
    },
    Gone,
}

/// What `step` wants of its path, where it is about one path alone.
pub(crate) fn want(step: &Step) -> Option<(&str, Want<'_>)> {
    let bits = |mode: &Option<Mode>, default| mode.as_ref().map_or(default, Mode::bits);
    fn owner(owner: &Option<Owner>) -> &str {
        owner.as_ref().map_or("", Owner::as_str)
    }
    Some(match step {
        Step::File(file) => {
            let holds = match (&file.content, &file.source) {
                (Some(Content::Text(text)), _) => Holds::Text(text),
                (Some(Content::Secret(secret)), _) => Holds::Secret(&secret.secret),
                (None, Some(blob)) => Holds::Blob((&blob.sha256).into(), blob.size),
                (None, None) => return None,
            };
            let default = if matches!(holds, Holds::Secret(_)) {
                SECRET_MODE
            } else {
                FILE_MODE
            };
            let (mode, owner) = (bits(&file.mode, default), owner(&file.owner));
            (file.path.as_str(), Want::File { holds, mode, owner })
        }
        Step::Directory(dir) => {
            let (mode, owner) = (bits(&dir.mode, DIRECTORY_MODE), owner(&dir.owner));
            (dir.path.as_str(), Want::Dir { mode, owner })
        }
        Step::Link(link) => (link.path.as_str(), Want::Link { target: &link.target }),
        Step::Absent(absent) => (absent.path.as_str(), Want::Gone),
        _ => return None,
    })
}

/// See [`Differs::what`]: a hash where there should be a MAC, or the other way round.
pub(crate) const KNOWN_BY: &str = "content known by";

/// How a shape is not what is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Differs {
    /// Which property.
    pub(crate) what: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Differs {
    fn new(what: &'static str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Self {
        Self {
            what,
            expected: format!("{what} {expected}"),
            found: format!("{what} {found}"),
        }
    }
}

impl Want<'_> {
    /// Whether `shape` is known to be what is wanted: every property can be compared, and none differs.
    pub(crate) fn is_met_by(&self, shape: Option<&Shape>, ids: &Ids<'_>) -> bool {
        let owner = match self {
            Self::File { owner, .. } | Self::Dir { owner, .. } => owner,
            Self::Link { .. } | Self::Gone => "",
        };
        ids.contains_key(owner) && self.differs(shape.map(ShapeLine::from).as_ref(), ids, false).is_none()
    }

    /// The shape of a path that stands as it is wanted. What was `known` of it stays known: its owner where `ids` has no
    /// number for the name, the MAC of its content.
    pub(crate) fn shape(&self, ids: &Ids<'_>, known: Option<&Shape>) -> Option<Shape> {
        let owner = |owner: &str| {
            let seen = known.map(|k| k.owner.clone()).filter(|o| !o.is_empty());
            ids.get(owner).map(|id| (*id).to_owned()).or(seen).unwrap_or_default()
        };
        let bare = |kind: &str, mode: Option<u32>, of: &str| Shape {
            kind: kind.into(),
            mode: mode.map(|m| format!("{m:04o}")),
            owner: owner(of),
            size: None,
            sha256: None,
            mac: None,
            secret: None,
            target: None,
        };
        Some(match self {
            Self::Gone => return None,
            Self::Dir { mode, owner } => bare("directory", Some(*mode), owner),
            Self::Link { target } => Shape {
                target: Some((*target).to_owned()),
                ..bare("link", None, "")
            },
            Self::File { holds, mode, owner } => {
                let mut shape = bare("file", Some(*mode), owner);
                let by_hash = !self.is_hidden() && known.is_none_or(|k| k.mac.is_none());
                match holds {
                    Holds::Secret(name) => shape.secret = Some((*name).clone()),
                    Holds::Blob(digest, size) => {
                        shape.size = Some(*size);
                        shape.sha256 = by_hash.then(|| digest.to_string());
                    }
                    Holds::Text(text) => {
                        shape.size = Some(text.len() as u64);
                        shape.sha256 = by_hash.then(|| sha256(text.as_bytes()).to_string());
                    }
                }
                if !by_hash {
                    shape.mac = known.and_then(|k| k.mac.clone());
                }
                shape
            }
        })
    }

    /// Whether everybody may read what is wanted, so that its hash may be known.
    pub(super) fn is_hidden(&self) -> bool {
        match self {
            Want::File { holds, mode, .. } => matches!(holds, Holds::Secret(_)) || mode & READ_BY_ALL == 0,
            _ => false,
        }
    }

    /// Holds `shape` against what is wanted. `hidden`: the content is known by MAC, for the path holds a secret here or
    /// held one before. An owner that `ids` does not know is not compared, unless it is a number.
    pub(super) fn differs(&self, shape: Option<&ShapeLine<'_>>, ids: &Ids<'_>, hidden: bool) -> Option<Differs> {
        let word = |want: &Want<'_>| match want {
            Want::File { .. } => "file",
            Want::Dir { .. } => "directory",
            Want::Link { .. } => "link",
            Want::Gone => "nothing",
        };
        let Some(shape) = shape else {
            return match self {
                Want::Gone => None,
                other => Some(Differs::new("a", word(other), "path with nothing at it")),
            };
        };
        if shape.kind != word(self) {
            return Some(Differs::new("a", word(self), &shape.kind));
        }
        let mode_differs = |mode: u32| {
            let found = shape.mode.and_then(|m| u32::from_str_radix(m, 8).ok());
            (found != Some(mode) || shape.mode.is_some_and(|m| m.len() != 4))
                .then(|| Differs::new("mode", format_args!("{mode:04o}"), shape.mode.unwrap_or("none")))
        };
        let owner_differs = |owner: &str| {
            let known = ids.get(owner).copied().or_else(|| numeric(owner).then_some(owner));
            known.and_then(|known| (known != shape.owner).then(|| Differs::new("owner", known, shape.owner)))
        };
        match self {
            Want::Gone => None,
            Want::Dir { mode, owner } => mode_differs(*mode).or_else(|| owner_differs(owner)),
            Want::Link { target } => match shape.target.as_deref() {
                Some(found) if found == *target => owner_differs(""),
                found => Some(Differs::new("target", target, found.unwrap_or("none"))),
            },
            Want::File { holds, mode, owner } => mode_differs(*mode)
                .or_else(|| owner_differs(owner))
                .or_else(|| content_differs(holds, shape, hidden)),
        }
    }
}

fn content_differs(holds: &Holds<'_>, shape: &ShapeLine<'_>, hidden: bool) -> Option<Differs> {
    let (digest, size) = match holds {
        Holds::Text(text) => ((!hidden).then(|| sha256(text.as_bytes())), Some(text.len() as u64)),
        Holds::Blob(digest, size) => (Some(*digest), Some(*size)),
        Holds::Secret(name) => {
            let found = shape.secret.unwrap_or("none");
            // What stood there before knows its MAC, not which secret it was.
            if shape.secret.is_some_and(|s| s != name.as_str()) {
                return Some(Differs::new("secret", name, found));
            }
            return (shape.mac.is_none() || shape.sha256.is_some())
                .then(|| Differs::new(KNOWN_BY, "MAC", "hash: a secret could be guessed"));
        }
    };
    if let (Some(size), Some(found)) = (size, shape.size)
        && size != found
    {
        return Some(Differs::new("size", size, found));
    }
    if hidden {
        return (shape.mac.is_none() || shape.sha256.is_some())
            .then(|| Differs::new(KNOWN_BY, "MAC", "hash, though not everybody may read it"));
    }
    let digest = digest?;
    match shape.sha256.and_then(|s| s.parse::<Digest>().ok()) {
        Some(found) if found == digest => None,
        Some(found) => Some(Differs::new("sha256", digest, found)),
        None => Some(Differs::new("sha256", digest, "none")),
    }
}

fn numeric(owner: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    owner
        .split_once(':')
        .is_some_and(|(user, group)| number(user) && number(group))
}

/// Where in the states something is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Which of the parts.
    pub(crate) part: usize,
    /// Which of its steps.
    pub(crate) step: usize,
}

/// What all states together want, the later over the earlier, path by path.
pub(crate) fn overlaid<'s>(states: impl Iterator<Item = &'s DesiredState>) -> BTreeMap<&'s str, (At, Want<'s>)> {
    let mut all = BTreeMap::new();
    for (part, state) in states.enumerate() {
        for (step, listed) in state.spec.apply.iter().enumerate() {
            if let Some((path, want)) = want(listed) {
                all.insert(path, (At { part, step }, want));
            }
        }
    }
    all
}
