//! Which folders a sandbox must leave writable so that the plane can do what a policy grants.
//!
//! A file is replaced by a new one beside it, so its folder is what has to be writable. A folder that may not exist yet has
//! to be made, so then the one above it counts.

use crate::documents::policy::{CommandGrant, Policy};

/// Folders of every system that we build for. The answer of an image builder to "does it exist?".
const EVERYWHERE: [&str; 27] = [
    "/",
    "/boot",
    "/etc",
    "/etc/default",
    "/etc/init.d",
    "/etc/profile.d",
    "/etc/ssl",
    "/etc/systemd",
    "/etc/systemd/system",
    "/home",
    "/mnt",
    "/opt",
    "/root",
    "/srv",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/lib",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
];

/// Whether every Debian system has this folder.
pub fn everywhere(folder: &str) -> bool {
    EVERYWHERE.contains(&folder)
}

/// The folders, sorted, none within another. Folders that jos protects whatever is granted are never among them by
/// themselves.
pub fn folders(policy: &Policy, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for grant in policy.all_grants() {
        for file in &grant.files {
            all.push(existing(&literal_folder(file.path().as_str()), exists));
        }
        if !grant.uci.is_empty() {
            all.push("/etc/config".to_owned());
        }
        if !grant.sysctl.is_empty() {
            all.push("/etc/sysctl.d".to_owned());
        }
        // A command that is listed byte for byte may stand in a crontab.
        if grant.shell.iter().any(|c| matches!(c, CommandGrant::Exact(_))) {
            all.push("/etc/cron.d".to_owned());
        }
        if !grant.users.is_empty() {
            all.push("/etc".to_owned());
        }
        // Enabling a service and installing a package are done by the service manager, outside of the sandbox.
    }
    all.sort();
    all.dedup();
    let every = all.clone();
    all.retain(|path| !every.iter().any(|other| other != path && within(path, other)));
    all
}

/// Whether `path` is `folder` or below it.
pub fn within(path: &str, folder: &str) -> bool {
    folder == "/" || path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The longest folder before the first wildcard; of a path without one, the folder that holds it.
fn literal_folder(glob: &str) -> String {
    let components: Vec<&str> = glob.split('/').skip(1).collect();
    let literal = components.iter().take_while(|c| !c.contains(['*', '?'])).count();
    let depth = literal.min(components.len().saturating_sub(1));
    if depth == 0 {
        "/".to_owned()
    } else {
        format!("/{}", components[..depth].join("/"))
    }
}

/// The deepest folder on the way that exists. Directly below `/` the folder itself is named, so that one grant never
/// opens the whole tree: it then has to exist when the agent starts.
pub(crate) fn existing(folder: &str, exists: &dyn Fn(&str) -> bool) -> String {
    let mut path = folder;
    loop {
        if path == "/" || exists(path) {
            return path.to_owned();
        }
        match path.rfind('/') {
            Some(0) | None => return path.to_owned(),
            Some(at) => path = &path[..at],
        }
    }
}
