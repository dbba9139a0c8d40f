//! Decisions that were taken over from another runtime's log: its own chain is verified again, and what follows from each.

use jos_runtime::ledger::Line;
use jos_schemas::documents::policy::Source;
use jos_schemas::documents::runtime::MachineState;

use super::{Pass, Wrong, same, source};
use crate::import;
use crate::records::Read;

impl Pass<'_> {
    pub(super) fn imported(&mut self, line: &Line<'_>, read: &Read) -> Wrong {
        source(line, Source::Operator)?;
        let text = read.act["line"].as_str().ok_or("this record has no line")?;
        let taken = self.logs.take(&read.log, text)?;
        self.report.imported += 1;
        self.report.decisions += 1;
        *self.report.agents.entry(taken.agent.clone()).or_default() += 1;
        let draft = import::draft(&read.log, &taken, text);
        let (id, kind) = (&taken.decision.id, taken.decision.kind.as_str());
        let came = import::came(&taken.decision);
        match (&came.reason, kind) {
            (Some(why), _) => self.fails("failed", line, read, Some(id), why),
            (None, "advance") => {
                let state = super::after(MachineState::Pending, &taken.decision, &came);
                self.report.final_state = Some(state);
                if state == MachineState::Failed {
                    self.fails("verdict", line, read, Some(id), &super::note(&came));
                }
            }
            (None, "fs.write") => self.wrote(&came.result),
            (None, _) => *self.report.unrecorded.entry(kind.to_owned()).or_default() += 1,
        }
        same(line, draft.head, draft.act)
    }
}
