//! What systems keep in files of their own format: UCI, crontabs, kernel parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use jos_schemas::documents::desired_state::{CronStep, Step, SysctlStep, UciStep, UciValue};
use jos_schemas::text::ServiceName;

use super::shared::Edit;
use super::{Build, Part, Wanted, bare, default_owner};
use crate::crontab::{self, Reader};
use crate::disk::{Attrs, Kind};
use crate::gate::{Judgement, Refusal, label, system_keys, uci_words, user};
use crate::plan::{Act, Action, Task};
use crate::sysctl::{self, Key};
use crate::uci::{Config, step};

/// Reads what was just written as everybody else will. Its output is thrown away: it may hold secrets.
const UCI_READS: &str = "exec uci -q show \"$1\" >/dev/null";
/// Writes one kernel parameter.
const SET_PARAMETER: &str = "printf '%s\\n' \"$2\" >\"$1\"";
const TIMEOUT: Duration = Duration::from_secs(20);
/// Kernel parameters are short.
const VALUE_LIMIT: u64 = 64 * 1024;

#[derive(Clone, Copy, PartialEq)]
enum System {
    OpenWrt,
    Linux,
    MacOs,
}

impl Build<'_> {
    fn is_there(&self, path: &str, kind: Kind) -> bool {
        self.look(path).is_ok_and(|(found, _)| found == Some(kind))
    }

    fn system(&self) -> System {
        if self.is_there("/etc/openwrt_release", Kind::File) {
            System::OpenWrt
        } else if self.sight.live && cfg!(target_os = "macos") || self.is_there("/System/Library", Kind::Dir) {
            System::MacOs
        } else {
            System::Linux
        }
    }

    fn unsupported(&mut self, label: &str, why: &str) {
        let (step, why) = (label.to_owned(), why.to_owned());
        self.plan.unsupported.push(Refusal {
            step,
            why,
            needed: None,
        });
    }

    fn text(&mut self, path: &str) -> Result<Option<String>, String> {
        let bytes = self.shared_file(path)?;
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).map_err(|_| format!("{path}: not UTF-8; it is left alone"));
        bytes.map(|b| text(&b)).transpose()
    }

    pub(super) fn uci(&mut self, part: &Part<'_>, label: &str, step: &UciStep, tidy: bool) -> Result<(), String> {
        let config = &step.config;
        let path = format!("/etc/config/{config}");
        if !self.is_there("/etc/config", Kind::Dir) {
            self.unsupported(label, "this system has no UCI: there is no folder /etc/config");
            return Ok(());
        }
        let old = self.shared_file(&path)?;
        let secrets = self.sight.secrets;
        let secret = |name: &_| secrets.get(name).map_err(|e| e.to_string());
        let Some(done) = step::apply(old.as_ref().map(|b| b.as_slice()), step, &secret, tidy)? else {
            return Ok(());
        };
        self.nobody_else_writes(config)?;
        let secret = step.options.values().any(|v| matches!(v, UciValue::Secret(_)));
        if secret || Config::read(&done.text).is_ok_and(|c| step::holds_secrets(&c)) {
            self.hide_shared(&path);
        }
        let (uid, gid) = default_owner();
        // As uci makes them.
        let attrs = Attrs { mode: 0o600, uid, gid };
        let edit = Edit {
            text: Some(done.text),
            attrs,
            details: done.details,
            notify: &step.notify,
        };
        let checked = self.shared_task(&path).is_some();
        self.edit_shared(part, label, &path, edit)?;
        if let Some(task) = self.shared_task(&path).filter(|_| !checked && self.sight.live)
            && (self.is_there("/sbin/uci", Kind::File) || self.is_there("/usr/bin/uci", Kind::File))
        {
            let argv = ["/bin/sh", "-c", UCI_READS, "sh", config].map(str::to_owned).to_vec();
            let act = Act::Check {
                what: format!("uci reads {config}"),
                argv,
                timeout: TIMEOUT,
            };
            let change = self.plan.tasks[task].change;
            self.plan.tasks.push(Task {
                change,
                source: part.source,
                notify: Vec::new(),
                act,
            });
        }
        Ok(())
    }

    /// Changes that somebody staged would come on top of ours with the next `uci commit`; a file that stands in for this
    /// one would keep ours from being read.
    fn nobody_else_writes(&self, config: &str) -> Result<(), String> {
        if !self.sight.live {
            return Ok(());
        }
        let size = |path: &str| self.look(path).ok().and_then(|(_, meta)| meta).map_or(0, |m| m.size);
        if size(&format!("/tmp/.uci/{config}")) > 0 {
            return Err(format!(
                "somebody staged changes of {config} that are not committed; see `uci changes {config}`, then `uci commit {config}` or `uci revert {config}`"
            ));
        }
        for dir in ["/tmp/run/uci", "/run/uci", "/var/run/uci"] {
            if size(&format!("{dir}/{config}")) > 0 {
                return Err(format!(
                    "uci reads {dir}/{config} instead of /etc/config/{config}; remove it first"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn cron(&mut self, part: &Part<'_>, label: &str, step: &CronStep) -> Result<(), String> {
        let (agent, name, user) = (self.plan.name.to_string(), step.name.as_str(), user(step));
        let (uid, gid) = default_owner();
        let entry = |reader| match step.absent {
            true => Ok(None),
            false => crontab::line(reader, &step.schedule, user, &step.command).map(Some),
        };
        let word = if step.absent { " removed" } else { "" };
        let details = vec![format!("entry {name} of {user}{word}")];
        match self.system() {
            System::MacOs => {
                self.unsupported(
                    label,
                    "there are no cron steps on macOS; write a plist of launchd by a file step",
                );
                Ok(())
            }
            System::Linux if !self.is_there("/etc/cron.d", Kind::Dir) => {
                self.unsupported(
                    label,
                    "there is no cron here: no folder /etc/cron.d; install the package cron first",
                );
                Ok(())
            }
            System::Linux => {
                let line = entry(Reader::Vixie)?;
                let path = format!("/etc/cron.d/jos-{agent}-{name}");
                self.shared_file(&path)?;
                let text = line.map(|line| crontab::whole(&agent, name, &line).into_bytes());
                let attrs = Attrs { mode: 0o644, uid, gid };
                self.edit_shared(
                    part,
                    label,
                    &path,
                    Edit {
                        text,
                        attrs,
                        details,
                        notify: &[],
                    },
                )
            }
            System::OpenWrt => {
                let line = entry(Reader::BusyBox)?;
                let path = format!("/etc/crontabs/{user}");
                let old = self.text(&path)?;
                let Some(new) = crontab::edited(old.as_deref(), &agent, name, line.as_deref()) else {
                    return Ok(());
                };
                // BusyBox crond looks once an hour by itself.
                let notify = ServiceName::new("cron").map_err(|e| e.to_string())?;
                let (text, attrs) = (Some(new.into_bytes()), Attrs { mode: 0o600, uid, gid });
                self.edit_shared(
                    part,
                    label,
                    &path,
                    Edit {
                        text,
                        attrs,
                        details,
                        notify: &[notify],
                    },
                )
            }
        }
    }

    pub(super) fn sysctl(&mut self, part: &Part<'_>, label: &str, step: &SysctlStep) -> Result<(), String> {
        let key = Key::new(&step.key);
        if !key.is_safe() {
            return Err(format!("{:?} is no kernel parameter", step.key));
        }
        if self.system() == System::MacOs {
            self.unsupported(label, "kernel parameters are set on Linux only");
            return Ok(());
        }
        self.sysctl_file(part, label, &key, Some(&step.value))?;
        if self.sight.live {
            self.sysctl_now(part, label, &key, &step.value)
        } else {
            Ok(())
        }
    }

    /// The file that sets it at boot.
    fn sysctl_file(&mut self, part: &Part<'_>, label: &str, key: &Key, value: Option<&str>) -> Result<(), String> {
        let own = format!("/etc/sysctl.d/99-zz-jos-{}.conf", self.plan.name);
        // OpenWrt keeps /etc/sysctl.conf over an upgrade, and reads it last.
        let shared = self.system() == System::OpenWrt;
        let path = if shared { "/etc/sysctl.conf".to_owned() } else { own };
        let old = self.text(&path)?;
        let Some(new) = sysctl::edited(old.as_deref(), key, value) else {
            return Ok(());
        };
        let (uid, gid) = default_owner();
        let word = if value.is_none() { " removed" } else { "" };
        let details = vec![format!("{}{word}", key.dotted())];
        let text = (shared || !new.is_empty()).then(|| new.into_bytes());
        let attrs = Attrs { mode: 0o644, uid, gid };
        self.edit_shared(
            part,
            label,
            &path,
            Edit {
                text,
                attrs,
                details,
                notify: &[],
            },
        )
    }

    /// The running kernel. Undo writes what it said before.
    fn sysctl_now(&mut self, part: &Part<'_>, label: &str, key: &Key, value: &str) -> Result<(), String> {
        let path = format!("/proc/sys/{}", key.path());
        let before = match self.sight.disk.read(&path, VALUE_LIMIT) {
            Ok((bytes, _)) => String::from_utf8(bytes).map_err(|_| format!("{path} is no text"))?,
            Err(e) if e.is_missing() => {
                return Err(format!("this kernel has no parameter {}: no {path}", key.dotted()));
            }
            Err(e) => return Err(format!("{e}; a parameter that cannot be read cannot be kept")),
        };
        if sysctl::same_value(&before, value) {
            return Ok(());
        }
        let before = before.trim_end_matches('\n');
        let set = |value: &str| {
            ["/bin/sh", "-c", SET_PARAMETER, "sh", &path, value]
                .map(str::to_owned)
                .to_vec()
        };
        let mut change = bare(label, part.source, Action::Run, &path);
        change
            .details
            .push(format!("{before:?} → {value:?} in the running kernel"));
        let at = self.plan.changes.len();
        self.plan.changes.push(change);
        let act = Act::Shell {
            argv: set(value),
            unless: None,
            undo: Some(set(before)),
            timeout: TIMEOUT,
        };
        self.plan.tasks.push(Task {
            change: at,
            source: part.source,
            notify: Vec::new(),
            act,
        });
        Ok(())
    }

    /// What an earlier version set in such files and no state lists any more: left as it is, or taken out where the new
    /// version prunes.
    pub(super) fn dropped_entries(&mut self, wanted: &Wanted<'_>) {
        let states = wanted.parts.iter().map(|p| p.state);
        let listed: Vec<String> = states.flat_map(|s| &s.spec.apply).flat_map(system_keys).collect();
        for part in &wanted.parts {
            let Some(before) = part.follows else { continue };
            for (index, step) in before.spec.apply.iter().enumerate() {
                let gone: Vec<String> = system_keys(step)
                    .into_iter()
                    .filter(|key| !listed.contains(key))
                    .collect();
                let Some(undone) = without(step, &gone) else { continue };
                if !part.state.meta.prune {
                    self.plan.released.extend(gone);
                    continue;
                }
                let label = format!("prune {}", label(index, step));
                let mut judgement = Judgement::default();
                self.sight.gate.judge_step(part.source, &label, &undone, &mut judgement);
                self.plan.refused.extend(judgement.refused);
                let done = match &undone {
                    Step::Uci(step) => self.uci(part, &label, step, true),
                    Step::Cron(step) => self.cron(part, &label, step),
                    Step::Sysctl(step) => self.sysctl_file(part, &label, &Key::new(&step.key), None),
                    _ => Ok(()),
                };
                if let Err(why) = done {
                    self.plan.problems.push(Refusal {
                        step: label,
                        why,
                        needed: None,
                    });
                }
            }
        }
    }
}

/// The step that takes back what `gone` names of `step`.
pub(crate) fn without(step: &Step, gone: &[String]) -> Option<Step> {
    if gone.is_empty() {
        return None;
    }
    match step {
        Step::Uci(uci) if !uci.absent => {
            let dropped = |option: &&String| gone.contains(&format!("option {}.{option}", uci_words(uci)));
            let remove: Vec<String> = uci.options.keys().filter(dropped).cloned().collect();
            (!remove.is_empty()).then(|| {
                Step::Uci(UciStep {
                    options: BTreeMap::new(),
                    remove,
                    ..uci.clone()
                })
            })
        }
        Step::Cron(cron) if !cron.absent => Some(Step::Cron(CronStep {
            absent: true,
            ..cron.clone()
        })),
        Step::Sysctl(_) => Some(step.clone()),
        _ => None,
    }
}
