//! Which system runs, against the one that the states name.

use jos_schemas::documents::desired_state::{ImageStep, Step};

use super::{Build, Part, Wanted, bare, label};
use crate::content::Needed;
use crate::gate::Refusal;
use crate::plan::{Act, Action, Task};
use crate::world::Image;

impl Build<'_> {
    /// Whether the plan is a move to another system, and then nothing else: what else the states want is for that system to
    /// bring about, and may not even be possible in this one. A state in force moves nobody: there the difference is one of
    /// several things that drifted.
    pub(super) fn moves(&mut self, wanted: &Wanted<'_>) -> bool {
        let last = wanted.parts.iter().rev().find_map(|part| {
            let steps = part.state.spec.apply.iter().enumerate();
            let mut images = steps.filter_map(|(at, step)| match step {
                Step::Image(image) => Some((part, label(at, step), image)),
                _ => None,
            });
            images.next()
        });
        let Some((part, label, step)) = last else { return false };
        let in_force = wanted.in_force || part.source != wanted.source;
        match self.image(part, &label, step, in_force) {
            Ok(differs) => differs && !in_force,
            // Everything else is put right all the same.
            Err(why) if in_force => {
                log::warn!("{label}: {why}");
                false
            }
            Err(why) => {
                self.plan.problems.push(Refusal {
                    step: label,
                    why,
                    needed: None,
                });
                true
            }
        }
    }

    /// Whether another system runs than the step names.
    fn image(&mut self, part: &Part<'_>, label: &str, step: &ImageStep, in_force: bool) -> Result<bool, String> {
        let Some(slots) = self.sight.slots.filter(|_| self.sight.live) else {
            self.plan.unsupported.push(Refusal {
                step: label.to_owned(),
                why: "a device is moved to another system while it runs, not in a folder".into(),
                needed: None,
            });
            return Ok(true);
        };
        let running = slots.running()?;
        self.plan.running = Some(running.clone());
        let (runs, wants) = (&running.compatible, &step.compatible);
        if runs != wants {
            return Err(format!(
                "this device runs an image for {runs}, the state's is for {wants}"
            ));
        }
        if running.version == step.version {
            return Ok(false);
        }
        let needed = Needed::of(&step.source)?;
        let mut change = bare(label, part.source, Action::Image, &format!("image {wants}"));
        change.details = vec![format!("{} → {}", running.version, step.version)];
        if !in_force {
            let from = self.where_from(label, &needed);
            change.details.push(format!("{} bytes {from}", needed.size));
            change
                .details
                .push("the machine starts anew, and the rest follows there".into());
        }
        let to = Image {
            compatible: step.compatible.clone(),
            version: step.version.clone(),
        };
        self.plan.tasks.push(Task {
            change: self.plan.changes.len(),
            source: part.source,
            notify: Vec::new(),
            act: Act::Image { needed, to },
        });
        self.plan.changes.push(change);
        Ok(true)
    }
}
