//! What was granted of accounts and packages.
//!
//! An account is more than a line in a file: who is in the group `sudo` or `disk` is root by another name, and a package
//! brings programs and scripts that run as root. So every name is granted by itself, without patterns. The agent's own
//! package takes a word more: whoever may replace it may replace this gate.

use jos_schemas::documents::desired_state::{GroupStep, PackageState, PackageStep, UserStep};
use jos_schemas::documents::policy::Source;

use super::{Gate, Judgement, Touch, line};

/// The account under which the agent's network half runs.
const OWN_ACCOUNT: &str = "jos";
/// The agent's package, unless a vendor has renamed it: then the package manager says whose the program is.
const OWN_PACKAGE: &str = "jos-agent";
/// What a grant says of the agent's own package, after its name.
const AS_THE_AGENT: &str = " as the agent";

/// One entry of `packages`: `NAME`, `NAME from ADDRESS`, `NAME as the agent`, `NAME as the agent from ADDRESS`.
struct PackageGrant<'p> {
    name: &'p str,
    itself: bool,
    from: Option<&'p str>,
}

impl<'p> PackageGrant<'p> {
    fn read(text: &'p str) -> Self {
        let (name, from) = match text.split_once(" from ") {
            Some((name, from)) => (name, Some(from.trim_end_matches('/'))),
            None => (text, None),
        };
        let (name, itself) = name
            .strip_suffix(AS_THE_AGENT)
            .map_or((name, false), |name| (name, true));
        Self { name, itself, from }
    }
}

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
            self.own_package(source, label, package, found);
        } else if !self.package_granted(source, name, None) {
            let needed = line(source, "packages", &format!("{name:?}"));
            found.refuse(label, format!("the package {name} is not granted"), Some(needed));
        }
    }

    /// The agent's own package, by whatever name: only another version of it, only where that can be taken back, and only
    /// where the grant says so in words.
    pub(crate) fn own_package(&self, source: Source, label: &str, package: &PackageStep, found: &mut Judgement) {
        let name = package.name.as_str();
        let is = |why: &str| format!("the package {name} is jos itself: {why}");
        if package.state == PackageState::Absent {
            found.refuse(label, is("no state removes it"), None);
        } else if package.allow_no_undo {
            found.refuse(label, is("it is replaced only where that can be taken back"), None);
        } else if !self.own_granted(source, name) {
            let needed = line(source, "packages", &format!("\"{name}{AS_THE_AGENT}\""));
            found.refuse(label, is("replacing it is not granted"), Some(needed));
        }
    }

    fn own_granted(&self, source: Source, name: &str) -> bool {
        let grants = self.grant(source).map(|g| g.packages.as_slice()).unwrap_or_default();
        let mut grants = grants.iter().map(|grant| PackageGrant::read(grant));
        grants.any(|grant| grant.name == name && grant.itself)
    }

    /// Whether `name` may change; with addresses, whether it may come from one of them. A grant is `NAME`, from every
    /// repository that the device is set up with, or `NAME from ADDRESS`, from one that begins with the address; of the
    /// agent's own package see [`Self::own_package`].
    pub(crate) fn package_granted(&self, source: Source, name: &str, origins: Option<&[String]>) -> bool {
        let grants = self.grant(source).map(|g| g.packages.as_slice()).unwrap_or_default();
        grants.iter().map(|grant| PackageGrant::read(grant)).any(|grant| {
            let below = |address: &str, o: &String| {
                o.strip_prefix(address)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            grant.name == name
                && match (grant.from, origins) {
                    (Some(address), Some(origins)) => origins.iter().any(|o| below(address, o)),
                    _ => true,
                }
        })
    }
}

/// What a grant of the agent's own package says.
pub(crate) fn as_the_agent(name: &str) -> String {
    format!("{name}{AS_THE_AGENT}")
}

/// Why another package's step does not bring the agent's along.
pub(crate) fn own_along(name: &str) -> String {
    format!("{name}, which is jos itself: it changes by a step of its own, and along with nothing else")
}
