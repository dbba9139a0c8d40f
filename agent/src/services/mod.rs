//! The init systems, as an installer sees them: what files make a service, how it is started, stopped, asked and read.
//!
//! Owns the differences between them and nothing of what runs inside. The plane's own view (services that a state names)
//! is `crate::world`.

mod generic;
mod launchd;
mod procd;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::Command;

use jos_schemas::documents::policy::Policy;
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};

use crate::place::{Owner, Place};

pub(crate) use generic::supervise;

/// An init system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Init {
    /// systemd, the machine's or a user's
    Systemd,
    /// OpenWrt's procd
    Procd,
    /// macOS' launchd
    Launchd,
    /// No init system: jos supervises by itself
    Generic,
}

/// Whose service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// The machine's: starts at boot.
    System,
    /// One login user's.
    User,
}

/// What went wrong with a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// A program of the init system said no.
    #[error("{command}: {said}")]
    Command {
        /// As typed.
        command: String,
        /// Its last words, or why it did not start.
        said: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] crate::files::FileError),
    /// The unit cannot be written with these values.
    #[error(transparent)]
    Unit(#[from] jos_schemas::unit::UnitError),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// One service to install, or installed.
#[derive(Clone, Copy)]
pub(crate) struct Service<'a> {
    /// The machine.
    pub(crate) place: &'a Place,
    /// The agent's name.
    pub(crate) name: &'a Name,
    /// The service's name, without suffix.
    pub(crate) service: &'a str,
    /// Whose service manager.
    pub(crate) scope: Scope,
    /// As whom it runs.
    pub(crate) owner: &'a Owner,
    /// Folder of `agent.toml`.
    pub(crate) folder: &'a Path,
    /// Data folder.
    pub(crate) state_dir: &'a Path,
}

/// What its files say, besides.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    /// Absolute path of the program.
    pub(crate) program: &'a str,
    /// Folder of `agent.toml`, on that machine.
    pub(crate) folder: &'a str,
    /// File name of the artifact in it.
    pub(crate) artifact: &'a str,
    /// Data folder.
    pub(crate) state_dir: &'a str,
    /// What was granted.
    pub(crate) policy: &'a Policy,
    /// One line for people.
    pub(crate) description: &'a str,
}

impl Content<'_> {
    fn config(&self) -> String {
        format!("{}/agent.toml", self.folder)
    }

    fn command(&self) -> Vec<String> {
        let config = self.config();
        let artifact = format!("{}/{}", self.folder, self.artifact);
        [self.program, "agent", "run", "--config", &config, &artifact]
            .map(str::to_owned)
            .into()
    }
}

/// What an init system says of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    /// `running`, `starting`, `stopping`, `stopped`, `failed`, `unknown`.
    pub(crate) state: String,
    /// Since when, UTC, where it is known.
    pub(crate) since: Option<String>,
    /// Main process.
    pub(crate) pid: Option<u32>,
    /// Started at boot.
    pub(crate) enabled: Option<bool>,
    /// Restarts since it was started, where the init system counts them.
    pub(crate) restarts: Option<u64>,
}

/// A file of the service, and how it is removed again.
pub(crate) struct ServiceFile {
    /// Absolute, on that machine.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
    /// Its mode.
    pub(crate) mode: u32,
}

impl Init {
    /// Which one runs the machine; of a folder, which one it has. `None` when a folder has none that is known.
    pub(crate) fn detect(place: &Place) -> Option<Self> {
        if place.is_live() {
            return Some(if cfg!(target_os = "macos") {
                Self::Launchd
            } else if Path::new("/run/systemd/system").is_dir() {
                Self::Systemd
            } else if Path::new("/sbin/procd").exists() && Path::new("/etc/rc.common").exists() {
                Self::Procd
            } else {
                Self::Generic
            });
        }
        let has = |paths: &[&str]| paths.iter().any(|p| place.at(p).exists());
        if has(&["/sbin/procd", "/etc/rc.common"]) {
            Some(Self::Procd)
        } else if has(&["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]) {
            Some(Self::Systemd)
        } else if has(&["/System/Library/LaunchDaemons"]) {
            Some(Self::Launchd)
        } else {
            None
        }
    }

    /// In words, as options take it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Procd => "procd",
            Self::Launchd => "launchd",
            Self::Generic => "generic",
        }
    }

    /// The files that make the service.
    pub(crate) fn files(self, service: &Service<'_>, content: &Content<'_>) -> Result<Vec<ServiceFile>, ServiceError> {
        match self {
            Self::Systemd => systemd::files(service, content),
            Self::Procd => procd::files(service, content),
            Self::Launchd => launchd::files(service, content),
            Self::Generic => Ok(Vec::new()),
        }
    }

    /// Where those files lie.
    pub(crate) fn paths(self, service: &Service<'_>) -> Vec<PathBuf> {
        match self {
            Self::Systemd => systemd::paths(service),
            Self::Procd => procd::paths(service),
            Self::Launchd => vec![launchd::plist_path(service)],
            Self::Generic => Vec::new(),
        }
    }

    /// Starts it at boot and, on a live machine, now; waits until it runs.
    pub(crate) fn enable(self, service: &Service<'_>) -> Result<(), ServiceError> {
        match self {
            Self::Systemd => systemd::enable(service),
            Self::Procd => procd::enable(service),
            Self::Launchd => launchd::enable(service),
            Self::Generic => generic::start(service),
        }
    }

    /// Stops it and takes it out of the boot. What is not there is no error.
    pub(crate) fn disable(self, service: &Service<'_>) -> Result<(), ServiceError> {
        match self {
            Self::Systemd => systemd::disable(service),
            Self::Procd => procd::disable(service),
            Self::Launchd => launchd::disable(service),
            Self::Generic => generic::stop(service),
        }
    }

    /// After its files are gone: nothing of it is left in the init system's memory.
    pub(crate) fn forget(self, service: &Service<'_>) {
        if self == Self::Systemd {
            systemd::forget(service);
        }
    }

    /// What the init system says of it; `None` when it cannot be asked.
    pub(crate) fn state(self, service: &Service<'_>) -> Option<State> {
        if !service.place.is_live() {
            return None;
        }
        match self {
            Self::Systemd => systemd::state(service),
            Self::Procd => procd::state(service),
            Self::Launchd => launchd::state(service),
            Self::Generic => generic::state(service),
        }
    }

    /// The command that prints its log.
    pub(crate) fn logs(self, service: &Service<'_>, follow: bool) -> Command {
        match self {
            Self::Systemd => systemd::logs(service, follow),
            Self::Procd => procd::logs(follow),
            Self::Launchd | Self::Generic => tail(&log_path(service), follow),
        }
    }
}

/// Where an init system without a logger writes.
pub(crate) fn log_path(service: &Service<'_>) -> PathBuf {
    service
        .place
        .at(service.owner.logs().join(format!("{}.log", service.name)))
}

fn tail(path: &Path, follow: bool) -> Command {
    let mut command = Command::new("tail");
    command.args(["-n", "200"]);
    if follow {
        // -F goes on when the file is rotated.
        command.arg("-F");
    }
    command.arg("--").arg(path);
    command
}

/// Runs a program of the init system to its end.
fn call(program: &str, arguments: &[&str]) -> Result<String, ServiceError> {
    let command = || format!("{program} {}", arguments.join(" "));
    let ran = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output();
    let ran = ran.map_err(|e| ServiceError::Command {
        command: command(),
        said: e.to_string(),
    })?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let mut said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    if said.is_empty() {
        said = ran.status.to_string();
    }
    Err(ServiceError::Command {
        command: command(),
        said,
    })
}
