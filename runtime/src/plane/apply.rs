//! Apply: the transaction.

use jos_schemas::documents::desired_state::{Confirm, DesiredState, HealthCheck};
use jos_schemas::documents::ledger::{Decision, OutcomeKind};
use jos_schemas::documents::policy::Source;
use jos_schemas::node::Node;
use jos_trust::floors::Edition;
use jos_trust::{Digest, Standing, Verified, canonical};
use serde_json::{Value, json};

use super::{Plane, PlaneError, payload, source_of};
use crate::act::{Done, Failed, Hands};
use crate::book::{Drift, Kept};
use crate::gate::{Gate, Refusal, step_path};
use crate::health;
use crate::journal::{Phase, Trial};
use crate::ledger::Blobs;
use crate::outcome::{Outcome, Report};
use crate::plan::{Action, Plan};
use crate::store;
use crate::world::{Invocation, Ran};

/// A transaction to be done, for whatever reason.
pub(super) struct Transaction<'t> {
    pub(super) source: Source,
    pub(super) version: u64,
    pub(super) plan: &'t Plan,
    /// The state that comes into force, where one does.
    pub(super) adopts: Option<&'t Verified<DesiredState>>,
    pub(super) decision: Covered,
    /// What decides at the end, and under whose grant.
    pub(super) health: Option<(Source, &'t HealthCheck)>,
    pub(super) confirm: Option<&'t Confirm>,
    /// A failed health check takes the change back. Not for drift: what was before is nothing to go back to.
    pub(super) health_decides: bool,
    /// What waited for the first boot is done with this.
    pub(super) completes: bool,
    /// What drifted, where that is the reason.
    pub(super) drift: Option<Digest>,
    pub(super) env: Vec<(String, String)>,
}

/// The decision that a transaction acts under.
pub(super) enum Covered {
    /// To be recorded.
    New(Decision),
    /// Recorded earlier: the same drift, put right again.
    Earlier(u64),
}

impl Plane<'_> {
    /// Applies a verified state: gate, ledger, journal, acts, health, confirm; or takes everything back.
    ///
    /// Nothing is appended when the state is in force and nothing differs. A version that failed is refused by
    /// [`jos_trust`] until the signer issues a higher one, whoever asks; a refusal by the gate is no failure.
    pub fn apply(&self, state: &Verified<DesiredState>) -> Result<Outcome, PlaneError> {
        self.check_name(state)?;
        let _lock = self.lock()?;
        self.recover_under_lock()?;
        let source = source_of(state.channel());
        let version = state.version();
        // The verdict is from before the lock; the floors may have moved since.
        let floors = self.floors()?;
        let standing = floors.standing(
            state.counter(),
            Edition {
                version,
                content: state.content(),
            },
        );
        let standing = match standing {
            Ok(standing) => standing,
            Err(e) => {
                let report = Report::new(OutcomeKind::Refused).because(vec![e.to_string()]);
                return self.refused(source, Some(version), report);
            }
        };
        let ledger = self.ledger()?;
        let book = self.book(&ledger)?;
        let held = self.held(&floors, &book)?;
        let gate = self.gate();
        let wanted = self.wanted(state, &held);
        let plan = self.compare(&gate, &wanted)?;
        if !plan.is_possible() {
            return self.refused(source, Some(version), impossible(&plan));
        }
        let completes = self.live() && held.iter().any(|h| h.pending);
        if standing == Standing::InForce && plan.is_empty() && !completes {
            return Ok(self.outcome(
                &ledger,
                source,
                Some(version),
                Report::new(OutcomeKind::Unchanged),
                false,
            ));
        }
        let adopts = (standing != Standing::InForce).then_some(state);
        let spec = &state.value().spec;
        let transaction = Transaction {
            source,
            version,
            plan: &plan,
            adopts,
            decision: Covered::New(self.state_decision(source, state)?),
            health: spec.health_check.as_ref().map(|h| (source, h)),
            confirm: spec.confirm.as_ref().filter(|_| adopts.is_some()),
            health_decides: true,
            completes,
            drift: None,
            env: Vec::new(),
        };
        self.transact(&gate, &transaction, &mut Done::default())
    }

    /// The decision as the ledger keeps it: the whole signed state, so that the ledger alone rebuilds the files.
    fn state_decision(&self, source: Source, state: &Verified<DesiredState>) -> Result<Decision, PlaneError> {
        let blobs = Blobs::open(&self.data, &self.at("blobs"))?;
        let value = blobs.inline_or_put(&state.node().to_json(), &state.to_bytes())?;
        let stream = state.counter().stream;
        let signers: Vec<String> = state.signers().iter().map(ToString::to_string).collect();
        Ok(Decision {
            id: format!("{}-{}", self.setup.name, state.version()),
            source,
            kind: "state.apply".into(),
            payload: json!({
                "stream": stream, "content": state.content(), "signers": signers, "state": value,
                "root": !self.live(),
            }),
        })
    }

    pub(super) fn transact(
        &self,
        gate: &Gate<'_>,
        wanted: &Transaction<'_>,
        done: &mut Done,
    ) -> Result<Outcome, PlaneError> {
        let mut ledger = self.ledger()?;
        let journal = self.journal()?;
        if let Some(state) = wanted.adopts {
            self.data
                .write_private(&self.state_path(&state.content()), &state.to_bytes())?;
        }
        // 1. The decision is durable before anything acts.
        let decision = match &wanted.decision {
            Covered::Earlier(index) => *index,
            Covered::New(decision) => {
                let value = serde_json::to_value(decision).expect("a decision is plain data");
                ledger.append(vec![self.entry(
                    wanted.source,
                    version(wanted.version),
                    None,
                    "decision",
                    value,
                )?])?
            }
        };
        // 2. So are the floors, and whose the paths are.
        if let Some(state) = wanted.adopts {
            store::change_floors(&self.data, &mut |floors| floors.begin(state))?;
        }
        self.claim(wanted.adopts.map(Verified::value))?;
        // 3. So is the way back.
        let mut random = [0; 8];
        self.world.random.fill(&mut random);
        let trial = Trial {
            format: 0,
            tag: crate::hex::encode(&random),
            decision,
            source: wanted.source,
            version: wanted.version,
            adopts: wanted.adopts.map(|s| (s.counter().clone(), s.content())),
            completes: wanted.completes,
            drift: wanted.drift,
            undo: Vec::new(),
            services: Vec::new(),
        };
        self.disk.set_tag(&trial.tag);
        let services = self.live().then_some(self.world.services);
        let trial = match journal.begin(&self.disk, services, wanted.plan, trial.clone()) {
            Ok(trial) => trial,
            Err(why) => {
                let reason = format!("the journal could not be written, nothing was touched: {why}");
                let report = Report::new(OutcomeKind::RolledBack).because(vec![reason]);
                journal.end()?;
                return self.close(&trial, report);
            }
        };
        let hands = Hands {
            disk: &self.disk,
            journal: &journal,
            world: self.world,
            live: self.live(),
            env: &wanted.env,
        };
        // 4. Act.
        let mut report = Report::new(OutcomeKind::Applied);
        let result = hands
            .forward(wanted.plan, &trial, done)
            .and_then(|()| self.judge_result(gate, wanted, done, &mut report));
        report.changes = wanted
            .plan
            .changes
            .iter()
            .enumerate()
            .filter(|(i, _)| !done.skipped.contains(i))
            .map(|(_, c)| c.clone())
            .collect();
        report.captured = std::mem::take(&mut done.captured);
        report.notified = std::mem::take(&mut done.notified);
        if let Err(failed) = result {
            return self.revert(&hands, &trial, wanted.adopts, report, failed);
        }
        report.released.clone_from(&wanted.plan.released);
        let waits = |c: &&crate::plan::Change| c.action == Action::Pending;
        report.pending = !self.live()
            && (wanted.plan.changes.iter().any(|c| waits(&c)) || wanted.health.is_some())
            && wanted.adopts.is_some();
        if wanted.plan.is_empty() && report.reasons.is_empty() {
            report.kind = OutcomeKind::Unchanged;
        }
        // 5. Keep it. The floors are the commit point of an adoption, the phase that of everything else.
        let phase = if wanted.adopts.is_some() {
            Phase::Confirming
        } else {
            Phase::Confirmed
        };
        if let Err(e) = journal.set_phase(phase, Some(payload(&report))) {
            return self.revert(
                &hands,
                &trial,
                wanted.adopts,
                report,
                Failed::environment(e.to_string()),
            );
        }
        if let Some(state) = wanted.adopts {
            let kept = store::change_floors(&self.data, &mut |floors| floors.confirm(state));
            if let Err(e) = kept {
                let floors = self.floors()?;
                if floors
                    .in_force(state.counter())
                    .is_none_or(|f| f.content != state.content())
                {
                    return self.revert(
                        &hands,
                        &trial,
                        wanted.adopts,
                        report,
                        Failed::environment(e.to_string()),
                    );
                }
            }
        }
        self.finish(&hands, &trial, report)
    }

    /// Health, then the confirm command.
    fn judge_result(
        &self,
        gate: &Gate<'_>,
        wanted: &Transaction<'_>,
        done: &mut Done,
        report: &mut Report,
    ) -> Result<(), Failed> {
        if !self.live() {
            return Ok(());
        }
        if let Some((source, check)) = wanted.health {
            match health::check(self.world, gate, source, check) {
                Ok(good) => report.health = Some(good),
                Err(bad) => {
                    report.health = Some(format!("failed: {bad}"));
                    let why = format!("the health check failed: {bad}");
                    if wanted.health_decides {
                        return Err(Failed {
                            why,
                            environment: false,
                        });
                    }
                    report.reasons.push(why);
                }
            }
        }
        if let Some(text) = wanted.confirm.and_then(|c| c.command.as_ref()) {
            let failed = |why: String| Failed {
                why: format!("confirm.command: {why}"),
                environment: false,
            };
            let argv = gate
                .command(wanted.source, text)
                .ok_or_else(|| failed("not listed".into()))?;
            let timeout = std::time::Duration::from_secs(60);
            let ran: Ran = self
                .world
                .processes
                .run(&Invocation {
                    argv,
                    env: Vec::new(),
                    timeout,
                })
                .map_err(failed)?;
            done.captured.push(crate::act::Captured::of("confirm.command", &ran));
            if !ran.ok() {
                return Err(failed(format!("it ended with {}", ran.ending())));
            }
        }
        Ok(())
    }

    /// Takes the trial back and records that.
    fn revert(
        &self,
        hands: &Hands<'_>,
        trial: &Trial,
        adopts: Option<&Verified<DesiredState>>,
        mut report: Report,
        failed: Failed,
    ) -> Result<Outcome, PlaneError> {
        log::warn!("{}: {}; taking everything back", self.setup.name, failed.why);
        report.reasons.push(failed.why);
        report.kind = OutcomeKind::RolledBack;
        // If this cannot be written the phase stays `trying`, from which recovery goes the same way.
        let _ = hands.journal.set_phase(Phase::Reverting, Some(payload(&report)));
        if let Some(state) = adopts.filter(|_| !failed.environment)
            && let Err(e) = store::change_floors(&self.data, &mut |floors| floors.fail(state))
        {
            log::error!("{e}");
        }
        self.take_back(hands, trial, report)
    }

    /// Undo, then the outcome. The journal goes only when nothing is left to do.
    pub(super) fn take_back(
        &self,
        hands: &Hands<'_>,
        trial: &Trial,
        mut report: Report,
    ) -> Result<Outcome, PlaneError> {
        let back = hands.back(trial);
        report.reasons.extend(back.notes);
        report.left = back.left;
        if report.left.is_empty() {
            report.kind = OutcomeKind::RolledBack;
            let outcome = self.close(trial, report)?;
            hands.journal.end()?;
            return Ok(outcome);
        }
        report.kind = OutcomeKind::Broken;
        self.close(trial, report)
    }

    /// After the commit point: clean up and record. Every part may be done twice, so a crash anywhere is finished by
    /// doing all of it again.
    pub(super) fn finish(&self, hands: &Hands<'_>, trial: &Trial, report: Report) -> Result<Outcome, PlaneError> {
        hands.drop_asides(trial)?;
        let outcome = self.close(trial, report)?;
        hands.journal.end()?;
        Ok(outcome)
    }

    /// The outcome record (once for each decision and kind), the book, the owners, the stored states.
    pub(super) fn close(&self, trial: &Trial, report: Report) -> Result<Outcome, PlaneError> {
        let mut ledger = self.ledger()?;
        let (source, version) = (trial.source, version(trial.version));
        let cause = format!("#{}", trial.decision);
        let same = |r: &jos_schemas::documents::ledger::Record| r.cause.as_ref() == Some(&cause);
        let value = payload(&report);
        let known = ledger
            .last_where(&same)?
            .is_some_and(|r| r.payload.get("outcome") == value.get("outcome"));
        if !known {
            let value = self.shrink(value)?;
            ledger.append(vec![self.entry(
                source,
                version,
                Some(trial.decision),
                "outcome",
                value,
            )?])?;
        }
        let mut book = self.book(&ledger)?;
        let good = matches!(report.kind, OutcomeKind::Applied | OutcomeKind::Unchanged);
        if let (Some((counter, content)), true) = (&trial.adopts, good) {
            let (content, since, pending) = (*content, self.now()?, report.pending);
            book.streams.insert(
                counter.stream,
                Kept {
                    source,
                    version: trial.version,
                    content,
                    since,
                    pending,
                },
            );
        }
        if trial.completes {
            if good {
                book.streams.values_mut().for_each(|k| k.pending = false);
                book.first_boot = Default::default();
            } else {
                // An hour at most between two tries.
                let tries = book.first_boot.tries + 1;
                let after = 60_i64.saturating_mul(1 << tries.min(6)).min(3600);
                book.first_boot = crate::book::FirstBoot {
                    tries,
                    next: self.now()?.unix() + after,
                };
            }
        }
        if let Some(set) = trial.drift {
            match &mut book.drift {
                Some(drift) if drift.set == set && drift.decision == Some(trial.decision) => drift.repeats += 1,
                _ => {
                    let since = self.now()?;
                    book.drift = Some(Drift {
                        set,
                        decision: Some(trial.decision),
                        since,
                        repeats: 0,
                    });
                }
            }
        }
        book.last = Some(self.last(source, version, &report)?);
        book.save(&self.data, &self.at("state.json"))?;
        self.claim(None)?;
        self.forget_states()?;
        Ok(self.outcome(&ledger, source, version, report, !known))
    }

    /// The agent owns the paths of the states in force and, during a trial, of the one that is tried.
    fn claim(&self, tried: Option<&DesiredState>) -> Result<(), PlaneError> {
        let floors = self.floors()?;
        let book = self.book(&self.ledger()?)?;
        let held = self.held(&floors, &book)?;
        let states = held.iter().map(|h| h.state.value()).chain(tried);
        let paths = states
            .flat_map(|s| &s.spec.apply)
            .filter_map(step_path)
            .map(str::to_owned);
        Ok(store::own(&self.data, &self.setup.name, &mut { paths })?)
    }

    /// Stored states that are not in force go.
    fn forget_states(&self) -> Result<(), PlaneError> {
        let floors = self.floors()?;
        let kept: Vec<String> = floors
            .counters()
            .filter_map(|(_, f)| f.in_force.as_ref())
            .map(|k| format!("{}.json", k.content))
            .collect();
        for name in self.data.list(&self.at("states"))? {
            if let Some(name) = name.to_str().filter(|n| !kept.iter().any(|k| k == n)) {
                self.data.remove(&self.at(&format!("states/{name}")))?;
            }
        }
        Ok(())
    }

    /// A payload too large for a record goes to a blob whole.
    fn shrink(&self, value: Value) -> Result<Value, PlaneError> {
        const RECORD_LIMIT: usize = 64 * 1024;
        let bytes = canonical::to_bytes(&Node::from_json(&value))
            .map_err(|e| crate::ledger::LedgerError::Unwritable(e.to_string()))?;
        if bytes.len() <= RECORD_LIMIT {
            return Ok(value);
        }
        // What readers need without the blob stays beside it.
        let short = ["outcome", "kind", "id", "source", "reasons", "pending"];
        let mut kept: serde_json::Map<String, Value> = serde_json::Map::new();
        for key in short {
            if let Some(v) = value.get(key) {
                kept.insert(key.into(), v.clone());
            }
        }
        kept.insert(
            "more".into(),
            Blobs::open(&self.data, &self.at("blobs"))?.inline_or_put(&value, &bytes)?,
        );
        Ok(Value::Object(kept))
    }
}

/// A step of a flow belongs to no version.
fn version(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

/// Why a plan cannot be applied, as a report.
pub(super) fn impossible(plan: &Plan) -> Report {
    let words = |list: &[Refusal]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let kind = match (
        plan.refused.is_empty() && plan.problems.is_empty(),
        plan.unsupported.is_empty(),
    ) {
        (true, false) => OutcomeKind::Unsupported,
        _ => OutcomeKind::Refused,
    };
    let reasons = [words(&plan.refused), words(&plan.unsupported), words(&plan.problems)].concat();
    // A hundred are read by nobody, and the ledger need not keep ten thousand.
    let (all, mut reasons) = (reasons.len(), reasons);
    if all > REASONS_KEPT {
        reasons.truncate(REASONS_KEPT);
        reasons.push(format!("and {} more", all - REASONS_KEPT));
    }
    Report::new(kind).because(reasons)
}

const REASONS_KEPT: usize = 100;
