//! Where a ledger is that a command reads: an agent of this machine, a folder, an export.

use std::path::{Path, PathBuf};

use clap::Args;
use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Archive, Export, LedgerError, LedgerKey};
use jos_schemas::text::Name;

use crate::cli::Failure;
use crate::installed;
use crate::place::Place;

/// Exports of more bytes than this are not read into memory.
const EXPORT_LIMIT: u64 = 4 << 30;

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

/// Which ledger.
#[derive(Args)]
pub(crate) struct At {
    /// The agent; may be left out where there is only one
    #[arg(value_name = "NAME", value_parser = name)]
    name: Option<Name>,
    /// An agent's data folder, a ledger folder (also one that was set aside), or an export
    #[arg(long, value_name = "PATH", conflicts_with_all = ["name", "state_dir"])]
    ledger: Option<PathBuf>,
    /// Where the data of agents lies [default: the agent's own, else /var/lib/jos as root, else ~/.jos/state]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// A ledger that was found.
pub(crate) enum Found {
    /// In the data folder of an agent.
    Folder {
        /// As a person would name it.
        shown: String,
        disk: Disk,
        dir: String,
        /// The data directory of the device, where this is one.
        state_dir: Option<PathBuf>,
        /// As long as a node's ledger is read, nothing of it goes.
        #[cfg(feature = "runtime")]
        _reading: Option<std::fs::File>,
    },
    /// In one file.
    Export { shown: String, bytes: Vec<u8> },
}

impl At {
    /// Whether it is the ledger of an agent of this machine.
    pub(crate) fn is_agent(&self) -> bool {
        self.ledger.is_none()
    }

    /// Whether no place was named at all.
    #[cfg(feature = "runtime")]
    pub(crate) fn is_nothing(&self) -> bool {
        self.name.is_none() && self.ledger.is_none() && self.state_dir.is_none()
    }

    /// Finds it, or says where it was looked for.
    pub(crate) fn find(&self) -> Result<Found, Failure> {
        match &self.ledger {
            Some(path) => at_path(path),
            None => self.of_agent(),
        }
    }

    fn of_agent(&self) -> Result<Found, Failure> {
        let place = Place::new(None);
        let state_dir = || self.state_dir.clone().unwrap_or_else(|| place.caller().state_dir());
        let (state_dir, name) = match &self.name {
            Some(name) => {
                let installed = installed::find(&place, name).filter(|_| self.state_dir.is_none());
                (
                    installed.map_or_else(state_dir, |agent| agent.state_dir()),
                    name.clone(),
                )
            }
            None => {
                let mut found = self.found(&place, &state_dir())?;
                match (found.pop(), found.as_slice()) {
                    (Some(only), []) => only,
                    (None, _) => {
                        let message = format!("{}: no agent has a ledger here", state_dir().display());
                        return Err(Failure::invalid(message).help("name the data with --state-dir or --ledger"));
                    }
                    (Some((dir, last)), others) => {
                        let all: Vec<&str> = others.iter().map(|(_, n)| n).chain([&last]).map(Name::as_str).collect();
                        let message = format!("{}: there are several agents", dir.display());
                        return Err(Failure::invalid(message).help(format!("name one of {}", all.join(", "))));
                    }
                }
            }
        };
        let folder = state_dir.join(name.as_str());
        if !folder.join("ledger").is_dir() {
            let message = format!("{}: there is no ledger", folder.display());
            return Err(
                Failure::invalid(message).help("`jos agent list` names the agents; --state-dir names their data")
            );
        }
        open_folder(&folder, "ledger", Some(state_dir))
    }

    /// The agents with a ledger: those of the data directory, and unless it was named also those of this machine that keep
    /// theirs elsewhere, as a package's agent on OpenWrt does.
    fn found(&self, place: &Place, state_dir: &Path) -> Result<Vec<(PathBuf, Name)>, Failure> {
        let mut found: Vec<(PathBuf, Name)> = names(state_dir)?
            .into_iter()
            .map(|name| (state_dir.to_owned(), name))
            .collect();
        if self.state_dir.is_none() {
            for agent in installed::all(place) {
                let one = (agent.state_dir(), agent.name);
                if one.0.join(one.1.as_str()).join("ledger").is_dir() && !found.contains(&one) {
                    found.push(one);
                }
            }
        }
        Ok(found)
    }
}

/// The agents with a ledger in a data directory.
fn names(state_dir: &Path) -> Result<Vec<Name>, Failure> {
    let entries = match std::fs::read_dir(state_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Failure::invalid(format!("{}: {e}", state_dir.display()))),
    };
    let mut names: Vec<Name> = entries
        .flatten()
        .filter(|entry| entry.path().join("ledger").is_dir())
        .filter_map(|entry| Name::new(entry.file_name().to_str()?).ok())
        .collect();
    names.sort();
    Ok(names)
}

fn at_path(path: &Path) -> Result<Found, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::invalid(format!("{}: {e}", path.display()));
    let real = std::fs::canonicalize(path).map_err(|e| wrong(&e))?;
    if real.is_dir() {
        if real.join("ledger").is_dir() {
            return open_folder(&real, "ledger", real.parent().map(Path::to_owned));
        }
        // The data directory of a node of the runtime.
        if real.join("state/runtime/ledger").is_dir() {
            return open_folder(&real.join("state/runtime"), "ledger", Some(real.join("state")));
        }
        let named = real.file_name().and_then(|n| n.to_str()).zip(real.parent());
        let (dir, folder) = named.ok_or_else(|| wrong(&"this is no ledger"))?;
        if !real.join("head").exists() {
            let help = "expected an agent's data folder, its ledger folder, or an export";
            return Err(wrong(&"there is no ledger").help(help));
        }
        return open_folder(folder, dir, folder.parent().map(Path::to_owned));
    }
    let about = std::fs::metadata(&real).map_err(|e| wrong(&e))?;
    if !about.is_file() || about.len() > EXPORT_LIMIT {
        return Err(wrong(&format!("expected a file of {EXPORT_LIMIT} bytes at most")));
    }
    let bytes = std::fs::read(&real).map_err(|e| wrong(&e))?;
    if !Export::is_one(&bytes) {
        let help = "expected an export, as `jos ledger export` makes it, or a folder";
        return Err(wrong(&"this is no ledger").help(help));
    }
    let shown = path.display().to_string();
    Ok(Found::Export { shown, bytes })
}

fn open_folder(folder: &Path, dir: &str, state_dir: Option<PathBuf>) -> Result<Found, Failure> {
    // Nothing is written here, so no name needs to be unpredictable.
    let disk =
        Disk::open(folder, "0").map_err(|e| Failure::invalid(e).help("the data of an agent is its owner's alone"))?;
    Ok(Found::Folder {
        shown: folder.join(dir).display().to_string(),
        disk,
        dir: dir.to_owned(),
        state_dir,
        #[cfg(feature = "runtime")]
        _reading: jos_node::chapter::reading(folder),
    })
}

impl Found {
    /// Whether it is the ledger of a node of the runtime: it has records of kinds that no device writes.
    #[cfg(feature = "runtime")]
    pub(crate) fn is_of_a_node(&self) -> bool {
        let mut found = false;
        // What is damaged in it is told by whoever reads it then.
        let _ = self.archive().map(|archive| {
            archive.lines(&mut |line| found |= matches!(line.kind, "node" | "job" | "ended" | "fired" | "imported"))
        });
        found
    }

    /// To be read.
    pub(crate) fn archive(&self) -> Result<Archive<'_>, Failure> {
        match self {
            Self::Folder { disk, dir, .. } => Ok(Archive::folder(disk, dir, "blobs")),
            Self::Export { bytes, .. } => Export::open(bytes)
                .map(|export| Archive::Export(Box::new(export)))
                .map_err(|e| self.damaged(&e)),
        }
    }

    /// Where it lies, for those who open it themselves.
    #[cfg(feature = "runtime")]
    pub(crate) fn place(&self) -> jos_node::replay::Place<'_> {
        match self {
            Self::Folder { disk, dir, .. } => jos_node::replay::Place::Folder {
                root: disk.root(),
                dir,
                blobs: "blobs",
            },
            Self::Export { bytes, .. } => jos_node::replay::Place::Export(bytes),
        }
    }

    /// As a person would name it.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Folder { shown, .. } | Self::Export { shown, .. } => shown,
        }
    }

    /// The key of the device whose folder it is. Not that of an export: that one is the export's own word.
    pub(crate) fn key(&self) -> Result<Option<LedgerKey>, Failure> {
        match self {
            Self::Folder {
                state_dir: Some(dir), ..
            } => jos_runtime::public_ledger_key(dir).map_err(|e| Failure::invalid(&e)),
            _ => Ok(None),
        }
    }

    /// What is wrong with it, as a failure.
    pub(crate) fn damaged(&self, e: &LedgerError) -> Failure {
        let failure = Failure::failed(format!("{}: {e}", self.shown()));
        match e {
            e if e.is_damage() => failure.help(
                "nothing was changed; the agent's next turn sets a damaged ledger aside as ledger.damaged-N and goes on",
            ),
            LedgerError::Moved => failure.help("the agent is at work; run this again"),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packages_agent_that_keeps_its_data_elsewhere_is_found_without_being_named() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let (root, data) = (dir.path().join("root"), dir.path().join("flash"));
        std::fs::create_dir_all(root.join("etc/jos")).expect("made");
        std::fs::create_dir_all(data.join("portal/ledger")).expect("made");
        let config = include_str!("../../../openwrt-feed/jos-agent/files/agent.toml")
            .replace("name = \"jos-agent\"", "name = \"portal\"")
            .replace("/etc/jos/state", &data.display().to_string());
        std::fs::write(root.join("etc/jos/agent.toml"), config).expect("written");
        let at = |state_dir| At {
            name: None,
            ledger: None,
            state_dir,
        };
        let look = |at: At| {
            at.found(&Place::new(Some(root.clone())), &dir.path().join("none"))
                .unwrap_or_else(|_| panic!("a folder that is not there holds nothing"))
        };
        let portal = Name::new("portal").expect("a name");
        assert_eq!(look(at(None)), [(data.clone(), portal)]);
        assert!(look(at(Some(dir.path().join("none")))).is_empty());
    }
}
