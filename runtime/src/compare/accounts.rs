//! Users and groups: the account files as they will be, edited as the shared files that they are.

use std::rc::Rc;

use jos_schemas::documents::desired_state::{GroupStep, UserStep};
use zeroize::Zeroizing;

use super::shared::Edit;
use super::{Build, Part, Planned, attrs_shape, bare};
use crate::accounts::{self, Files, Table, WantedUser};
use crate::disk::Attrs;
use crate::plan::{Action, After};

pub(crate) const PASSWD: &str = "/etc/passwd";
pub(crate) const SHADOW: &str = "/etc/shadow";
pub(crate) const GROUP: &str = "/etc/group";
pub(crate) const GSHADOW: &str = "/etc/gshadow";
const SHELLS: &str = "/etc/shells";
/// Where nobody logs in; never in /etc/shells.
const NO_LOGIN: &[&str] = &["/bin/false", "/usr/bin/false", "/sbin/nologin", "/usr/sbin/nologin"];

impl Build<'_> {
    pub(super) fn user(&mut self, part: &Part<'_>, label: &str, step: &UserStep) -> Result<(), String> {
        let name = step.name.as_str();
        let mut files = self.account_files()?;
        if step.absent {
            let said = files.no_user(name);
            return self.write_accounts(part, label, &format!("user {name}"), &files, &said);
        }
        if step.make_home && step.home.is_none() {
            return Err("`make_home` needs `home`: which directory?".into());
        }
        if let Some(shell) = &step.shell {
            self.check_shell(shell.as_str())?;
        }
        let password = match &step.password {
            None => None,
            Some(secret) => {
                let value = self.sight.secrets.get(&secret.secret).map_err(|e| e.to_string())?;
                let text = std::str::from_utf8(&value).map(|t| t.trim_end_matches('\n').to_owned());
                let text = Zeroizing::new(text.unwrap_or_default());
                if !accounts::is_hash(&text) {
                    let secret = &secret.secret;
                    return Err(format!(
                        "secret {secret} is no password hash of the form $ID$…; mkpasswd(1) makes one"
                    ));
                }
                Some(text)
            }
        };
        let said = files.user(&WantedUser {
            name,
            uid: step.uid,
            group: step.group.as_ref().map(|g| g.as_str()),
            groups: (!step.groups.is_empty()).then(|| step.groups.iter().map(|g| g.as_str()).collect()),
            home: step.home.as_ref().map(|h| h.as_str()),
            shell: step.shell.as_ref().map(|s| s.as_str()),
            comment: step.comment.as_deref(),
            password: password.as_ref().map(|p| p.as_str()),
        })?;
        self.write_accounts(part, label, &format!("user {name}"), &files, &said)?;
        match step.home.as_ref().filter(|_| step.make_home) {
            Some(home) => self.home(part, label, home.as_str(), &files, name),
            None => Ok(()),
        }
    }

    pub(super) fn group(&mut self, part: &Part<'_>, label: &str, step: &GroupStep) -> Result<(), String> {
        let name = step.name.as_str();
        let mut files = self.account_files()?;
        let said = if step.absent {
            files.no_group(name)?
        } else {
            files.group(name, step.gid)?
        };
        self.write_accounts(part, label, &format!("group {name}"), &files, &said)
    }

    /// The four files after the steps so far. macOS keeps its accounts in a directory service, which no file shows.
    fn account_files(&mut self) -> Result<Files, String> {
        if cfg!(target_os = "macos") && self.sight.live {
            return Err("macOS keeps accounts in its directory service; this build edits account files only".into());
        }
        let mut table = |path: &str| Ok::<_, String>(self.shared_file(path)?.map(|bytes| Table::read(&bytes)));
        let missing = |path: &str| format!("{path} does not exist: where are this system's accounts?");
        Ok(Files {
            passwd: table(PASSWD)?.ok_or_else(|| missing(PASSWD))?,
            group: table(GROUP)?.ok_or_else(|| missing(GROUP))?,
            shadow: table(SHADOW)?,
            gshadow: table(GSHADOW)?,
        })
    }

    fn write_accounts(
        &mut self,
        part: &Part<'_>,
        label: &str,
        who: &str,
        files: &Files,
        said: &[String],
    ) -> Result<(), String> {
        let (shadow, gshadow) = (files.shadow.as_ref(), files.gshadow.as_ref());
        // Groups first, users last: a reader in between never meets a user whose group or password is not there yet.
        let all = [
            (GROUP, Some(&files.group)),
            (GSHADOW, gshadow),
            (SHADOW, shadow),
            (PASSWD, Some(&files.passwd)),
        ];
        for (path, table) in all {
            let Some(table) = table else { continue };
            if path == SHADOW || path == GSHADOW {
                self.hide_shared(path);
            }
            let edit = Edit {
                text: Some(table.write()),
                attrs: Attrs {
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                },
                details: vec![format!("{who}: {}", said.join(", "))],
                notify: &[],
            };
            self.edit_shared(part, label, path, edit)?;
        }
        Ok(())
    }

    /// Whoever may choose a login shell chooses what runs at a login: only what the system lists as one.
    fn check_shell(&self, shell: &str) -> Result<(), String> {
        let Ok((bytes, _)) = self.sight.disk.read(SHELLS, 1 << 20) else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&bytes);
        if NO_LOGIN.contains(&shell) || text.lines().any(|line| line.trim() == shell) {
            return Ok(());
        }
        Err(format!(
            "{shell} is no login shell of this system: {SHELLS} does not list it"
        ))
    }

    /// Makes the home of a user, empty and closed to others; one that is there is the user's own affair.
    fn home(&mut self, part: &Part<'_>, label: &str, path: &str, files: &Files, name: &str) -> Result<(), String> {
        if self.look(path).map_err(|e| e.to_string())?.0.is_some() {
            return Ok(());
        }
        self.parents(part, label, path)?;
        let at = files.passwd.find(name);
        let ids = at.and_then(|at| Some((files.passwd.id(at, 2)?, files.passwd.id(at, 3)?)));
        let (uid, gid) = ids.ok_or_else(|| format!("{PASSWD}: the numbers of {name} do not read"))?;
        let attrs = Attrs { mode: 0o700, uid, gid };
        self.planned.insert(path.to_owned(), Planned::NewDir);
        let mut change = bare(label, part.source, Action::Create, path);
        change.details.push(format!("home of {name}"));
        let shape = attrs_shape("directory", attrs);
        self.path_task(part, change, &[], path, None, After::Dir { attrs }, shape);
        Ok(())
    }

    /// uid and gid of an owner: also of one whom a step before this one makes.
    pub(super) fn owner_ids(&self, owner: &jos_schemas::text::Owner) -> Result<(u32, u32), String> {
        let text = |path: &str| self.texts.get(path).map(Rc::clone);
        let (passwd, group) = (text(PASSWD), text(GROUP));
        let table = |bytes: &Option<Rc<Zeroizing<Vec<u8>>>>| bytes.as_ref().map(|b| Table::read(b));
        accounts::resolve(
            self.sight.disk,
            self.sight.live,
            owner,
            table(&passwd).as_ref(),
            table(&group).as_ref(),
        )
    }
}

/// Paths besides its own that a step looks after: a purge leaves them.
pub(super) fn looks_after(step: &jos_schemas::documents::desired_state::Step) -> Vec<String> {
    use jos_schemas::documents::desired_state::Step;
    let files = || [PASSWD, SHADOW, GROUP, GSHADOW].map(str::to_owned).to_vec();
    match step {
        Step::User(user) => {
            let home = user.home.as_ref().filter(|_| user.make_home && !user.absent);
            let mut all = files();
            all.extend(home.map(|h| h.as_str().to_owned()));
            all
        }
        Step::Group(_) => files(),
        Step::Uci(uci) => vec![format!("/etc/config/{}", uci.config)],
        _ => Vec::new(),
    }
}
