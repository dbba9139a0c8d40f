//! What the plane needs from outside and may not reach for itself: time, randomness, processes, services, probes.
//!
//! Owns the traits and nothing behind them; the program `jos` brings the real ones, tests bring theirs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything outside, in one hand.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The system clock.
    pub clock: &'a dyn Clock,
    /// The kernel's random numbers.
    pub random: &'a dyn Random,
    /// Child processes.
    pub processes: &'a dyn Processes,
    /// The init system.
    pub services: &'a dyn Services,
    /// Health probes over the network.
    pub probe: &'a dyn Probe,
    /// Content by address.
    pub fetch: &'a dyn Fetch,
    /// The package manager.
    pub packages: &'a dyn Packages,
    /// The hub, where this program has a client for one and it is configured.
    pub hub: Option<&'a dyn Hub>,
    /// Who sees the agent through its own upgrade, where something on this machine outlives this program.
    pub guardian: Option<&'a dyn Guardian>,
    /// The two root file systems, where this machine has two.
    pub slots: Option<&'a dyn Slots>,
}

/// The system clock, which may be wrong; the plane raises it to the time floor.
pub trait Clock {
    /// Seconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> i64;
    /// Lets time pass between two tries of a health check.
    fn pause(&self, how_long: Duration);
    /// Time since a moment of this process' own that nobody can set: for deadlines.
    fn monotonic(&self) -> Duration;
    /// Which start of the machine this is: another text after each boot. `None` where the system does not say.
    fn boot(&self) -> Option<String>;
}

/// Unpredictable bytes.
pub trait Random {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// A command, checked by the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments. A listed command by exact bytes is `/bin/sh`, `-c`, text
    /// (on Windows `cmd.exe`, `/d`, `/s`, `/c`, text).
    pub argv: Vec<String>,
    /// The whole environment of the child, besides a fixed PATH.
    pub env: Vec<(String, String)>,
    /// After this its process group is killed.
    pub timeout: Duration,
}

/// What a command came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Exit code; `None` when killed by a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Killed at the timeout.
    pub timed_out: bool,
    /// Standard output and error, interleaved as they came; at most 64 KiB, the last ones.
    pub output: Vec<u8>,
    /// SHA-256 of all output.
    pub output_sha256: String,
}

impl Ran {
    /// Exit code 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0) && !self.timed_out
    }
    /// How it ended, in words.
    pub fn ending(&self) -> String {
        match (self.timed_out, self.code, self.signal) {
            (true, ..) => "killed at its timeout".into(),
            (_, Some(code), _) => format!("exit code {code}"),
            (_, None, Some(signal)) => format!("killed by signal {signal}"),
            _ => "ended in an unknown way".into(),
        }
    }
}

/// Runs commands without a terminal, without standard input, in a process group of their own.
pub trait Processes {
    /// Runs to the end or to the timeout. An error means it did not start.
    fn run(&self, invocation: &Invocation) -> Result<Ran, String>;
}

/// What the init system says of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// It has a unit, script or plist.
    pub known: bool,
    /// Started at boot.
    pub enabled: bool,
    /// Running now.
    pub active: bool,
}

/// What can be asked of the init system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceCommand {
    /// Start at boot.
    Enable,
    /// Do not start at boot.
    Disable,
    /// Run now.
    Start,
    /// Stop now.
    Stop,
    /// Stop and run again; runs it when it did not.
    Restart,
    /// Read the configuration again; restarts where reload is not known.
    Reload,
}

impl ServiceCommand {
    /// As init systems write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

/// The init system of the running machine.
pub trait Services {
    /// `systemd`, `procd`, `launchd`, `windows`, or `none`.
    fn init(&self) -> &'static str;
    /// What it knows of a service. An error means it could not be asked.
    fn state(&self, service: &str) -> Result<ServiceState, String>;
    /// Brings something about and waits until the init system says done.
    fn command(&self, service: &str, command: ServiceCommand) -> Result<(), String>;
    /// Unit files may have changed: look at them again.
    fn refresh(&self) -> Result<(), String>;
}

/// The hub, as far as a change may have to be confirmed by it.
pub trait Hub {
    /// Whether it answers, over a connection that is made for this question and as the agent itself would make it. The
    /// error says why not.
    fn reachable(&self, timeout: Duration) -> Result<(), String>;
}

/// Health probes.
pub trait Probe {
    /// Status code of a GET; redirects are not followed. `https` may be refused by name.
    fn http(&self, url: &str, timeout: Duration) -> Result<u16, String>;
    /// Whether a connection opens.
    fn tcp(&self, host: &str, port: u16, timeout: Duration) -> Result<(), String>;
    /// URL schemes that `http` can do.
    fn schemes(&self) -> &'static [&'static str];
}

/// Brings content from elsewhere. It is believed nothing: the plane counts and hashes what comes.
pub trait Fetch {
    /// Content that this machine, or its hub, offers under its SHA-256 (64 hex digits); from its byte `from` on, where it
    /// can be had so.
    fn offered(&self, sha256: &str, from: u64) -> Option<Offered>;
    /// Hands the content of `url` over in pieces, and stops at the first that `into` refuses. Says so before any piece
    /// where the other side announces another size than `size`, and gives up on one that sends too slowly.
    fn fetch(&self, url: &str, size: u64, into: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String>;
    /// URL schemes that `fetch` can do.
    fn schemes(&self) -> &'static [&'static str];
}

/// A content that is offered.
pub struct Offered {
    /// Where it comes from, in words.
    pub place: String,
    /// At which of its bytes it begins: the one that was asked for, or 0.
    pub from: u64,
    /// From there to its end.
    pub content: Box<dyn std::io::Read>,
}

/// Who sees the agent through its own upgrade: a copy of the program that began it, outside of every service of the
/// agent's. `folder` is the journal's, `name` the agent's.
pub trait Guardian {
    /// Puts a copy of this program into the folder, and the path that it was started by.
    fn prepare(&self, folder: &std::path::Path) -> Result<(), String>;
    /// Starts the copy. With `forward` it goes on with the trial of that tag; else it takes back what it finds.
    fn start(&self, folder: &std::path::Path, forward: Option<&str>) -> Result<(), String>;
    /// Has the copy started at every boot, whatever becomes of the installed program.
    fn stay(&self, name: &str, folder: &std::path::Path) -> Result<(), String>;
    /// Takes that back.
    fn leave(&self, name: &str) -> Result<(), String>;
    /// Whether a service of the agent's is up and stays so. Waits as long as its init system may take for that.
    fn up(&self, service: &str) -> Result<(), String>;
    /// Runs the program that is installed now, which finishes the trial ([`crate::Plane::finish_upgrade`]).
    fn finish(&self, folder: &std::path::Path, within: Duration) -> Result<Ran, String>;
}

/// A whole system, as its bundle and the root file system in it name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// For which devices it is.
    pub compatible: String,
    /// Its version.
    pub version: String,
}

/// Two root file systems, of which one runs. Which of them is started is the loader's affair: one that was installed has a
/// single try until [`Slots::keep`] calls it good.
pub trait Slots {
    /// What runs now.
    fn running(&self) -> Result<Image, String>;
    /// What a bundle says of itself, once its signature was found good.
    fn inspect(&self, bundle: &std::path::Path) -> Result<Image, String>;
    /// Writes the bundle into the slot that does not run, which the next start begins with. From before its first write on
    /// nobody but [`Slots::keep`] calls a system good; one that was called neither good nor bad so long after its start is left.
    fn install(&self, bundle: &std::path::Path, within: Duration) -> Result<Ran, String>;
    /// What runs now is good: it is started from now on.
    fn keep(&self) -> Result<(), String>;
    /// What runs now is started from now on, and the other one is not: it was not finished, or did not hold. Waits for an
    /// installation that is still at work.
    fn stay(&self) -> Result<(), String>;
    /// The next start is the other one's, and what runs now is not started again.
    fn leave(&self) -> Result<(), String>;
    /// Has the machine started anew, and returns before it is.
    fn reboot(&self) -> Result<(), String>;
}

/// What a step wants of the package manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageWish {
    /// The package, as its manager names it.
    pub name: String,
    /// Exactly this version; the repository's best when `None`.
    pub version: Option<String>,
    /// Not there.
    pub absent: bool,
}

/// What happens to one package: the one that a step names, or one that comes or goes along with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageChange {
    /// The package.
    pub name: String,
    /// The version that is installed.
    pub before: Option<String>,
    /// The version that would be.
    pub after: Option<String>,
    /// It is there only because others need it.
    pub auto: bool,
    /// It is not installed, but left configuration behind.
    pub remains: bool,
    /// The saved file of the version `before`, in the folder that `save` was given.
    pub file: Option<String>,
}

/// The package manager of the running machine. Whatever is done goes through the real tool.
pub trait Packages {
    /// `apt`, `opkg`, `apk`, or `none`.
    fn manager(&self) -> &'static str;
    /// The agent's own package, where it came by one.
    fn own(&self) -> Option<String>;
    /// The version that is installed. An error means it could not be asked.
    fn installed(&self, name: &str) -> Result<Option<String>, String>;
    /// What fulfilling the wish would do, by asking the tool; changes nothing.
    fn preview(&self, wish: &PackageWish) -> Result<Vec<PackageChange>, String>;
    /// Addresses from which this version would come.
    fn origins(&self, name: &str, version: &str) -> Result<Vec<String>, String>;
    /// Whether `save` could get this version's file.
    fn can_save(&self, name: &str, version: &str) -> bool;
    /// Saves this version's package file in a folder, and gives its name there.
    fn save(&self, name: &str, version: &str, folder: &std::path::Path) -> Result<String, String>;
    /// Asks the repositories what they offer.
    fn refresh(&self) -> Result<(), String>;
    /// Downloads what the wish needs, so that a repository that is away is found before anything is changed.
    fn download(&self, wish: &PackageWish) -> Result<(), String>;
    /// Fulfils the wish.
    fn act(&self, wish: &PackageWish) -> Result<Ran, String>;
    /// Brings every package back to what it was before, also after the tool was killed in the middle.
    fn back(&self, changes: &[PackageChange], folder: &std::path::Path) -> Result<(), String>;
}
