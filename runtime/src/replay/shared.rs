//! Files that steps edit by parts: what they must say now, from what they said before, by the very functions that compare
//! edits them with.
//!
//! What a file said before is the decision's own record. Where not everybody may read it, that is a MAC and no text: then
//! what became of it is taken from the record too.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jos_schemas::documents::desired_state::{GroupStep, Step, UciStep, UserStep};

use super::machine::Input;
use crate::accounts::{Files, Table, WantedUser};
use crate::compare::{GROUP, GSHADOW, PASSWD, Part, SHADOW, lists, without};
use crate::crontab::{self, Reader};
use crate::gate::{system_keys, user};
use crate::sysctl::{self, Key};
use crate::uci::step as uci;

/// What a shared file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// To this; nothing when it is to be gone.
    To(Option<Rc<[u8]>>),
    /// Only the device can know.
    Opaque,
}

/// All shared files of a plan.
pub(super) struct Shared {
    before: BTreeMap<String, Came>,
    now: BTreeMap<String, Came>,
    /// Who is told that a file changed, in order.
    pub(super) notify: BTreeMap<String, Vec<String>>,
}

impl Shared {
    /// Computes what every file of `inputs` must say. `name` is the agent's.
    pub(super) fn compute(name: &str, parts: &[Part<'_>], inputs: &BTreeMap<String, Input>) -> Result<Self, String> {
        let came = |input: &Input| match input {
            Input::Text(text) => Came::To(Some(Rc::clone(text))),
            Input::Missing => Came::To(None),
            Input::Mac | Input::Hash => Came::Opaque,
        };
        let before: BTreeMap<String, Came> = inputs.iter().map(|(p, i)| (p.clone(), came(i))).collect();
        let now = before.clone();
        let notify = BTreeMap::new();
        let mut shared = Self { before, now, notify };
        if inputs.is_empty() {
            return Ok(shared);
        }
        for (at, part) in parts.iter().enumerate() {
            for step in &part.state.spec.apply {
                if !parts[at + 1..].iter().any(|over| lists(over.state, step)) {
                    shared.step(name, step, false)?;
                }
            }
        }
        let listed: BTreeSet<String> = parts
            .iter()
            .flat_map(|p| &p.state.spec.apply)
            .flat_map(system_keys)
            .collect();
        for part in parts.iter().filter(|p| p.state.meta.prune) {
            let steps = part.follows.iter().flat_map(|before| &before.spec.apply);
            for step in steps {
                let gone: Vec<String> = system_keys(step)
                    .into_iter()
                    .filter(|key| !listed.contains(key))
                    .collect();
                if let Some(undone) = without(step, &gone) {
                    shared.step(name, &undone, true)?;
                }
            }
        }
        Ok(shared)
    }

    /// What `path` must say, and whether that is another text than before. `None`: no step edits it.
    pub(super) fn of(&self, path: &str) -> Option<(&Came, bool)> {
        let now = self.now.get(path)?;
        Some((now, self.before.get(path) != Some(now)))
    }

    /// What `path` said before, where everybody may know.
    pub(super) fn was(&self, path: &str) -> Option<&[u8]> {
        match self.before.get(path) {
            Some(Came::To(text)) => text.as_deref(),
            _ => None,
        }
    }

    /// The files that must have changed.
    pub(super) fn changed(&self) -> impl Iterator<Item = &str> {
        let differs = |path: &&String| self.before.get(*path) != self.now.get(*path);
        self.now.keys().filter(differs).map(String::as_str)
    }

    fn step(&mut self, agent: &str, step: &Step, undoing: bool) -> Result<(), String> {
        match step {
            Step::Uci(step) => self.uci(step, undoing),
            Step::Cron(step) => {
                let (name, user) = (step.name.as_str(), user(step));
                let entry = |reader| match step.absent {
                    true => Ok(None),
                    false => crontab::line(reader, &step.schedule, user, &step.command).map(Some),
                };
                let own = format!("/etc/cron.d/jos-{agent}-{name}");
                if self.now.contains_key(&own) {
                    let line = entry(Reader::Vixie)?;
                    let text = line.map(|line| crontab::whole(agent, name, &line).into_bytes());
                    return self.write(&own, |_| Ok(Some(text)), &[]);
                }
                let line = entry(Reader::BusyBox)?;
                let edit = |old: Option<&[u8]>| {
                    let new = crontab::edited(text(old)?, agent, name, line.as_deref());
                    Ok(new.map(|new| Some(new.into_bytes())))
                };
                self.write(&format!("/etc/crontabs/{user}"), edit, &["cron"])
            }
            Step::Sysctl(step) => {
                let key = Key::new(&step.key);
                let value = (!undoing).then_some(step.value.as_str());
                let own = format!("/etc/sysctl.d/99-zz-jos-{agent}.conf");
                let whole = self.now.contains_key(&own);
                let path = if whole { own } else { "/etc/sysctl.conf".into() };
                let edit = |old: Option<&[u8]>| {
                    let new = sysctl::edited(text(old)?, &key, value);
                    Ok(new.map(|new| (!whole || !new.is_empty()).then(|| new.into_bytes())))
                };
                self.write(&path, edit, &[])
            }
            Step::User(step) => self.user(step),
            Step::Group(step) => self.group(step),
            _ => Ok(()),
        }
    }

    fn uci(&mut self, step: &UciStep, tidy: bool) -> Result<(), String> {
        let path = format!("/etc/config/{}", step.config);
        let notify: Vec<&str> = step.notify.iter().map(AsRef::as_ref).collect();
        let unknown = |_: &_| Err("a secret".to_owned());
        let holds_secret = step
            .options
            .values()
            .any(|v| matches!(v, jos_schemas::documents::desired_state::UciValue::Secret(_)));
        if holds_secret {
            self.now.insert(path.clone(), Came::Opaque);
        }
        let edit = |old: Option<&[u8]>| Ok(uci::apply(old, step, &unknown, tidy)?.map(|done| Some(done.text)));
        self.write(&path, edit, &notify)
    }

    /// Edits one file; `edit` gives nothing where it says so already.
    fn write(
        &mut self,
        path: &str,
        edit: impl FnOnce(Option<&[u8]>) -> Result<Option<Option<Vec<u8>>>, String>,
        notify: &[&str],
    ) -> Result<(), String> {
        let Some(now) = self.now.get_mut(path) else {
            // A step of a kind that this system does not keep in files.
            return Ok(());
        };
        let changed = match now {
            Came::Opaque => true,
            Came::To(old) => match edit(old.as_deref())? {
                Some(new) => {
                    let new = new.map(Rc::from);
                    let changed = *old != new;
                    *old = new;
                    changed
                }
                None => false,
            },
        };
        if changed {
            let told = self.notify.entry(path.to_owned()).or_default();
            for service in notify {
                if !told.iter().any(|t| t == service) {
                    told.push((*service).to_owned());
                }
            }
        }
        Ok(())
    }

    fn user(&mut self, step: &UserStep) -> Result<(), String> {
        let name = step.name.as_str();
        self.accounts(|files| {
            if step.absent {
                files.no_user(name);
                return Ok(());
            }
            let wanted = WantedUser {
                name,
                uid: step.uid,
                group: step.group.as_ref().map(|g| g.as_str()),
                groups: (!step.groups.is_empty()).then(|| step.groups.iter().map(|g| g.as_str()).collect()),
                home: step.home.as_ref().map(|h| h.as_str()),
                shell: step.shell.as_ref().map(|s| s.as_str()),
                comment: step.comment.as_deref(),
                // It goes where not everybody may read.
                password: None,
            };
            files.user(&wanted).map(drop)
        })
    }

    fn group(&mut self, step: &GroupStep) -> Result<(), String> {
        let name = step.name.as_str();
        self.accounts(|files| {
            if step.absent {
                files.no_group(name).map(drop)
            } else {
                files.group(name, step.gid).map(drop)
            }
        })
    }

    /// The account files as far as everybody may read them. What the others say does not show in these.
    fn accounts(&mut self, edit: impl FnOnce(&mut Files) -> Result<(), String>) -> Result<(), String> {
        let readable = |path: &str| match self.now.get(path) {
            Some(Came::To(Some(text))) => Some(Table::read(text)),
            _ => None,
        };
        let (Some(passwd), Some(group)) = (readable(PASSWD), readable(GROUP)) else {
            return Ok(());
        };
        let there = |path: &str| !matches!(self.now.get(path), None | Some(Came::To(None)));
        let table = |path: &str| readable(path).or_else(|| there(path).then(|| Table::read(b"")));
        let mut files = Files {
            passwd,
            group,
            shadow: table(SHADOW),
            gshadow: table(GSHADOW),
        };
        edit(&mut files)?;
        for (path, table) in [(PASSWD, &files.passwd), (GROUP, &files.group)] {
            self.now.insert(path.to_owned(), Came::To(Some(table.write().into())));
        }
        Ok(())
    }
}

fn text(bytes: Option<&[u8]>) -> Result<Option<&str>, String> {
    bytes.map(std::str::from_utf8).transpose().map_err(|e| e.to_string())
}
