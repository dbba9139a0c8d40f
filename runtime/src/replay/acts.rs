//! Services, commands, health: what only the world could know is taken from the record; what follows from it is not.
//!
//! Which commands must have run follows from the states, from whether this was the first time for a version, and from how
//! `unless` ended. Which services were notified follows from the changes. That a good outcome had a good health check and
//! no command that failed follows from the word.

use jos_schemas::documents::desired_state::{PackageState, PackageStep, ServiceAction, ServiceStep, ShellStep, Step};
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::DriftPolicy;

use super::Divergence;
use super::check::Case;
use super::line::{CapturedLine, ReportLine};
use super::machine::Why;
use crate::compare::{Part, lists};
use crate::gate::{label, step_path};
use crate::plan::Action;

impl Case<'_> {
    /// Everything of a good outcome but the paths.
    pub(super) fn acts(&self, report: &ReportLine<'_>) -> Result<(), Divergence> {
        if self.blind || !matches!(report.outcome, OutcomeKind::Applied | OutcomeKind::Unchanged) {
            return Ok(());
        }
        if let Some(change) = report.changes.iter().find(|c| c.action == Action::Image) {
            return Err(self.diverges(
                &change.what,
                "a move by a decision of its own",
                "one among other changes",
            ));
        }
        for (at, part) in self.parts.iter().enumerate() {
            let over = &self.parts[at + 1..];
            for (index, step) in part.state.spec.apply.iter().enumerate() {
                if over.iter().any(|later| lists(later.state, step)) {
                    continue;
                }
                match step {
                    Step::Service(service) => self.service(part, &label(index, step), service, report)?,
                    Step::Shell(shell) => self.shell(part, &label(index, step), shell, report)?,
                    Step::Package(package) => self.package(part, &label(index, step), package, report)?,
                    _ => {}
                }
            }
        }
        self.judged(report)?;
        self.notified(report)
    }

    fn service(
        &self,
        part: &Part<'_>,
        label: &str,
        step: &ServiceStep,
        report: &ReportLine<'_>,
    ) -> Result<(), Divergence> {
        let name = step.name.as_str();
        let ours = |c: &&super::line::ChangeLine<'_>| {
            c.step == label && c.source == part.source && c.action == Action::Service
        };
        let told: Vec<&str> = report
            .changes
            .iter()
            .filter(ours)
            .flat_map(|c| &c.details)
            .map(AsRef::as_ref)
            .collect();
        if let Some(other) = report.changes.iter().filter(ours).find(|c| c.what != name) {
            return Err(self.diverges(label, format!("the service {name}"), &other.what));
        }
        let may: &[&str] = match step.action {
            _ if !self.live => &[],
            ServiceAction::Start => &["service start"],
            ServiceAction::Stop => &["service stop"],
            ServiceAction::Restart if part.run_once => &["service restart"],
            ServiceAction::Reload if part.run_once => &["service reload"],
            ServiceAction::Restart | ServiceAction::Reload => &[],
            ServiceAction::Enable => &["service enable", "service start"],
            ServiceAction::Disable => &["service stop", "service disable"],
        };
        let must = matches!(step.action, ServiceAction::Restart | ServiceAction::Reload);
        if must && told != may || told.iter().any(|t| !may.contains(t)) || told.len() > may.len() {
            return Err(self.diverges(label, format!("{may:?} as the step says"), format!("{told:?}")));
        }
        Ok(())
    }

    fn shell(&self, part: &Part<'_>, label: &str, step: &ShellStep, report: &ReportLine<'_>) -> Result<(), Divergence> {
        let captured = |name: &str| report.captured.iter().find(|c| c.step == name);
        let good = |c: &CapturedLine<'_>| c.code == Some(0);
        let changed = report
            .changes
            .iter()
            .any(|c| c.step == label && c.source == part.source && c.action == Action::Run);
        let asked = captured(&format!("{label}: unless"));
        let ran = captured(label);
        let only_reported = self.why == Why::Converge
            && self
                .gate
                .and_then(|g| g.facts.policy.grants.get(&part.source))
                .is_some_and(|g| g.drift == DriftPolicy::Report);
        let due = self.live && (part.run_once || step.unless.is_some()) && !only_reported;
        let skipped = asked.is_some_and(good);
        let expected = match (due, step.unless.is_some()) {
            (false, _) => "no run: it is not due",
            (true, true) if asked.is_none() => "a run of its `unless`",
            (true, true) if skipped => "no run: its `unless` succeeded",
            (true, _) => "a run with exit code 0",
        };
        let fits = match (due, step.unless.is_some()) {
            (false, _) => !changed && ran.is_none() && asked.is_none(),
            (true, true) if asked.is_none() => false,
            (true, true) if skipped => !changed && ran.is_none(),
            (true, _) => changed && ran.is_some_and(good),
        };
        if fits {
            return Ok(());
        }
        let found = match ran {
            Some(ran) => format!("one with exit code {:?}", ran.code),
            None => "none".into(),
        };
        Err(self.diverges(label, expected, found))
    }

    /// A package that was changed is what the step wants, by the word of its manager; one that was not, nobody ran.
    fn package(
        &self,
        part: &Part<'_>,
        label: &str,
        step: &PackageStep,
        report: &ReportLine<'_>,
    ) -> Result<(), Divergence> {
        let ours = |c: &&super::line::ChangeLine<'_>| c.step == label && c.source == part.source;
        let change = report.changes.iter().find(ours).filter(|c| c.action == Action::Run);
        let ran = report.captured.iter().find(|c| c.step == label);
        let found = match (change, ran) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(self.diverges(label, "no run: nothing was to be changed", "one")),
            (Some(_), Some(ran)) if ran.code == Some(0) => &ran.package,
            (Some(_), ran) => {
                let found = ran.map_or("none".to_owned(), |r| format!("one with exit code {:?}", r.code));
                return Err(self.diverges(label, "a run with exit code 0", found));
            }
        };
        let after = match found {
            Some(package) => package.after.as_deref(),
            None => return Ok(()),
        };
        let (expected, good) = match (&step.version, step.state == PackageState::Absent) {
            (_, true) => ("no version".to_owned(), after.is_none()),
            (Some(version), _) => (format!("version {version}"), after == Some(version.as_str())),
            (None, _) => ("some version".to_owned(), after.is_some()),
        };
        if good {
            return Ok(());
        }
        let found = after.map_or("none".to_owned(), |v| format!("version {v}"));
        Err(self.diverges(label, format!("{expected} installed"), found))
    }

    /// A state that was kept passed its health check and its confirm command.
    fn judged(&self, report: &ReportLine<'_>) -> Result<(), Divergence> {
        let Some(own) = self.own.filter(|_| self.live) else {
            return Ok(());
        };
        if own.spec.health_check.is_some() {
            let decides = self.why != Why::Converge;
            match report.health.as_deref() {
                Some(said) if decides && said.starts_with("failed") => {
                    return Err(self.diverges("spec.health_check", "a good health check", said));
                }
                None => return Err(self.diverges("spec.health_check", "what the health check said", "nothing")),
                Some(_) => {}
            }
        }
        let confirm = own.spec.confirm.as_ref().and_then(|c| c.command.as_ref());
        if confirm.is_some() && self.adopts {
            let ran = report.captured.iter().find(|c| c.step == "confirm.command");
            if ran.is_none_or(|r| r.code != Some(0)) {
                let found = ran.map_or("none".to_owned(), |r| format!("exit code {:?}", r.code));
                return Err(self.diverges("spec.confirm.command", "exit code 0", found));
            }
        }
        Ok(())
    }

    /// Services restart once, after all files, when a file of theirs changed and no step says otherwise.
    fn notified(&self, report: &ReportLine<'_>) -> Result<(), Divergence> {
        let mut told: Vec<&str> = Vec::new();
        for part in self.parts {
            for step in &part.state.spec.apply {
                if let Step::Service(s) = step
                    && matches!(s.action, ServiceAction::Stop | ServiceAction::Disable)
                {
                    told.push(s.name.as_str());
                }
            }
        }
        let acts = report.changes.iter().filter(|c| c.action == Action::Service);
        let says = |c: &&super::line::ChangeLine<'_>| {
            !c.details
                .iter()
                .any(|d| d == "service enable" || d == "service disable")
        };
        told.extend(acts.filter(says).map(|c| c.what.as_ref()));
        let mut expected: Vec<&str> = Vec::new();
        for change in &report.changes {
            if !self.live || !matches!(change.action, Action::Create | Action::Update | Action::Remove) {
                continue;
            }
            let by_parts = self.shared.notify.get(change.what.as_ref());
            let by_parts: Vec<&str> = by_parts.into_iter().flatten().map(String::as_str).collect();
            let listed = self
                .step(change)
                .map(|(_, step)| notifies(step, &change.what))
                .unwrap_or_default();
            for service in listed.into_iter().chain(by_parts) {
                if !expected.contains(&service) && !told.contains(&service) {
                    expected.push(service);
                }
            }
        }
        if expected.iter().copied().eq(report.notified.iter().map(AsRef::as_ref)) {
            return Ok(());
        }
        Err(self.diverges(
            "notified",
            format!("{expected:?}, by the files that changed"),
            format!("{:?}", report.notified),
        ))
    }
}

/// The services that a change of `path` by `step` notifies.
fn notifies<'s>(step: &'s Step, path: &str) -> Vec<&'s str> {
    let list = match step {
        Step::File(s) => &s.notify,
        Step::Directory(s) => &s.notify,
        Step::Link(s) => &s.notify,
        Step::Absent(s) => &s.notify,
        _ => return Vec::new(),
    };
    // A directory made above a listed path notifies nobody; what is purged below one does.
    let own = step_path(step).is_some_and(|own| own == path || super::check::below(own, path));
    if own {
        list.iter().map(AsRef::as_ref).collect()
    } else {
        Vec::new()
    }
}
