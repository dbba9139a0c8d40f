//! What is said of a turn: the outcome for whoever asked, the last one in the book, refusals in the ledger.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;

use super::record::payload;
use super::{Plane, PlaneError};
use crate::book::Last;
use crate::gate::Refusal;
use crate::ledger::{Ledger, LedgerHead};
use crate::outcome::{Outcome, Report, outcome_word};
use crate::plan::Plan;

/// A hundred reasons are read by nobody, and the ledger need not keep ten thousand.
const REASONS_KEPT: usize = 100;

impl Plane<'_> {
    /// Records that a document was refused before it became a state, once for each reason in a row.
    pub fn refuse(&self, source: Source, version: Option<u64>, reason: &str) -> Result<Outcome, PlaneError> {
        let _lock = self.lock()?;
        // A decision that a crash left without its outcome gets one before anything else is recorded.
        self.recover_under_lock()?;
        self.refused(
            source,
            version,
            Report::new(OutcomeKind::Refused).because(vec![reason.to_owned()]),
        )
    }

    /// Appends a `refused` record, unless the last record says the same.
    pub(super) fn refused(&self, source: Source, version: Option<u64>, report: Report) -> Result<Outcome, PlaneError> {
        let mut ledger = self.open_ledger()?;
        let payload = payload(&report);
        let last = ledger.last()?;
        let repeated = last
            .is_some_and(|r| r.kind == "refused" && r.source == source && r.version == version && r.payload == payload);
        if !repeated {
            let entry = self.entry(source, version, None, "refused", payload)?;
            ledger.append(vec![entry])?;
            let record = Some(ledger.head());
            self.note_last(&ledger, source, version, &report)?;
            self.after_turn(&mut ledger)?;
            let outcome = self.outcome(&ledger, source, version, report, true);
            return Ok(Outcome { record, ..outcome });
        }
        Ok(self.outcome(&ledger, source, version, report, false))
    }

    pub(super) fn outcome(
        &self,
        ledger: &Ledger<'_>,
        source: Source,
        version: Option<u64>,
        report: Report,
        recorded: bool,
    ) -> Outcome {
        // A quiet turn of the daemon is no news.
        let level = if report.kind == OutcomeKind::Unchanged {
            log::Level::Debug
        } else {
            log::Level::Info
        };
        let version_text = version
            .filter(|v| *v > 0)
            .map(|v| format!(" version {v}"))
            .unwrap_or_default();
        log::log!(
            level,
            "{}{version_text}: {}",
            self.setup.name,
            outcome_word(report.kind)
        );
        Outcome {
            name: self.setup.name.clone(),
            version,
            source,
            report,
            recorded,
            ledger: ledger.head(),
            record: None,
        }
    }

    /// Notes the outcome whose record was appended to the ledger just now.
    pub(super) fn note_last(
        &self,
        ledger: &Ledger<'_>,
        source: Source,
        version: Option<u64>,
        report: &Report,
    ) -> Result<(), PlaneError> {
        let mut book = self.book(ledger)?;
        book.last = Some(self.last(source, version, report, Some(ledger.head()))?);
        Ok(book.save(&self.data, &self.at("state.json"))?)
    }

    pub(super) fn last(
        &self,
        source: Source,
        version: Option<u64>,
        report: &Report,
        record: Option<LedgerHead>,
    ) -> Result<Last, PlaneError> {
        let reasons = report.reasons.iter().chain(&report.left).cloned().collect();
        Ok(Last {
            outcome: report.kind,
            version,
            source,
            time: self.now()?,
            record,
            reasons,
        })
    }
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
    let (all, mut reasons) = (reasons.len(), reasons);
    if all > REASONS_KEPT {
        reasons.truncate(REASONS_KEPT);
        reasons.push(format!("and {} more", all - REASONS_KEPT));
    }
    Report::new(kind).because(reasons)
}
