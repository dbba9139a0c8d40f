//! Users and groups: what the four files become.
//!
//! Owns the rules (which ids are free, what a removal takes along, what is refused) and no file. The same files and the
//! same step give the same files again, on the device and in replay: no clock, and ids are the first that are free.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::table::Table;

/// Ids of accounts that the system makes for its services (Debian Policy §9.2.2; OpenWrt keeps to it).
const SYSTEM: RangeInclusive<u32> = 100..=999;
/// What no account may have: `(uid_t) -1` means "do not change" to chown(2), and its 16 bit form confuses old tools.
const NO_ID: [u32; 2] = [65_535, u32::MAX];
/// What runs where nobody logs in; every system that jos knows has it.
const NO_SHELL: &str = "/bin/false";
const NO_HOME: &str = "/nonexistent";

/// The files. Those with hashes may be missing; then the others hold everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) passwd: Table,
    pub(crate) group: Table,
    pub(crate) shadow: Option<Table>,
    pub(crate) gshadow: Option<Table>,
}

/// A user as a step wants it; what is `None` is left as it is, or has its default in a new account.
#[derive(Clone, Debug, Default)]
pub(crate) struct User<'s> {
    pub(crate) name: &'s str,
    pub(crate) uid: Option<u32>,
    /// Primary group.
    pub(crate) group: Option<&'s str>,
    /// All supplementary groups.
    pub(crate) groups: Option<Vec<&'s str>>,
    pub(crate) home: Option<&'s str>,
    pub(crate) shell: Option<&'s str>,
    pub(crate) comment: Option<&'s str>,
    /// A hash as crypt(5) writes it.
    pub(crate) password: Option<&'s str>,
}

impl Files {
    /// Brings `user` about; gives what changes, in words, nothing when it is so already.
    pub(crate) fn user(&mut self, user: &User<'_>) -> Result<Vec<String>, String> {
        for (what, value) in [("home", user.home), ("shell", user.shell), ("comment", user.comment)] {
            if value.is_some_and(|v| v.contains([':', '\n', '\0'])) {
                return Err(format!(
                    "its {what} holds a colon or a newline, which /etc/passwd cannot"
                ));
            }
        }
        let mut said = Vec::new();
        if let Some(uid) = user.uid {
            self.free_uid(user.name, uid)?;
        }
        let at = match self.passwd.find(user.name) {
            Some(at) => {
                self.change(at, user, &mut said)?;
                at
            }
            None => self.create(user, &mut said)?,
        };
        if let Some(hash) = user.password {
            self.password(at, user.name, hash, &mut said)?;
        }
        if let Some(groups) = &user.groups {
            self.memberships(user.name, groups, &mut said)?;
        }
        Ok(said)
    }

    fn create(&mut self, user: &User<'_>, said: &mut Vec<String>) -> Result<usize, String> {
        let name = user.name;
        // A group of its own gets the same number, where that is free too.
        let (uid, gid) = match user.group.unwrap_or(name) {
            group if self.group.has(group) => {
                let gid = self.gid(group)?;
                (user.uid.map_or_else(|| self.first_free(false), Ok)?, gid)
            }
            group if group != name => return Err(no_group(group)),
            group => {
                let uid = user.uid.map_or_else(|| self.first_free(true), Ok)?;
                let gid = if self.gids().contains(&uid) {
                    self.first_free_gid()?
                } else {
                    uid
                };
                self.add_group(group, gid);
                said.push(format!("group {group} (gid {gid})"));
                (uid, gid)
            }
        };
        let hidden = if self.shadow.is_some() { "x" } else { "!" };
        let (uid_text, gid_text) = (uid.to_string(), gid.to_string());
        let (home, shell) = (user.home.unwrap_or(NO_HOME), user.shell.unwrap_or(NO_SHELL));
        let comment = user.comment.unwrap_or_default();
        self.passwd
            .add(&[name, hidden, &uid_text, &gid_text, comment, home, shell]);
        if let Some(shadow) = &mut self.shadow {
            // Without a day of the last change: ages are not counted, and the line is the same on every day.
            if let Some(stale) = shadow.find(name) {
                shadow.remove(stale);
            }
            shadow.add(&[name, "!", "", "", "", "", "", "", ""]);
        }
        said.insert(0, format!("new (uid {uid}, gid {gid}, home {home}, shell {shell})"));
        self.passwd.find(name).ok_or_else(|| "its entry is lost".into())
    }

    fn change(&mut self, at: usize, user: &User<'_>, said: &mut Vec<String>) -> Result<(), String> {
        let gid = match user.group {
            Some(group) => Some(self.gid(group)?.to_string()),
            None => None,
        };
        let uid = user.uid.map(|u| u.to_string());
        let fields = [
            ("uid", 2, uid.as_deref()),
            ("gid", 3, gid.as_deref()),
            ("comment", 4, user.comment),
            ("home", 5, user.home),
            ("shell", 6, user.shell),
        ];
        for (what, number, wanted) in fields {
            let now = self.passwd.text(at, number);
            if let Some(wanted) = wanted.filter(|w| *w != now) {
                said.push(format!("{what} {now} → {wanted}"));
                self.passwd.set(at, number, wanted);
            }
        }
        Ok(())
    }

    fn password(&mut self, at: usize, name: &str, hash: &str, said: &mut Vec<String>) -> Result<(), String> {
        let Some(shadow) = &mut self.shadow else {
            return Err("there is no /etc/shadow, and in /etc/passwd everybody could read the hash".into());
        };
        let line = match shadow.find(name) {
            Some(line) => line,
            None => {
                shadow.add(&[name, "!", "", "", "", "", "", "", ""]);
                shadow.find(name).ok_or("its entry is lost")?
            }
        };
        if shadow.field(line, 1) != hash.as_bytes() {
            shadow.set(line, 1, hash);
            said.push("password".into());
        }
        if self.passwd.field(at, 1) != b"x" {
            self.passwd.set(at, 1, "x");
        }
        Ok(())
    }

    fn memberships(&mut self, name: &str, groups: &[&str], said: &mut Vec<String>) -> Result<(), String> {
        if let Some(missing) = groups.iter().find(|g| !self.group.has(g)) {
            return Err(no_group(missing));
        }
        for at in self.group.entries().collect::<Vec<_>>() {
            let group = self.group.text(at, 0);
            let members = self.group.names(at, 3);
            let (is, wanted) = (members.iter().any(|m| m == name), groups.contains(&group.as_str()));
            if is != wanted {
                said.push(format!(
                    "{}{group}",
                    if wanted { "in group " } else { "no longer in group " }
                ));
                self.group.set(at, 3, &with(members, name, wanted));
            }
            if let Some(gshadow) = &mut self.gshadow
                && let Some(at) = gshadow.find(&group)
            {
                let members = gshadow.names(at, 3);
                if members.iter().any(|m| m == name) != wanted {
                    gshadow.set(at, 3, &with(members, name, wanted));
                }
            }
        }
        Ok(())
    }

    /// Removes a user, its memberships, and the group of its own name that nobody else is in.
    pub(crate) fn no_user(&mut self, name: &str) -> Vec<String> {
        let Some(at) = self.passwd.find(name) else {
            return Vec::new();
        };
        let (uid, gid) = (self.passwd.id(at, 2), self.passwd.id(at, 3));
        self.passwd.remove(at);
        let mut said = vec![format!(
            "gone (uid {})",
            uid.map_or_else(|| "?".into(), |u| u.to_string())
        )];
        if let Some(shadow) = &mut self.shadow
            && let Some(at) = shadow.find(name)
        {
            shadow.remove(at);
        }
        let tables = [(&mut self.group, &[3][..])]
            .into_iter()
            .chain(self.gshadow.as_mut().map(|t| (t, &[2, 3][..])));
        for (table, numbers) in tables {
            for at in table.entries().collect::<Vec<_>>() {
                for number in numbers {
                    let members = table.names(at, *number);
                    if members.iter().any(|m| m == name) {
                        table.set(at, *number, &with(members, name, false));
                    }
                }
            }
        }
        let own = self.group.find(name).filter(|at| {
            let gid_there = self.group.id(*at, 2);
            let used = self.passwd.entries().any(|p| self.passwd.id(p, 3) == gid_there);
            gid_there == gid && self.group.field(*at, 3).is_empty() && !used
        });
        if own.is_some() {
            self.drop_group(name);
            said.push(format!("and the group {name}"));
        }
        said
    }

    /// Brings a group about.
    pub(crate) fn group(&mut self, name: &str, gid: Option<u32>) -> Result<Vec<String>, String> {
        if let Some(gid) = gid {
            check_id(gid)?;
            let taken = self.group.entries().find(|at| self.group.id(*at, 2) == Some(gid));
            if let Some(at) = taken.filter(|at| self.group.field(*at, 0) != name.as_bytes()) {
                return Err(format!("gid {gid} is that of the group {}", self.group.text(at, 0)));
            }
        }
        let Some(at) = self.group.find(name) else {
            let gid = gid.map_or_else(|| self.first_free_gid(), Ok)?;
            self.add_group(name, gid);
            return Ok(vec![format!("new (gid {gid})")]);
        };
        let now = self.group.id(at, 2);
        match gid.filter(|gid| now != Some(*gid)) {
            None => Ok(Vec::new()),
            Some(gid) => {
                let was = self.group.text(at, 2);
                self.group.set(at, 2, &gid.to_string());
                for user in self.passwd.entries().collect::<Vec<_>>() {
                    if self.passwd.id(user, 3) == now {
                        self.passwd.set(user, 3, &gid.to_string());
                    }
                }
                Ok(vec![format!("gid {was} → {gid}")])
            }
        }
    }

    /// Removes a group that is nobody's primary one.
    pub(crate) fn no_group(&mut self, name: &str) -> Result<Vec<String>, String> {
        let Some(at) = self.group.find(name) else {
            return Ok(Vec::new());
        };
        let gid = self.group.id(at, 2);
        if let Some(user) = self.passwd.entries().find(|u| self.passwd.id(*u, 3) == gid) {
            let user = self.passwd.text(user, 0);
            return Err(format!(
                "it is the primary group of {user}; give {user} another one first"
            ));
        }
        self.drop_group(name);
        Ok(vec!["gone".into()])
    }

    fn add_group(&mut self, name: &str, gid: u32) {
        self.group.add(&[name, "x", &gid.to_string(), ""]);
        if let Some(gshadow) = &mut self.gshadow {
            if let Some(stale) = gshadow.find(name) {
                gshadow.remove(stale);
            }
            gshadow.add(&[name, "!", "", ""]);
        }
    }

    fn drop_group(&mut self, name: &str) {
        for table in [Some(&mut self.group), self.gshadow.as_mut()].into_iter().flatten() {
            if let Some(at) = table.find(name) {
                table.remove(at);
            }
        }
    }

    fn gid(&self, group: &str) -> Result<u32, String> {
        let at = self.group.find(group).ok_or_else(|| no_group(group))?;
        self.group
            .id(at, 2)
            .ok_or_else(|| format!("the group {group} has no number in /etc/group"))
    }

    fn free_uid(&self, name: &str, uid: u32) -> Result<(), String> {
        check_id(uid)?;
        let taken = self.passwd.entries().find(|at| self.passwd.id(*at, 2) == Some(uid));
        match taken.filter(|at| self.passwd.field(*at, 0) != name.as_bytes()) {
            Some(at) => Err(format!("uid {uid} is that of the user {}", self.passwd.text(at, 0))),
            None => Ok(()),
        }
    }

    fn uids(&self) -> BTreeSet<u32> {
        self.passwd.entries().filter_map(|at| self.passwd.id(at, 2)).collect()
    }

    fn gids(&self) -> BTreeSet<u32> {
        self.group.entries().filter_map(|at| self.group.id(at, 2)).collect()
    }

    /// The first uid that is free; with `both`, as gid too, where there is one.
    fn first_free(&self, both: bool) -> Result<u32, String> {
        let (uids, gids) = (self.uids(), self.gids());
        let mut free = SYSTEM.filter(|id| !uids.contains(id));
        let twice = free.clone().find(|id| !gids.contains(id));
        twice
            .filter(|_| both)
            .or_else(|| free.next())
            .ok_or_else(|| full("uid"))
    }

    fn first_free_gid(&self) -> Result<u32, String> {
        let gids = self.gids();
        SYSTEM.clone().find(|id| !gids.contains(id)).ok_or_else(|| full("gid"))
    }
}

fn full(what: &str) -> String {
    let (first, last) = (SYSTEM.start(), SYSTEM.end());
    format!("no {what} from {first} to {last} is free; name one in the step")
}

fn no_group(name: &str) -> String {
    format!("/etc/group has no group {name:?}; a group step before this one makes it")
}

fn check_id(id: u32) -> Result<(), String> {
    if NO_ID.contains(&id) {
        Err(format!("{id} is no id"))
    } else {
        Ok(())
    }
}

fn with(mut members: Vec<String>, name: &str, wanted: bool) -> String {
    if wanted {
        members.push(name.to_owned());
    } else {
        members.retain(|m| m != name);
    }
    members.join(",")
}

/// Whether `text` is a hash as crypt(5) writes it, of a kind that is still made: `$ID$…`.
pub(crate) fn is_hash(text: &str) -> bool {
    let mut parts = text.split('$');
    let plain = |p: &str, more: &str| p.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    parts.next() == Some("")
        && parts.next().is_some_and(|id| !id.is_empty() && plain(id, ""))
        && parts.clone().count() >= 2
        && parts.all(|p| plain(p, "./=,+-"))
        && text.len() <= 384
}
