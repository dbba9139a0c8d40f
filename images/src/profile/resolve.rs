//! Follows `extends` and merges.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jos_schemas::documents::profile::{Profile, merge};
use jos_schemas::node::{Kind, Node, Span};
use jos_schemas::read::{Format, from_node, parse};
use jos_schemas::report::{Issue, Report};

use super::bases;
use super::files::{Files, Invalid, Problems, shift, shown};
use super::{Resolved, check};
use crate::targets::nearest_of;

/// The longest chain of `extends`.
const DEEPEST: usize = 16;
/// The largest profile: 1 MiB, as every document.
const LARGEST: u64 = 1 << 20;

/// Where profiles are looked up.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    /// `--profiles DIR`.
    pub profiles: Option<PathBuf>,
    /// The profiles that come with the sources or with an installed program; the last place to look.
    pub shipped: Option<PathBuf>,
}

/// A profile file or a built-in base, found but not read.
enum Found {
    File(PathBuf),
    BuiltIn(&'static bases::Base),
}

impl Finder {
    /// The file of a profile named on the command line: a path, or a name in `--profiles DIR` or `./profiles`.
    ///
    /// # Errors
    /// [`Invalid`] with the nearest name.
    pub fn profile(&self, given: &str) -> Result<PathBuf, Invalid> {
        let path = PathBuf::from(given);
        if path.is_file() {
            return Ok(path);
        }
        let dirs = self.dirs();
        if !given.contains('/') {
            let stem = given.strip_suffix(".toml").unwrap_or(given);
            if let Some(found) = dirs
                .iter()
                .map(|d| d.join(format!("{stem}.toml")))
                .find(|p| p.is_file())
            {
                return Ok(found);
            }
        }
        let known: Vec<String> = dirs.iter().flat_map(|d| names_in(d)).collect();
        let help = match nearest_of(given, known.iter().map(String::as_str)) {
            Some(near) => {
                format!("did you mean {near:?}? `jos-image list` shows all; `jos-image new {given}` makes one")
            }
            None => {
                "give the path of a profile, or its name with --profiles DIR; `jos-image new NAME` makes one".into()
            }
        };
        let issue = Issue::new("no profile of this name").help(help);
        Err(Report::one(given, issue).into())
    }

    /// Where names are looked up, in order.
    #[must_use]
    pub fn dirs(&self) -> Vec<PathBuf> {
        let here = [PathBuf::from("profiles")];
        self.profiles
            .clone()
            .into_iter()
            .chain(here)
            .chain(self.shipped.clone())
            .filter(|d| d.is_dir())
            .collect()
    }

    /// The profile under one: beside it, in `--profiles DIR`, built in.
    fn base(&self, name: &str, folder: Option<&Path>) -> Option<Found> {
        let file = if name.ends_with(".toml") {
            name.to_owned()
        } else {
            format!("{name}.toml")
        };
        let dirs = folder.into_iter().chain(self.profiles.as_deref());
        let beside = dirs.map(|d| d.join(&file)).find(|p| p.is_file());
        beside
            .map(Found::File)
            .or_else(|| bases::find(name).map(Found::BuiltIn))
    }
}

/// Names of the profiles in a folder, sorted.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let stem = |path: PathBuf| {
        let toml = path.is_file() && path.extension().is_some_and(|e| e == "toml");
        toml.then(|| path.file_stem().map(|s| s.to_string_lossy().into_owned()))
            .flatten()
    };
    let mut names: Vec<String> = entries.filter_map(|e| stem(e.path())).collect();
    names.sort();
    names
}

/// Reads the profile at `path` with all that it extends, merges, reads types, and checks what types cannot say.
///
/// # Errors
/// Everything that is wrong, by file, line and column.
pub fn resolve(path: &Path, finder: &Finder) -> Result<Resolved, Invalid> {
    let mut chain = Chain {
        finder,
        files: Files::default(),
        layers: Vec::new(),
        seen: BTreeSet::new(),
    };
    chain.follow(path)?;
    let Chain { files, layers, .. } = chain;
    let mut node = Node {
        span: 0..0,
        kind: Kind::Object(Vec::new()),
    };
    let mut refused = Vec::new();
    for layer in layers.into_iter().rev() {
        merge(&mut node, layer, &mut |at, message| {
            refused.push((at.span.clone(), message.to_owned()));
        });
    }
    // The whole document stands at the start of the profile itself.
    node.span = 0..0;
    let mut problems = Problems::new(&files);
    for (span, message) in refused {
        problems.add(
            &span,
            "",
            message,
            "write the name without \"+\" to replace the value under it",
        );
    }
    let name = path
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    match from_node::<Profile>("profile", files.text(), &node) {
        Err(report) => {
            problems.report(report);
            problems.finish()?;
            unreachable!("a report of a reader is never empty")
        }
        Ok(profile) => {
            check::profile(&profile, &node, &mut problems);
            problems.finish()?;
            Ok(Resolved {
                name,
                profile,
                node,
                files,
            })
        }
    }
}

struct Chain<'a> {
    finder: &'a Finder,
    files: Files,
    layers: Vec<Node>,
    seen: BTreeSet<String>,
}

impl Chain<'_> {
    /// Reads the profile and then what it extends, until one extends nothing.
    fn follow(&mut self, path: &Path) -> Result<(), Invalid> {
        let mut next = Found::File(path.to_owned());
        let mut asked: Option<Span> = None;
        loop {
            let (identity, name, folder, text) = self.open(&next, asked.as_ref())?;
            if !self.seen.insert(identity) || self.layers.len() >= DEEPEST {
                let mut names: Vec<&str> = self.files.all().iter().map(|f| f.name.as_str()).collect();
                names.push(&name);
                return Err(self.refuse(
                    asked.as_ref(),
                    format!("the profiles extend each other in a loop: {}", names.join(" → ")),
                    "let the last of them extend a base, or nothing",
                ));
            }
            let node = parse(&name, text.as_bytes(), Format::Toml)?;
            let by = self.files.add(name, folder.clone(), &text);
            let mut node = node;
            shift(&mut node, by);
            let extends = node.get("extends").cloned();
            self.layers.push(node);
            let Some(extends) = extends else { return Ok(()) };
            // Anything but text is refused with its place when types are read.
            let Some(base) = extends.as_str() else { return Ok(()) };
            asked = Some(extends.span.clone());
            next = match self.finder.base(base, folder.as_deref()) {
                Some(found) => found,
                None => {
                    let known = bases::BASES.iter().map(|b| b.name);
                    let near = nearest_of(base, known.clone());
                    let meant = near.map(|n| format!("did you mean {n:?}? ")).unwrap_or_default();
                    let help = format!(
                        "{meant}it is looked up beside this file, then in --profiles DIR, then among the built-in {}",
                        known.collect::<Vec<_>>().join(", ")
                    );
                    return Err(self.refuse(asked.as_ref(), format!("no profile {base:?} to extend"), help));
                }
            };
        }
    }

    /// Identity, name, folder and text of what was found.
    fn open(&self, found: &Found, asked: Option<&Span>) -> Result<(String, String, Option<PathBuf>, String), Invalid> {
        let path = match found {
            Found::BuiltIn(base) => {
                return Ok((
                    base.name.into(),
                    format!("built-in {}", base.name),
                    None,
                    base.text.into(),
                ));
            }
            Found::File(path) => path,
        };
        let refuse = |what: String, help: &str| match asked {
            Some(span) => self.refuse(Some(span), what, help),
            None => Report::one(shown(path), Issue::new(what).help(help)).into(),
        };
        let read = || {
            let real = path.canonicalize()?;
            let size = fs::metadata(&real)?.len();
            if size > LARGEST {
                return Err(std::io::Error::other(format!(
                    "{size} bytes are more than a profile's {LARGEST}"
                )));
            }
            Ok((real.clone(), fs::read_to_string(&real)?))
        };
        let (real, text) = read().map_err(|e| refuse(format!("{}: {e}", shown(path)), "give a readable TOML file"))?;
        let folder = real.parent().map(Path::to_owned);
        Ok((real.display().to_string(), shown(path), folder, text))
    }

    fn refuse(&self, span: Option<&Span>, message: String, help: impl Into<String>) -> Invalid {
        let mut problems = Problems::new(&self.files);
        problems.add(span.unwrap_or(&(0..0)), "/extends", message, help);
        problems.finish().err().unwrap_or_default()
    }
}
