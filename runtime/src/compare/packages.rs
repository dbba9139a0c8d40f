//! Packages: what the package manager would do, and whether it could be taken back.

use jos_schemas::documents::desired_state::{PackageState, PackageStep};

use super::{Build, Part, bare};
use crate::gate::software::{as_the_agent, own_along};
use crate::gate::{Judgement, Refusal};
use crate::plan::{Act, Action, Task};
use crate::world::{PackageChange, PackageWish};

impl Build<'_> {
    pub(super) fn package(&mut self, part: &Part<'_>, label: &str, step: &PackageStep) -> Result<(), String> {
        let (name, packages) = (step.name.as_str(), self.sight.packages);
        let absent = step.state == PackageState::Absent;
        if !self.sight.live {
            let verb = if absent { "remove" } else { "install" };
            self.pending(part, label, name, &format!("package {verb} at the first boot"));
            return Ok(());
        }
        if packages.manager() == "none" {
            self.plan.unsupported.push(Refusal {
                step: label.to_owned(),
                why: "no package manager that jos knows (apt, opkg, apk) is here".into(),
                needed: None,
            });
            return Ok(());
        }
        let now = packages.installed(name)?;
        let right = match (&now, absent, &step.version) {
            (None, true, _) => true,
            (Some(_), false, None) => true,
            (Some(now), false, Some(wanted)) => now == wanted,
            _ => false,
        };
        let own = packages.own();
        let itself = own.as_deref() == Some(name);
        if itself {
            let mut judgement = Judgement::default();
            self.sight.gate.own_package(part.source, label, step, &mut judgement);
            self.plan.refused.extend(judgement.refused);
        }
        if right {
            return Ok(());
        }
        if itself && !self.sight.outlives {
            self.plan.unsupported.push(Refusal {
                step: label.to_owned(),
                why: "nothing on this machine could see the agent through its own upgrade: neither systemd nor procd is here"
                    .into(),
                needed: None,
            });
            return Ok(());
        }
        let wish = PackageWish {
            name: name.to_owned(),
            version: step.version.clone().filter(|_| !absent),
            absent,
        };
        let changes = match packages.preview(&wish) {
            Ok(changes) => changes,
            Err(why) => {
                // The repositories may offer it by now: an apply asks them and looks again.
                self.plan.unknown_package = true;
                return Err(why);
            }
        };
        if !itself && changes.iter().any(|c| own.as_deref() == Some(c.name.as_str())) {
            return Err(format!(
                "along with {name} would change {}",
                own_along(own.as_deref().unwrap_or_default())
            ));
        }
        self.judge_packages(part, label, name, itself, &changes);
        if !step.allow_no_undo {
            for change in &changes {
                self.check_way_back(change)?;
            }
        }
        let mut planned = bare(label, part.source, Action::Run, &format!("package {name}"));
        planned.details = changes.iter().map(|c| words(c, c.name == name)).collect();
        if step.allow_no_undo {
            planned
                .details
                .push("goes on where the earlier version cannot be saved".into());
        }
        let at = self.plan.changes.len();
        self.plan.changes.push(planned);
        self.installs |= !absent;
        self.plan.tasks.push(Task {
            change: at,
            source: part.source,
            notify: Vec::new(),
            act: Act::Package {
                wish,
                changes,
                allow_no_undo: step.allow_no_undo,
                itself,
            },
        });
        Ok(())
    }

    /// What comes along with a granted package is granted with it; what would have to go is not, and where a package
    /// comes from counts for the one that is named.
    fn judge_packages(&mut self, part: &Part<'_>, label: &str, name: &str, itself: bool, changes: &[PackageChange]) {
        let gate = self.sight.gate;
        let mut refuse = |why: String, wanted: String| {
            let needed = crate::gate::line(part.source, "packages", &format!("{wanted:?}"));
            self.plan.refused.push(Refusal {
                step: label.to_owned(),
                why,
                needed: Some(needed),
            });
        };
        for change in changes {
            let other = change.name != name;
            if other && change.after.is_none() && !gate.package_granted(part.source, &change.name, None) {
                let why = format!("the package {} would go along, and is not granted", change.name);
                refuse(why, change.name.clone());
            }
            if let Some(version) = change.after.as_ref().filter(|_| !other) {
                let origins = self.sight.packages.origins(name, version).unwrap_or_default();
                if !gate.package_granted(part.source, name, Some(&origins)) {
                    let from = origins.first().map_or("an unknown place", String::as_str);
                    let why = format!("{name} {version} would come from {from}, which is not granted");
                    let granted = if itself { as_the_agent(name) } else { name.to_owned() };
                    refuse(why, format!("{granted} from {from}"));
                }
            }
        }
    }

    fn check_way_back(&self, change: &PackageChange) -> Result<(), String> {
        let Some(before) = change.before.as_ref().filter(|_| change.before != change.after) else {
            return Ok(());
        };
        if self.sight.packages.can_save(&change.name, before) {
            return Ok(());
        }
        Err(format!(
            "{} {before}, which is installed, is in no repository any more: it could not be put back; \
             `allow_no_undo` goes on without",
            change.name
        ))
    }
}

fn words(change: &PackageChange, named: bool) -> String {
    let what = match (&change.before, &change.after) {
        (None, Some(new)) => format!("install {new}"),
        (Some(old), Some(new)) => format!("{old} → {new}"),
        (Some(old), None) => format!("remove {old}"),
        (None, None) => "remove what is left of it".into(),
    };
    if named {
        what
    } else {
        format!("along with it {}: {what}", change.name)
    }
}
