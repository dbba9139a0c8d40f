//! The machine, or a folder that will become one (`--root`), and whose home an agent lives in.
//!
//! Owns where things lie; changes nothing.

use jos_schemas::layout::Layout;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

pub(crate) use crate::root::{Place, SYSTEM_STATE};

impl Place {
    /// A login name, looked up where the machine keeps it.
    pub(crate) fn user(&self, name: &str) -> Option<Owner> {
        if !self.is_live() {
            return self.passwd().into_iter().find(|o| o.name == name);
        }
        User::from_name(name).ok().flatten().map(Owner::from)
    }

    /// Who runs this program. A `HOME` that is the caller's own goes before the one in the user database.
    pub(crate) fn caller(&self) -> Owner {
        let uid = Uid::effective();
        if !self.is_live() {
            let found = self.passwd().into_iter().find(|o| o.uid == 0);
            return found.unwrap_or_else(|| Owner {
                name: "root".into(),
                uid: 0,
                gid: 0,
                home: "/root".into(),
            });
        }
        let mut owner = User::from_uid(uid).ok().flatten().map_or_else(
            || {
                let gid = nix::unistd::Gid::effective().as_raw();
                Owner {
                    name: uid.to_string(),
                    uid: uid.as_raw(),
                    gid,
                    home: "/".into(),
                }
            },
            Owner::from,
        );
        if let Some(home) = std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_absolute()) {
            // Not a home that somebody else could have handed over (sudo can keep the caller's).
            let ours = std::fs::metadata(&home)
                .is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == owner.uid && m.is_dir());
            if ours {
                owner.home = home;
            }
        }
        owner
    }

    /// Homes that may hold agents: the caller's own first; for root everybody's.
    pub(crate) fn homes(&self) -> Vec<Owner> {
        let caller = self.caller();
        let mut all = vec![caller.clone()];
        if caller.uid == 0 {
            all.extend(self.passwd());
            if let Ok(users) = std::fs::read_dir(self.at("/Users")) {
                all.extend(users.flatten().filter_map(|e| self.user(e.file_name().to_str()?)));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|owner| owner.home != Path::new("/") && seen.insert(owner.home.clone()));
        all
    }

    fn passwd(&self) -> Vec<Owner> {
        let text = std::fs::read_to_string(self.at("/etc/passwd")).unwrap_or_default();
        let line = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            let home = PathBuf::from(fields.nth(1)?);
            home.is_absolute().then_some(Owner { name, uid, gid, home })
        };
        text.lines().filter_map(line).collect()
    }
}

/// A login user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Login name.
    pub(crate) name: String,
    /// User id.
    pub(crate) uid: u32,
    /// Its own group's id.
    pub(crate) gid: u32,
    /// Home folder on that machine, without the `--root` prefix.
    pub(crate) home: PathBuf,
}

impl Owner {
    /// Where its agents lie.
    pub(crate) fn agents(&self) -> PathBuf {
        self.home.join(".jos/agents")
    }

    /// Where logs lie that no system logger takes.
    pub(crate) fn logs(&self) -> PathBuf {
        self.home.join(".jos/logs")
    }

    /// Where the data of its agents lies by default.
    pub(crate) fn state_dir(&self) -> PathBuf {
        if self.uid == 0 {
            SYSTEM_STATE.into()
        } else {
            self.home.join(".jos/state")
        }
    }
}

impl From<User> for Owner {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir,
        }
    }
}

/// Where a running agent keeps what is true only until the next boot: its lock and its status. Not on flash where the
/// machine has a place in memory for it.
pub(crate) fn run_dir(state_dir: &Path, name: &str) -> PathBuf {
    let system = [SYSTEM_STATE, Layout::OPENWRT.state]
        .iter()
        .any(|s| state_dir == Path::new(s));
    let volatile = ["/run", "/var/run"].iter().find(|d| Path::new(d).is_dir());
    match volatile.filter(|_| system) {
        Some(run) => Path::new(run).join("jos").join(name),
        None => state_dir.join(name).join("run"),
    }
}
