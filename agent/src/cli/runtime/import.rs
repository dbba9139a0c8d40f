//! `jos runtime import`: the decision log of jaros becomes part of a node's ledger.

use std::fmt::Write as _;
use std::path::PathBuf;

use jos_node::import::{Summary, check, import};

use super::data::{Place, failure, outside};
use crate::cli::{Done, Ui};

/// Take over the decision log of jaros into a node's ledger
///
/// Every record of the log is verified first: form, checksum, place and chain. If one does not hold, nothing is taken. An
/// imported decision does not act; it stands in the ledger as the line that it was, and `jos replay` verifies its chain again, drives
/// the machine again and names whose decision failed. Imported again, a log that has grown brings what is new.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos runtime import .jaros-data/state/decisions.log\n  \
    jos runtime import decisions.log --check\n  \
    jos replay --data-dir .jos-data\n\n\
    Exit codes: 0 done, 1 the log does not hold, 2 bad use.")]
pub(crate) struct Args {
    /// The log: state/decisions.log in the data directory of jaros
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Verify it, and take nothing
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let summary = if args.check {
        check(&args.log)
    } else {
        import(&place.open()?, &outside(), &args.log)
    };
    let summary = summary.map_err(failure)?;
    let value = serde_json::to_value(&summary).map_err(crate::cli::Failure::failed)?;
    ui.result(&value, text(&summary, args, place));
    Ok(0)
}

fn text(summary: &Summary, args: &Args, place: &Place) -> String {
    let mut out = String::new();
    let log = args.log.display();
    let head = summary.head.as_deref().unwrap_or("none");
    let _ = writeln!(
        out,
        "{log}: {} decisions of {} agents, chain intact, head {head}",
        summary.decisions,
        summary.agents.len()
    );
    for (agent, decisions) in &summary.agents {
        let _ = writeln!(out, "  {agent:<20} {decisions}");
    }
    if summary.torn > 0 {
        let _ = writeln!(
            out,
            "left out: a last line of {} bytes that was never finished",
            summary.torn
        );
    }
    if !args.check {
        let _ = write!(out, "imported: {}", summary.imported);
        if summary.before > 0 {
            let _ = write!(out, ", {} were there", summary.before);
        }
        let _ = writeln!(
            out,
            "\n`jos replay --data-dir {}` verifies and replays them",
            place.root().display()
        );
    }
    out
}
