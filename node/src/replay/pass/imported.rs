//! Decisions that were taken over from another runtime's log: its own chain is verified again, and what follows from each.

use std::borrow::Cow;

use jos_runtime::ledger::Line;
use jos_schemas::documents::policy::Source;
use jos_schemas::documents::runtime::MachineState;

use serde::Deserialize;

use super::{Pass, Wrong, same, source};
use crate::import;
use crate::records::Read;

/// The line as it stood in that log.
#[derive(Deserialize)]
struct Act<'r> {
    #[serde(borrow)]
    line: Cow<'r, str>,
}

impl Pass<'_> {
    pub(super) fn imported(&mut self, line: &Line<'_>, read: &Read<'_>) -> Wrong {
        source(line, Source::Operator)?;
        let act: Act<'_> = read.document().map_err(|_| "this record has no line")?;
        let text = &*act.line;
        let taken = self.logs.take(&read.log, text)?;
        self.report.imported += 1;
        self.report.decisions += 1;
        super::count(&mut self.report.agents, &taken.agent);
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
            (None, _) => super::count(&mut self.report.unrecorded, kind),
        }
        same(line, draft.head, draft.act)
    }
}
