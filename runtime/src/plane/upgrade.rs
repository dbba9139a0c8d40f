//! The agent's own upgrade: the one change that this program cannot see to its end, because it is what changes.
//!
//! ```text
//! this program      decision ► floors ► journal (with the earlier package) ► every other step ► phase `upgrading` ► waits
//!                                                                                                     │
//! the guardian      a copy of this program, outside of the agent's services:  package manager ► is the agent up? ► asks
//!                                                                                                     │            │
//! the new program   `Plane::finish_upgrade`: reads this journal, health check, whoever confirms ► kept, outcome    ▼
//!                   anything else: the guardian takes everything back, the earlier package first          its answer
//! ```
//! Who has the trial is who holds `guardian.lock`; nobody else acts meanwhile, and an agent that starts then (the package
//! restarts it, and waits for it to be ready) says that it is, and waits too. A guardian that dies is started again by
//! whoever looks next: the agent, `jos agent recover`, or, after a power cut, the init system, even where the program that
//! is installed by then does not run at all. It does not go forward a second time: it takes back.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jos_schemas::documents::ledger::{OutcomeKind, Record};
use jos_schemas::documents::policy::Policy;
use jos_schemas::own;
use jos_schemas::text::{Name, Utc};
use jos_trust::floors::InForce;
use serde::{Deserialize, Serialize};

use super::confirm::Verdict;
use super::record::{payload, version};
use super::transact::Transaction;
use super::{Plane, PlaneError, Setup};
use crate::act::{Captured, Done, Failed, Hands};
use crate::disk::DiskError;
use crate::journal::{Journal, Own, Phase, Trial, Undo};
use crate::outcome::{Outcome, Report};
use crate::plan::Act;
use crate::store;
use crate::world::{Guardian, Ran};

/// Between two looks at a guardian at work.
const LOOK: Duration = Duration::from_secs(1);
/// A guardian that is to be started by the init system is there after so many looks, or will not come.
const LOOKS: u32 = 10;
/// Between two tries for the lock, and how many there are.
const TRY: Duration = Duration::from_millis(50);
const TRIES: u32 = 20;
/// So often one is started again.
const STARTS: u32 = 3;
/// For the new program: its health check and its confirm command; what the hub may take comes on top.
const FINISH: Duration = Duration::from_secs(900);

/// What the guardian is built from, in `guard.json`: the files that it came from may be the new package's by then.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: Name,
    state_dir: PathBuf,
    secrets: PathBuf,
    policy: Policy,
    protected: Vec<String>,
    own_services: Vec<String>,
}

/// The setup of the plane whose journal lies in `folder`, as the program that began an upgrade left it there.
pub fn setup_of(folder: &Path, built: Utc) -> Result<Setup, String> {
    let file = folder.join("guard.json");
    let failed = |e: String| format!("{}: {e}", file.display());
    let bytes = std::fs::read(&file).map_err(|e| failed(e.to_string()))?;
    let given: Given = own::read(&bytes).map_err(failed)?;
    Ok(Setup {
        name: given.name,
        root: "/".into(),
        state_dir: given.state_dir,
        secrets: given.secrets,
        policy: given.policy,
        protected: given.protected,
        own_services: given.own_services,
        built,
        wait: Duration::ZERO,
        node: None,
    })
}

impl Plane<'_> {
    /// What the trial has to know where the agent's own package changes.
    pub(super) fn own_upgrade(&self, wanted: &Transaction<'_>) -> Result<Option<Own>, PlaneError> {
        let itself = |(number, task): (usize, &crate::plan::Task)| match &task.act {
            Act::Package { wish, itself: true, .. } => Some((number, task.change, wish.clone())),
            _ => None,
        };
        let Some((number, change, wish)) = wanted.plan.tasks.iter().enumerate().find_map(itself) else {
            return Ok(None);
        };
        let runs = |s: &&String| self.world.services.state(s).is_ok_and(|state| state.active);
        let verdict = &wanted.verdict;
        Ok(Some(Own {
            number,
            step: wanted.plan.changes[change].step.clone(),
            wish,
            services: self.setup.own_services.iter().filter(runs).cloned().collect(),
            keeps: wanted.adopts.map(|state| InForce {
                version: state.version(),
                content: state.content(),
                signers: state.signers().to_vec(),
                dev: state.signed_by_dev_key(),
            }),
            health: verdict.health.map(|(source, check)| (source, check.clone())),
            confirm: verdict.confirm.cloned(),
            health_decides: verdict.health_decides,
        }))
    }

    /// All but the agent's own package is done: the trial goes to the guardian. This program may be ended while it waits.
    pub(super) fn hand_over(&self, hands: &Hands<'_>, trial: &Trial, report: Report) -> Result<Outcome, PlaneError> {
        let result = self.world.packages.download(&trial.own()?.wish).and_then(|()| {
            let folder = hands.journal.folder()?;
            let guardian = self.guardian().map_err(|e| e.to_string())?;
            guardian.prepare(&folder)?;
            let text = |e: DiskError| e.to_string();
            let given = Given {
                name: self.setup.name.clone(),
                state_dir: folder_of(&self.setup.state_dir)?,
                secrets: self.setup.secrets.clone(),
                policy: self.setup.policy.clone(),
                protected: self.setup.protected.clone(),
                own_services: self.setup.own_services.clone(),
            };
            let bytes = own::write(&given).map_err(|e| e.to_string())?;
            self.data
                .write_private(&self.at("journal/guard.json"), &bytes)
                .map_err(text)?;
            hands
                .journal
                .set_phase(Phase::Upgrading, payload(&report), None)
                .map_err(text)?;
            guardian.start(&folder, Some(&trial.tag))
        });
        if let Err(why) = result {
            let step = &trial.own()?.step;
            return self.revert(hands, trial, report, Failed::device(format!("{step}: {why}")));
        }
        self.follow(trial)
    }

    /// Waits for the end of an upgrade of the agent's own package, and sees to it that there is a guardian. `None` where
    /// no such change is under way.
    pub fn follow_upgrade(&self) -> Result<Option<Outcome>, PlaneError> {
        let trial = self.journal()?.trial()?.filter(|trial| trial.own.is_some());
        trial.map(|trial| self.follow(&trial)).transpose()
    }

    fn follow(&self, trial: &Trial) -> Result<Outcome, PlaneError> {
        let (journal, guardian) = (self.journal()?, self.guardian()?);
        let (mut idle, mut starts) = (0, 0);
        while journal.trial()?.is_some_and(|now| now.tag == trial.tag) {
            self.world.clock.pause(LOOK);
            idle = if self.guardian_lives()? { 0 } else { idle + 1 };
            if idle <= LOOKS {
                continue;
            }
            let broken = |outcome: &Outcome| !outcome.left.is_empty();
            if let Some(outcome) = self.outcome_of(trial).ok().filter(|o| starts > 0 && broken(o)) {
                return Ok(outcome);
            }
            if starts == STARTS {
                let left = format!("{}: its guardian does not bring it to an end", trial.own()?.step);
                return Err(PlaneError::Unfinished { left: vec![left] });
            }
            (idle, starts) = (0, starts + 1);
            log::warn!(
                "{}: the guardian of the upgrade is gone; it is started again",
                self.setup.name
            );
            if let Err(why) = journal.folder().and_then(|folder| guardian.start(&folder, None)) {
                log::error!("{}: {why}", self.setup.name);
            }
        }
        self.outcome_of(trial)
    }

    /// What the ledger says of the trial.
    fn outcome_of(&self, trial: &Trial) -> Result<Outcome, PlaneError> {
        let ledger = self.look_at_ledger()?;
        let cause = format!("#{}", self.cause_of(&ledger, trial)?);
        let ours = |r: &Record| r.kind == "outcome" && r.cause.as_ref() == Some(&cause);
        let (found, record) = ledger.last_placed(&ours)?.unzip();
        let report = found.and_then(|r: Record| {
            let kind = || serde_json::from_value::<OutcomeKind>(r.payload["outcome"].clone()).ok();
            own::read_value::<Report>(&r.payload)
                .ok()
                .or_else(|| kind().map(Report::new))
        });
        let report =
            report.unwrap_or_else(|| Report::new(OutcomeKind::Broken).because(vec!["no outcome was recorded".into()]));
        let outcome = self.outcome(&ledger, trial.source, version(trial.version), report, true);
        Ok(Outcome { record, ..outcome })
    }

    /// The guardian's whole life: with `forward` it goes on with the trial of that tag, else it takes back what it finds.
    /// `None` where there is nothing for it to do, or another one is at it.
    pub fn guard_upgrade(&self, forward: Option<&str>) -> Result<Option<Outcome>, PlaneError> {
        let Some(_lock) = self.become_guardian()? else {
            return Ok(None);
        };
        // Held by whoever asked for the upgrade, and is waiting; where he is gone nobody else may act either.
        let _apply = self.lock().ok();
        let journal = self.journal()?;
        let Some(trial) = journal.trial()?.filter(|trial| trial.own.is_some()) else {
            return Ok(None);
        };
        if forward.is_some_and(|tag| tag != trial.tag) {
            return Ok(None);
        }
        let guardian = self.guardian()?;
        self.disk.set_tag(&trial.tag);
        let hands = self.hands(&journal, &[]);
        let progress = journal.phase()?;
        let report = progress
            .outcome
            .as_ref()
            .and_then(|v| own::read_value::<Report>(v).ok());
        let fresh = progress.phase == Phase::Upgrading && !self.is_begun(&journal, &trial)?;
        let outcome = match report.filter(|_| fresh && forward.is_some()) {
            Some(report) => self.replace(guardian, &hands, &trial, report)?,
            None => self.settle(&hands, &trial, progress)?,
        };
        // What is left of it after a crash here starts nothing: the init system looks for the trial first.
        if let Err(why) = guardian.leave(self.setup.name.as_str()) {
            log::warn!("{}: {why}", self.setup.name);
        }
        Ok(Some(outcome))
    }

    /// Forward: the package manager, the agent's services, the new program.
    fn replace(
        &self,
        guardian: &dyn Guardian,
        hands: &Hands<'_>,
        trial: &Trial,
        mut report: Report,
    ) -> Result<Outcome, PlaneError> {
        let own = trial.own()?;
        let failed = |why: String| Failed::state(format!("{}: {why}", own.step));
        let folder = hands.journal.folder();
        let begun = folder.as_ref().map_err(Clone::clone).and_then(|folder| {
            guardian.stay(self.setup.name.as_str(), folder)?;
            self.world.services.refresh()?;
            let line = format!("package {}", own.number);
            hands.journal.progress(&line).map_err(|e| e.to_string())
        });
        if let Err(why) = begun {
            return self.revert(hands, trial, report, Failed::device(format!("{}: {why}", own.step)));
        }
        let packages = self.world.packages;
        let ran = match packages.act(&own.wish) {
            Ok(ran) => ran,
            Err(why) => return self.revert(hands, trial, report, failed(why)),
        };
        let changes = trial.undo.iter().find_map(|undo| match undo {
            Undo::Package { number, changes } if *number == own.number => Some(changes.as_slice()),
            _ => None,
        });
        let captured = Captured::of_package(&own.step, &ran, packages, &own.wish.name, changes.unwrap_or_default());
        report.captured.push(captured);
        if !ran.ok() {
            let why = format!("{} ended with {}", packages.manager(), ran.ending());
            return self.revert(hands, trial, report, failed(why));
        }
        if let Err(e) = hands.journal.set_phase(Phase::Upgrading, payload(&report), None) {
            return self.revert(hands, trial, report, Failed::device(e.to_string()));
        }
        if let Err(why) = own.services.iter().try_for_each(|s| guardian.up(s)) {
            let why = format!("the new agent does not come up: {why}");
            return self.revert(hands, trial, report, failed(why));
        }
        let hub = own.confirm.as_ref().and_then(|c| c.hub_within).map_or(0, u64::from);
        let ran = guardian.finish(&folder.unwrap_or_default(), FINISH + Duration::from_secs(hub));
        self.answered(hands, trial, report, ran)
    }

    /// What the new program left of the trial.
    fn answered(
        &self,
        hands: &Hands<'_>,
        trial: &Trial,
        report: Report,
        ran: Result<Ran, String>,
    ) -> Result<Outcome, PlaneError> {
        if hands.journal.trial()?.is_none_or(|now| now.tag != trial.tag) {
            return self.outcome_of(trial);
        }
        let progress = hands.journal.phase()?;
        if progress.phase == Phase::Reverting || self.is_kept(trial, progress.phase)? {
            return self.settle(hands, trial, progress);
        }
        let (ending, killed) = match &ran {
            Ok(ran) => {
                // Killed by somebody, it says nothing of itself; ended by itself, it cannot be what is wanted.
                let killed = ran.signal.is_some_and(|signal| signal == 9 || signal == 15) && !ran.timed_out;
                let said = String::from_utf8_lossy(&ran.output);
                let said = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("nothing");
                (format!("{}; it said: {said}", ran.ending()), killed)
            }
            Err(why) => (why.clone(), false),
        };
        let why = format!("the new program did not finish the change: {ending}");
        let failed = if killed {
            Failed::device(why)
        } else {
            Failed::state(why)
        };
        self.revert(hands, trial, report, failed)
    }

    /// The new program's part, called by the guardian: what decides, decides now. False where it decided against; the
    /// guardian then takes everything back.
    pub fn finish_upgrade(&self) -> Result<bool, PlaneError> {
        let journal = self.journal()?;
        let (trial, progress) = (journal.trial()?, journal.phase()?);
        let report = progress
            .outcome
            .as_ref()
            .and_then(|v| own::read_value::<Report>(v).ok());
        let ours = progress.phase == Phase::Upgrading && self.guardian_lives()?;
        let (Some(trial), Some(mut report), true) = (trial.filter(|t| t.own.is_some()), report, ours) else {
            let left = "there is no upgrade whose guardian waits for this program".to_owned();
            return Err(PlaneError::Unfinished { left: vec![left] });
        };
        let own = trial.own()?;
        self.disk.set_tag(&trial.tag);
        let hands = self.hands(&journal, &[]);
        let verdict = Verdict {
            source: trial.source,
            health: own.health.as_ref().map(|(source, check)| (*source, check)),
            confirm: own.confirm.as_ref(),
            health_decides: own.health_decides,
        };
        let mut done = Done::default();
        let judged = self.judge(&self.gate(), &verdict, &hands, &mut done, &mut report);
        report.captured.append(&mut done.captured);
        let against = |mut report: Report, failed: Failed| -> Result<bool, PlaneError> {
            report.reasons.push(failed.why);
            journal.set_phase(Phase::Reverting, payload(&report), Some(failed.cause))?;
            Ok(false)
        };
        if let Err(failed) = judged {
            return against(report, failed);
        }
        journal.set_phase(Phase::Confirmed, payload(&report), None)?;
        if let (Some((counter, _)), Some(keeps)) = (&trial.adopts, &own.keeps) {
            let mut known = false;
            store::change_floors(&self.data, &mut |floors| {
                known = floors.confirm_edition(counter, keeps.clone())
            })?;
            if !known {
                return against(report, Failed::device("the floors know nothing of this trial".into()));
            }
        }
        self.finish(&hands, &trial, report)?;
        Ok(true)
    }

    /// An error while a guardian is at work.
    pub(super) fn not_upgrading(&self) -> Result<(), PlaneError> {
        let upgrades = self.journal()?.trial()?.is_some_and(|trial| trial.own.is_some());
        if upgrades && self.guardian_lives()? {
            return Err(self.upgrading());
        }
        Ok(())
    }

    /// A trial whose package was begun, or that was handed over, ends in a guardian's hands alone: taking it back ends
    /// the agent that would do it. Whatever else was interrupted is taken back here, as always.
    pub(super) fn leave_to_guardian(
        &self,
        journal: &Journal<'_>,
        trial: &Trial,
        phase: Phase,
    ) -> Result<(), PlaneError> {
        if trial.own.is_none() {
            return Ok(());
        }
        self.not_upgrading()?;
        // It may have ended while we looked.
        if journal.trial()?.is_none_or(|now| now.tag != trial.tag) {
            return Err(self.upgrading());
        }
        if self.is_kept(trial, phase)? || phase != Phase::Upgrading && !self.is_begun(journal, trial)? {
            return Ok(());
        }
        if let Err(why) = journal
            .folder()
            .and_then(|folder| self.guardian().map_err(|e| e.to_string())?.start(&folder, None))
        {
            return Err(PlaneError::Unfinished { left: vec![why] });
        }
        Err(self.upgrading())
    }

    fn is_begun(&self, journal: &Journal<'_>, trial: &Trial) -> Result<bool, PlaneError> {
        let line = format!("package {}", trial.own()?.number);
        Ok(journal.progressed()?.contains(&line))
    }

    fn upgrading(&self) -> PlaneError {
        PlaneError::Upgrading {
            name: self.setup.name.clone(),
        }
    }

    fn guardian(&self) -> Result<&dyn Guardian, PlaneError> {
        self.world.guardian.ok_or_else(|| PlaneError::Unfinished {
            left: vec!["the upgrade of the agent's own package: nothing here outlives this program".into()],
        })
    }

    /// Whether a guardian has the trial.
    pub(super) fn guardian_lives(&self) -> Result<bool, PlaneError> {
        Ok(self.guardian_lock()?.is_none())
    }

    /// A look at the lock holds it for an instant: a guardian tries more than once.
    fn become_guardian(&self) -> Result<Option<File>, PlaneError> {
        for _ in 0..TRIES {
            if let Some(lock) = self.guardian_lock()? {
                return Ok(Some(lock));
            }
            self.world.clock.pause(TRY);
        }
        Ok(None)
    }

    fn guardian_lock(&self) -> Result<Option<File>, PlaneError> {
        let path = self.at("guardian.lock");
        let file = self.data.lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(DiskError::io(self.data.show(&path), "lock it", e).into()),
        }
    }
}

impl Trial {
    fn own(&self) -> Result<&Own, PlaneError> {
        self.own.as_ref().ok_or_else(|| PlaneError::Unfinished {
            left: vec!["the journal says nothing of the agent's own package".into()],
        })
    }
}

fn folder_of(path: &Path) -> Result<PathBuf, String> {
    std::fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()))
}
