//! Services and commands: what the init system would be told and what would run, now or at the first boot.

use std::time::Duration;

use jos_schemas::documents::desired_state::{ServiceAction, ServiceStep, ShellStep};

use super::{Build, Part, Planned, bare};
use crate::offline::{self, Enabling};
use crate::plan::{Act, Action, Task};
use crate::world::ServiceCommand;

/// Seconds for a shell step without `timeout`.
const SHELL_TIMEOUT: u32 = 60;

impl Build<'_> {
    pub(super) fn service(&mut self, part: &Part<'_>, label: &str, step: &ServiceStep) -> Result<(), String> {
        let name = step.name.as_str();
        if !self.sight.live {
            return self.service_in_root(part, label, step);
        }
        let state = self
            .sight
            .services
            .state(name)
            .map_err(|e| format!("service {name}: {e}"))?;
        let commands: &[ServiceCommand] = match step.action {
            ServiceAction::Start if !state.active => &[ServiceCommand::Start],
            ServiceAction::Stop if state.active => &[ServiceCommand::Stop],
            ServiceAction::Restart if part.run_once => &[ServiceCommand::Restart],
            ServiceAction::Reload if part.run_once => &[ServiceCommand::Reload],
            ServiceAction::Enable => match (state.enabled, state.active) {
                (true, true) => &[],
                (true, false) => &[ServiceCommand::Start],
                (false, true) => &[ServiceCommand::Enable],
                (false, false) => &[ServiceCommand::Enable, ServiceCommand::Start],
            },
            ServiceAction::Disable => match (state.active, state.enabled) {
                (false, false) => &[],
                (true, false) => &[ServiceCommand::Stop],
                (false, true) => &[ServiceCommand::Disable],
                (true, true) => &[ServiceCommand::Stop, ServiceCommand::Disable],
            },
            _ => &[],
        };
        let stops = matches!(step.action, ServiceAction::Stop | ServiceAction::Disable);
        if !commands.is_empty() && !state.known && !stops && !self.brings(name) {
            let init = self.sight.services.init();
            return Err(format!("{init} does not know a service {name}, and no step brings it"));
        }
        for command in commands {
            if *command != ServiceCommand::Enable && *command != ServiceCommand::Disable {
                self.told.insert(name.to_owned());
            }
            let mut change = bare(label, part.source, Action::Service, name);
            change.details.push(format!("service {}", command.word()));
            let at = self.plan.changes.len();
            self.plan.changes.push(change);
            let act = Act::Service {
                name: name.to_owned(),
                command: *command,
            };
            self.plan.tasks.push(Task {
                change: at,
                source: part.source,
                notify: Vec::new(),
                act,
            });
        }
        if stops {
            self.told.insert(name.to_owned());
        }
        Ok(())
    }

    /// Whether a file of this plan could be the service's unit, script or plist.
    pub(super) fn brings(&self, service: &str) -> bool {
        let stem = service.split('@').next().unwrap_or(service);
        if self.installs {
            return true;
        }
        let made = |planned: &Planned| *planned == Planned::Other(crate::disk::Kind::File);
        let files = self.planned.iter().filter(|(_, p)| made(p)).map(|(path, _)| path);
        self.texts
            .keys()
            .chain(files)
            .any(|p| p.rsplit('/').next().is_some_and(|n| n.starts_with(stem)))
    }

    pub(super) fn service_in_root(&mut self, part: &Part<'_>, label: &str, step: &ServiceStep) -> Result<(), String> {
        let name = step.name.as_str();
        let on = match step.action {
            ServiceAction::Enable => true,
            ServiceAction::Disable => false,
            ServiceAction::Stop => return Ok(()),
            ServiceAction::Start | ServiceAction::Restart | ServiceAction::Reload => {
                self.pending(part, label, name, "service start at the first boot");
                return Ok(());
            }
        };
        let read = |path: &str| {
            let text = |b: &[u8]| Some(String::from_utf8_lossy(b).into_owned());
            match self.texts.get(path) {
                Some(bytes) => text(bytes),
                None => self.sight.disk.read(path, 1 << 20).ok().and_then(|(b, _)| text(&b)),
            }
        };
        match offline::enabling(name, &read) {
            Enabling::Links(links) => {
                for link in links {
                    if on {
                        self.one_link(part, label, &link.path, &link.target, &[])?;
                    } else {
                        self.remove(part, label, &link.path, false, &[])?;
                    }
                }
                Ok(())
            }
            Enabling::Unknown => {
                let what = if on {
                    "service enable at the first boot: not in this root yet"
                } else {
                    "service disable at the first boot"
                };
                self.pending(part, label, name, what);
                Ok(())
            }
        }
    }

    pub(super) fn pending(&mut self, part: &Part<'_>, label: &str, what: &str, why: &str) {
        if part.run_once {
            let mut change = bare(label, part.source, Action::Pending, what);
            change.details.push(why.to_owned());
            self.plan.changes.push(change);
        }
    }

    pub(super) fn shell(&mut self, part: &Part<'_>, label: &str, step: &ShellStep) -> Result<(), String> {
        if !part.run_once && step.unless.is_none() {
            return Ok(());
        }
        let shown: String = step
            .command
            .chars()
            .take(200)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if !self.sight.live {
            self.pending(part, label, &shown, "runs at the first boot");
            return Ok(());
        }
        let command = |text: &str| {
            self.sight
                .gate
                .command(part.source, text)
                .ok_or_else(|| format!("the command is not listed: {text:?}"))
        };
        let argv = command(&step.command)?;
        let unless = step.unless.as_deref().map(command).transpose()?;
        let undo = step.undo.as_deref().map(command).transpose()?;
        let timeout = Duration::from_secs(u64::from(step.timeout.unwrap_or(SHELL_TIMEOUT)));
        let mut change = bare(label, part.source, Action::Run, &shown);
        if let Some(unless) = &step.unless {
            change.details.push(format!("unless {unless:?} succeeds"));
        }
        if step.undo.is_none() {
            change.details.push("has no undo".into());
        }
        let at = self.plan.changes.len();
        self.plan.changes.push(change);
        let act = Act::Shell {
            argv,
            unless,
            undo,
            timeout,
        };
        self.plan.tasks.push(Task {
            change: at,
            source: part.source,
            notify: Vec::new(),
            act,
        });
        Ok(())
    }
}
