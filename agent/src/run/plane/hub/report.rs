//! What is told to the hub of an outcome: kept on disk until it is acknowledged.

use jos_runtime::Outcome;
use jos_schemas::documents::hub::{LedgerHead, ReportKind, StateReport};
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_schemas::own;
use jos_schemas::text::Utc;

use super::Agent;
use crate::run::spool::Spool;

/// Characters of a report's reason, at most.
const REASON: usize = 400;

impl Agent<'_> {
    pub(in crate::run::plane) fn spool(&self) -> Spool {
        Spool::new(&self.settings.state_dir, self.settings.name.as_str())
    }

    /// What came of a state of the hub's is told to it, however long that takes.
    pub(in crate::run::plane) fn report(&mut self, outcome: &Outcome) {
        let Some(version) = outcome.version.filter(|v| *v > 0 && outcome.recorded) else {
            return;
        };
        let Some(ledger) = head(outcome.record.as_ref().unwrap_or(&outcome.ledger)) else {
            return;
        };
        let reasons = outcome.reasons.iter().chain(&outcome.left).cloned().collect::<Vec<_>>();
        let changed = u32::try_from(outcome.changes.len()).unwrap_or(u32::MAX);
        self.keep_report(version, outcome.kind, &reasons, changed, ledger);
    }

    /// The last outcome, where a crash came between it and its report.
    pub(super) fn report_last(&mut self) {
        let Ok(status) = self.plane.status() else { return };
        let Some(last) = status.last.filter(|l| l.source == Source::Hub) else {
            return;
        };
        // A program of before did not note which record it was.
        let record = last.record.as_ref();
        let (Some(version), Some(ledger)) = (last.version.filter(|v| *v > 0), head(record.unwrap_or(&status.ledger)))
        else {
            return;
        };
        let noted = record.and(Some(&ledger));
        if !self.spool().said(&said(version, last.outcome, noted)) {
            self.keep_report(version, last.outcome, &last.reasons, 0, ledger);
        }
    }

    fn keep_report(
        &mut self,
        version: u64,
        outcome: OutcomeKind,
        reasons: &[String],
        changed: u32,
        ledger: LedgerHead,
    ) {
        let reason: String = reasons
            .join("; ")
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(REASON)
            .collect();
        let report = StateReport {
            schema: None,
            kind: ReportKind::default(),
            name: self.settings.name.clone(),
            version,
            outcome,
            time: self
                .plane
                .now()
                .unwrap_or_else(|_| Utc::from_unix(self.world.clock.now())),
            reason: Some(reason).filter(|r| !r.is_empty()),
            changed,
            ledger,
        };
        let kept = own::write(&report)
            .map_err(|e| e.to_string())
            .and_then(|bytes| self.spool().push(&bytes, &said(version, outcome, Some(&report.ledger))));
        match kept {
            Ok(()) => {
                if let Some(host) = &mut self.host {
                    host.turn.has_reports();
                }
            }
            Err(why) => self.trouble(format!("a report is not kept: {why}")),
        }
    }
}

/// What a report reports, for the spool. The same version may come to the same outcome twice: the record tells them apart.
fn said(version: u64, outcome: OutcomeKind, record: Option<&LedgerHead>) -> String {
    let word = jos_runtime::outcome_word(outcome);
    match record {
        Some(LedgerHead { index, hash }) => format!("{version} {word} #{index} {hash}"),
        None => format!("{version} {word}"),
    }
}

/// As the hub anchors it: the index of the last record, where there is one.
pub(super) fn head(ledger: &jos_runtime::ledger::LedgerHead) -> Option<LedgerHead> {
    let index = ledger.count.checked_sub(1)?;
    Some(LedgerHead {
        index,
        hash: ledger.hash.clone(),
    })
}
