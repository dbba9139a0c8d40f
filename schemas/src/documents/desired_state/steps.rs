//! The steps of a state, one file for each family.
//!
//! A new step is a file here, a variant of [`Step`] and its row in the table of types below.

mod absent;
mod account;
mod cron;
mod directory;
mod file;
mod image;
mod link;
mod package;
mod secret;
mod service;
mod shell;
mod sysctl;
mod uci;

pub use absent::AbsentStep;
pub use account::{GroupStep, UserStep};
pub use cron::CronStep;
pub use directory::DirectoryStep;
pub use file::{BlobSource, Content, FileStep};
pub use image::ImageStep;
pub use link::LinkStep;
pub use package::{PackageState, PackageStep};
pub use secret::SecretRef;
pub use service::{ServiceAction, ServiceStep};
pub use shell::ShellStep;
pub use sysctl::SysctlStep;
pub use uci::{UciStep, UciValue};

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::Serialize;

use crate::tagged::tagged;
use crate::text::PLACEHOLDER;

/// One decision. Told apart by `type`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Step {
    /// A regular file with exactly this content.
    File(FileStep),
    /// A directory that exists.
    Directory(DirectoryStep),
    /// A symbolic link.
    Link(LinkStep),
    /// Nothing at this path.
    Absent(AbsentStep),
    /// A service of the init system.
    Service(ServiceStep),
    /// A software package.
    Package(PackageStep),
    /// An OpenWrt UCI section.
    Uci(UciStep),
    /// A user account.
    User(UserStep),
    /// A group.
    Group(GroupStep),
    /// A line of a crontab.
    Cron(CronStep),
    /// A kernel parameter.
    Sysctl(SysctlStep),
    /// A whole system, for a device with two root file systems.
    Image(ImageStep),
    /// A command that the device's policy lists.
    Shell(ShellStep),
}

tagged!(Step, "a step", {
    "file" => File(FileStep),
    "directory" => Directory(DirectoryStep),
    "link" => Link(LinkStep),
    "absent" => Absent(AbsentStep),
    "service" => Service(ServiceStep),
    "package" => Package(PackageStep),
    "uci" => Uci(UciStep),
    "user" => User(UserStep),
    "group" => Group(GroupStep),
    "cron" => Cron(CronStep),
    "sysctl" => Sysctl(SysctlStep),
    "image" => Image(ImageStep),
    "shell" => Shell(ShellStep),
});

impl Step {
    /// The member that an example left to be filled in (`"..."`), if any.
    pub(super) fn placeholder(&self) -> Option<&'static str> {
        match self {
            Step::File(file) if file.path.is_placeholder() => Some("path"),
            Step::Service(service) if service.name.is_placeholder() => Some("name"),
            Step::Shell(shell) if shell.command == PLACEHOLDER => Some("command"),
            _ => None,
        }
    }
}
