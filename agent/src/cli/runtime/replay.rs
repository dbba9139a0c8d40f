//! `jos replay --data-dir`: a node's history, computed again from its ledger alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use jos_node::replay::{self, Chain, Report};
use jos_runtime::ledger::LedgerKey;
use serde_json::json;

use super::data::Place;
use crate::cli::archive::Found;
use crate::cli::{Done, Failure, Ui};
use crate::seal;

/// Compute a node's history again from its ledger alone, and say whether it agrees
///
/// No agent is asked, no tool runs, no model answers, nothing is written: what only the live run could know is taken from its
/// capture. It is done twice and compared. A kernel filter ends the program if it tried more.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos replay --data-dir .jos-data\n  \
    jos runtime replay --json --data-dir /srv/hive\n\n\
    Exit codes: 0 all agrees, 1 divergence or tampering, 2 nothing to replay or bad use.")]
pub(crate) struct Args {
    /// Every file that decisions wrote, every result that is from a capture
    #[arg(long)]
    pub(super) verbose: bool,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let agents = place.agents_unasked();
    agents.refresh();
    let kinds: BTreeSet<String> = agents.kinds().into_iter().collect();
    drop(agents);
    let state = data.path("state");
    let _reading = jos_node::chapter::reading(&state.join("runtime"));
    let key = jos_runtime::public_ledger_key(&state).map_err(Failure::invalid)?;
    let shown = data.root().display().to_string();
    replayed(args, replay::Place::of_node(&state), &kinds, key.as_ref(), &shown, ui)
}

/// The same of a ledger that was named, wherever it lies: which tools there are is not known there.
pub(crate) fn of_ledger(args: &Args, found: &Found, ui: &Ui) -> Done {
    let key = found.key()?;
    replayed(args, found.place(), &BTreeSet::new(), key.as_ref(), found.shown(), ui)
}

fn replayed(
    args: &Args,
    ledger: replay::Place<'_>,
    kinds: &BTreeSet<String>,
    key: Option<&LedgerKey>,
    shown: &str,
    ui: &Ui,
) -> Done {
    // All doors are opened before the filter closes behind each of the two that read.
    let unconfined = AtomicBool::new(false);
    let seal = || {
        if seal::seal().is_err() {
            unconfined.store(true, Ordering::Relaxed);
        }
    };
    let report = replay::replay(ledger, kinds, key, &seal).map_err(|e| Failure::failed(format!("{shown}: {e}")))?;
    let empty =
        report.decisions == 0 && report.attribution.is_empty() && report.chain == Chain::Intact && report.diverged == 0;
    let mut value = serde_json::to_value(&report).map_err(Failure::failed)?;
    value["confined"] = json!(!unconfined.into_inner());
    value["since"] = json!(since(&report));
    if empty {
        value["ok"] = json!(false);
        let text = format!("{shown}: nothing was decided yet; `jos submit advance` gives the node work\n");
        ui.result(&value, text);
        return Ok(2);
    }
    ui.result(&value, text(&report, args.verbose, ui));
    Ok(u8::from(!report.ok))
}

/// The first record that is there: what was before it was pruned.
fn since(report: &Report) -> u64 {
    let count = report.head.as_ref().map_or(report.records, |head| head.count);
    count.saturating_sub(report.records)
}

fn text(report: &Report, verbose: bool, ui: &Ui) -> String {
    let mut out = String::new();
    let yes = |good: bool| {
        if good {
            ui.paint("32", "yes")
        } else {
            ui.paint("31", "NO")
        }
    };
    let _ = writeln!(
        out,
        "{} decisions of {} agents in {} records, model calls: 0",
        report.decisions,
        report.agents.len(),
        report.records
    );
    for (agent, decisions) in &report.agents {
        let _ = writeln!(out, "  {agent:<20} {decisions}");
    }
    if since(report) > 0 {
        let _ = writeln!(
            out,
            "history before #{} pruned: all of this is of what came since",
            since(report)
        );
    }
    let jobs: Vec<String> = report.jobs.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let jobs = if jobs.is_empty() {
        "none ended".to_owned()
    } else {
        jobs.join(", ")
    };
    let _ = writeln!(out, "jobs: {jobs}{}", unfinished(report.unfinished));
    let state = report.final_state.map_or("none", jos_node::machine::word);
    let _ = writeln!(out, "state: {state}, {}", report.state_hash);
    let _ = writeln!(
        out,
        "byte-identical: {}   deterministic: {}",
        yes(report.byte_identical),
        yes(report.deterministic)
    );
    match (&report.chain, &report.head) {
        (Chain::Broken(what), _) => {
            let _ = writeln!(out, "{} {what}", ui.paint("31", "chain: BROKEN,"));
        }
        (Chain::Intact, head) => {
            let hash = head.as_ref().map_or("", |head| head.hash.as_str());
            let _ = writeln!(
                out,
                "chain: intact, head {hash}, {} signed checkpoints, unanchored",
                report.seals
            );
        }
    }
    let captured: u64 = report.captured_results.values().sum();
    if captured + report.captured_replies > 0 {
        let _ = writeln!(
            out,
            "from their capture: {captured} results of tools, {} replies of models",
            report.captured_replies
        );
    }
    if report.imported > 0 {
        let unrecorded: u64 = report.unrecorded.values().sum();
        let _ = writeln!(
            out,
            "imported: {} decisions of another runtime, whose own chain holds; of {unrecorded} it does not say what came",
            report.imported
        );
    }
    for kind in &report.missing {
        let _ = writeln!(
            out,
            "{} no tool here executes {kind} any more; its results are from the record",
            ui.paint("33", "missing:")
        );
    }
    for rerun in &report.reruns {
        let _ = writeln!(
            out,
            "run again: job {} of {}, run {} (#{})",
            rerun.job, rerun.agent, rerun.attempt, rerun.record
        );
    }
    for failure in &report.attribution {
        let decision = failure
            .decision
            .as_ref()
            .map(|id| format!(" by decision {id}"))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "{} agent {}, {}{decision} (#{}): {}",
            ui.paint("33", &format!("{}:", failure.kind)),
            failure.agent,
            if failure.job.is_empty() {
                "imported".to_owned()
            } else {
                format!("job {}", failure.job)
            },
            failure.record,
            failure.reason
        );
    }
    for divergence in &report.divergences {
        let _ = writeln!(
            out,
            "{} #{} {} {}: {}",
            ui.paint("31", "diverges:"),
            divergence.record,
            divergence.agent,
            divergence.job,
            divergence.reason
        );
    }
    if report.diverged > report.divergences.len() as u64 {
        let _ = writeln!(out, "  and {} more", report.diverged - report.divergences.len() as u64);
    }
    if verbose {
        for (path, hash) in &report.files {
            let _ = writeln!(out, "file {path} {hash}");
        }
        for (kind, results) in &report.captured_results {
            let _ = writeln!(out, "captured {kind} {results}");
        }
        for (kind, decisions) in &report.unrecorded {
            let _ = writeln!(out, "unrecorded {kind} {decisions}");
        }
    }
    out
}

fn unfinished(jobs: u64) -> String {
    if jobs == 0 {
        String::new()
    } else {
        format!(", {jobs} not ended")
    }
}
