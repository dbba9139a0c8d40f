//! What was granted of accounts and packages.
//!
//! An account is more than a line in a file: who is in the group `sudo` or `disk` is root by another name, and a package
//! brings programs and scripts that run as root. So every name is granted by itself, without patterns.

use jos_schemas::documents::desired_state::{GroupStep, PackageStep, UserStep};
use jos_schemas::documents::policy::Source;

use super::{Gate, Judgement, Touch, line};

/// The account under which the agent's network half runs.
const OWN_ACCOUNT: &str = "jos";
/// The agent's package, unless a vendor has renamed it: then the package manager says whose the program is.
const OWN_PACKAGE: &str = "jos-agent";

impl Gate<'_> {
    pub(super) fn user(&self, source: Source, label: &str, user: &UserStep, found: &mut Judgement) {
        let name = user.name.as_str();
        self.account(source, label, name, found);
        if user.uid == Some(0) && name != "root" {
            found.refuse(label, "uid 0 is root's, whatever is granted".into(), None);
        }
        if user.absent && name == "root" {
            found.refuse(label, "root stays, whatever is granted".into(), None);
        }
        // To be in a group is to have what the group has: granted like the group itself. The user's own is its own.
        let groups = user.groups.iter().chain(&user.group).map(|g| g.as_str());
        for group in groups.filter(|g| *g != name) {
            self.account(source, label, group, found);
        }
        if let Some(home) = user.home.as_ref().filter(|_| user.make_home) {
            self.path(source, label, home.as_str(), Touch::Dir { mode: 0o700 }, found);
        }
    }

    pub(super) fn group(&self, source: Source, label: &str, group: &GroupStep, found: &mut Judgement) {
        let name = group.name.as_str();
        self.account(source, label, name, found);
        if group.gid == Some(0) && name != "root" {
            found.refuse(label, "gid 0 is root's, whatever is granted".into(), None);
        }
        if group.absent && name == "root" {
            found.refuse(label, "root stays, whatever is granted".into(), None);
        }
    }

    fn account(&self, source: Source, label: &str, name: &str, found: &mut Judgement) {
        if name == OWN_ACCOUNT {
            found.refuse(label, format!("the account {name} is the agent's own"), None);
        } else if !self.grant(source).is_some_and(|g| g.users.iter().any(|u| u == name)) {
            let needed = line(source, "users", &format!("{name:?}"));
            found.refuse(label, format!("the account {name} is not granted"), Some(needed));
        }
    }

    pub(super) fn package(&self, source: Source, label: &str, package: &PackageStep, found: &mut Judgement) {
        let name = package.name.as_str();
        if name == OWN_PACKAGE {
            found.refuse(label, own_package(name), None);
        } else if !self.package_granted(source, name, None) {
            let needed = line(source, "packages", &format!("{name:?}"));
            found.refuse(label, format!("the package {name} is not granted"), Some(needed));
        }
    }

    /// Whether `name` may change; with addresses, whether it may come from one of them. A grant is `NAME`, from every
    /// repository that the device is set up with, or `NAME from ADDRESS`, from one that begins with the address.
    pub(crate) fn package_granted(&self, source: Source, name: &str, origins: Option<&[String]>) -> bool {
        let grants = self.grant(source).map(|g| g.packages.as_slice()).unwrap_or_default();
        grants.iter().any(|grant| match (grant.split_once(" from "), origins) {
            (None, _) => grant == name,
            (Some((granted, _)), None) => granted == name,
            (Some((granted, address)), Some(origins)) => {
                let address = address.trim_end_matches('/');
                let below = |o: &String| {
                    o.strip_prefix(address)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                granted == name && origins.iter().any(below)
            }
        })
    }
}

/// Why a step about the agent's own package does not run.
pub(crate) fn own_package(name: &str) -> String {
    format!(
        "the package {name} is jos itself; this build cannot replace itself by a state: upgrade it by the package manager"
    )
}
