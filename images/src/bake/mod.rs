//! From an appliance and its programs to package files.
//!
//! Owns: what lies where in each kind of package, maintainer scripts included. One function a system; all of them pure.
//! Never: compiles, reads profiles, or writes to disk.

pub mod appliance;
pub mod baseline;
mod debian;
mod macos;
mod openwrt;
pub mod rauc;
pub mod secrets;
mod texts;
pub mod tools;
mod windows;

pub use appliance::{Appliance, Folders, Input, assemble};
pub use baseline::{Published, Signing};
pub(crate) use texts::issue;

use crate::builders::Program;
use crate::formats::{Entry, FormatError, Tree};
use crate::targets::{System, Target};

/// Why a package could not be put together. Everything a vendor can cause was refused earlier, with its place.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// A package format refused.
    #[error("{target}: {source}")]
    Format {
        /// For which target.
        target: String,
        /// Why.
        source: FormatError,
    },
    /// A text could not be written.
    #[error("{what}: {why}")]
    Text {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl BakeError {
    pub(crate) fn text(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Text {
            what,
            why: why.to_string(),
        }
    }
}

/// A finished package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its file name.
    pub name: String,
    /// For which target.
    pub target: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Makes the packages of `app` for one target from the programs of that target, one for each package manager that may be
/// found there.
///
/// # Errors
/// [`BakeError`].
pub fn packages(app: &Appliance, target: &'static Target, programs: &[Program]) -> Result<Vec<Package>, BakeError> {
    let made = match target.system {
        _ if !app.tools.is_empty() => tools::packages(app, target)?,
        System::Debian => vec![debian::package(app, target, programs)?],
        System::OpenWrt => openwrt::packages(app, target, programs)?,
        System::MacOs => vec![macos::package(app, programs)?],
        System::Windows => vec![windows::package(app, target, programs)?],
    };
    let named = made.into_iter().map(|(name, bytes)| Package {
        name,
        target: target.name,
        bytes,
    });
    Ok(named.collect())
}

/// What the `.deb` of a target is made of, for an image that takes it in without dpkg.
///
/// # Errors
/// [`BakeError`].
pub fn deb(
    app: &Appliance,
    target: &'static Target,
    programs: &[Program],
) -> Result<crate::formats::DebPackage, BakeError> {
    debian::contents(app, target, programs)
}

/// Puts entries into a tree; what goes wrong names the target.
struct Filler<'a> {
    tree: Tree,
    target: &'a str,
}

impl<'a> Filler<'a> {
    fn new(app: &Appliance, system: System, target: &'a str) -> Self {
        let tree = app.files.get(&system).cloned().unwrap_or_default();
        Self { tree, target }
    }

    fn add(&mut self, entry: Entry) -> Result<(), BakeError> {
        self.tree.insert(entry).map_err(|source| BakeError::Format {
            target: self.target.to_owned(),
            source,
        })
    }

    fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Result<(), BakeError> {
        self.add(Entry::file(path.trim_start_matches('/'), mode, bytes))
    }

    fn conffile(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Result<(), BakeError> {
        self.add(Entry::file(path.trim_start_matches('/'), mode, bytes).as_conffile())
    }

    fn dir(&mut self, path: &str, mode: u32) -> Result<(), BakeError> {
        self.add(Entry::dir(path.trim_start_matches('/'), mode))
    }

    /// What every system has at its own places: program, settings, policy, trust, baseline, brand. Settings lie in
    /// `settings` and are conffiles where the package manager knows such.
    fn common(&mut self, app: &Appliance, system: System, program: &[u8], settings: &str) -> Result<(), BakeError> {
        let at = texts::layout(system);
        self.file(&texts::program(app, system), 0o755, program)?;
        let mut texts = vec![
            ("agent.toml", texts::agent_toml(app, system)?.into_bytes()),
            ("policy.toml", texts::policy_toml(app)?.into_bytes()),
        ];
        texts.extend(app.hub_ca.clone().map(|ca| ("hub-ca.pem", ca)));
        for (name, text) in texts {
            let path = format!("{settings}/{name}");
            match system {
                System::MacOs => self.file(&path, 0o644, text)?,
                System::Debian | System::OpenWrt | System::Windows => self.conffile(&path, 0o644, text)?,
            }
        }
        if let Some(token) = &app.hub_token {
            let path = format!("{settings}/token");
            // A conffile that the agent has removed does not come back with an upgrade.
            match system {
                System::MacOs | System::Windows => self.file(&path, 0o600, token.clone())?,
                System::Debian | System::OpenWrt => self.conffile(&path, 0o600, token.clone())?,
            }
        }
        self.dir(&format!("{}/secrets", at.etc), 0o700)?;
        self.file(&format!("{}/trust.json", at.share), 0o644, app.trust.clone())?;
        if let Some(baseline) = app.baselines.get(&system) {
            self.file(&format!("{}/baseline.json", at.share), 0o644, baseline.bytes.clone())?;
        }
        self.file(&format!("{}/brand.json", at.share), 0o644, texts::brand_json(app))?;
        if let Some((extension, logo)) = &app.logo {
            self.file(&format!("{}/logo.{extension}", at.share), 0o644, logo.clone())?;
        }
        Ok(())
    }
}

/// Names that a branded package stands for: `jos-agent` and what the profile adds, never itself.
fn stands_for(app: &Appliance, more: &[String]) -> Vec<String> {
    let own = app.name.as_str();
    let mut names: Vec<String> = std::iter::once("jos-agent".to_owned())
        .chain(more.iter().cloned())
        .collect();
    names.retain(|n| n != own);
    names.dedup();
    names
}

fn joined(a: &[String], b: &[String]) -> Vec<String> {
    let mut all = a.to_vec();
    all.extend(b.iter().filter(|x| !a.contains(x)).cloned());
    all
}
