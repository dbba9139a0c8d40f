//! `jos blame`: who put a path there, and all that the ledger knows of it.

use std::fmt::Write as _;
use std::path::PathBuf;

use jos_runtime::ledger::source_word;
use jos_runtime::replay::{self, Event, Happened, Managed, Watch};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{AbsPath, Name};
use serde_json::{Value, json};

use super::archive::At;
use super::{Done, Failure, Ui};
use crate::seal;

/// Say which decision put a path there: who proposed it, who signed it, when, and what happened to it before
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos blame /etc/cups/cupsd.conf\n  \
    jos blame /etc/cups/cupsd.conf portal --json\n  \
    jos blame /etc/motd --ledger portal.jos-ledger   from an export, on another machine\n  \
    jos blame artifacts/report.txt                   of a node's agents, below $JOS_DATA_DIR or ./.jos-data\n\n\
    Exit codes: 0 the ledger knows the path, 1 it does not, or a record does not follow, 2 bad use.")]
pub(super) struct BlameArgs {
    /// The path, absolute, as the device knows it; below the data directory of a node with --data-dir
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    at: At,
    /// PATH lies below this folder: what follows it is the path
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[cfg(feature = "runtime")]
impl BlameArgs {
    /// Whether a node's file is meant: its data directory was named, or no other place was, there is one here, and the path is
    /// below it.
    pub(super) fn is_of_a_node(&self, named: Option<&std::path::Path>) -> bool {
        let here = || self.at.is_nothing() && self.root.is_none() && super::runtime::is_meant();
        named.is_some() || (here() && (self.path.is_relative() || super::runtime::is_below(&self.path)))
    }

    /// The same of a file that a node's agents wrote.
    pub(super) fn of_a_node(&self, data_dir: Option<&std::path::Path>, ui: &Ui) -> Done {
        super::runtime::blame_node(&self.path, data_dir, ui)
    }
}

pub(super) fn run(args: &BlameArgs, ui: &Ui) -> Done {
    #[cfg(feature = "runtime")]
    if !args.at.is_agent() {
        let found = args.at.find()?;
        if found.is_of_a_node() {
            return super::runtime::blame_ledger(&args.path, &found, ui);
        }
    }
    let below = args.root.as_deref().and_then(|root| args.path.strip_prefix(root).ok());
    let text = below.unwrap_or(&args.path).to_string_lossy();
    let text = if below.is_some() {
        format!("/{text}")
    } else {
        text.into_owned()
    };
    let path = AbsPath::new(text.trim_end_matches('/'))
        .map_err(Failure::invalid)?
        .to_string();
    let found = args.at.find()?;
    let archive = found.archive()?;
    // What is not there is said by the records alone.
    let _ = seal::seal();
    let run = replay::run(&archive, Watch::One(path.clone())).map_err(|e| found.damaged(&e))?;
    let managed = run.machine.paths().get(&path);
    let events = run.machine.history().get(&path).map_or(&[][..], Vec::as_slice);
    let value = json!({
        "path": path, "ledger": found.shown(), "managed": managed.map(blamed), "history": events,
        "since": run.extent.first, "divergence": run.divergence,
    });
    ui.result(&value, described(&path, managed, events, run.extent.first));
    if let Some(divergence) = &run.divergence {
        let help = "what is said of later records is not in this; `jos replay` says more";
        return Err(Failure::failed(format!("{}: {divergence}", found.shown())).help(help));
    }
    Ok(u8::from(managed.is_none() && events.is_empty()))
}

fn blamed(managed: &Managed) -> Value {
    json!({ "decision": managed.decision, "source": managed.source, "version": managed.version,
        "signers": *managed.signers, "time": &*managed.time, "shape": managed.shape, "held": managed.held })
}

/// The source, and which agent of the runtime where one proposed: `agent tuner`.
fn by_agent(source: Source, agent: Option<&Name>) -> String {
    let word = source_word(source);
    agent.map_or_else(|| word.to_owned(), |agent| format!("{word} {agent}"))
}

fn described(path: &str, managed: Option<&Managed>, events: &[Event], first: u64) -> String {
    let mut out = String::new();
    let by = |signers: &[String]| match signers {
        [] => String::new(),
        all => format!(", signed by {}", all.join(", ")),
    };
    let of = |version: Option<u64>| version.map(|v| format!(" version {v}")).unwrap_or_default();
    match managed {
        Some(m) => {
            let agent = events.iter().rev().find(|e| e.decision == m.decision);
            let source = by_agent(m.source, agent.and_then(|e| e.agent.as_ref()));
            let _ = writeln!(
                out,
                "{path}: decision #{} by {source}{}{}, {}",
                m.decision,
                of(m.version),
                by(&m.signers),
                m.time
            );
            let stands = match &m.shape {
                None => "nothing, on purpose".to_owned(),
                Some(s) => {
                    let hash = s
                        .sha256
                        .as_ref()
                        .or(s.mac.as_ref())
                        .map(|h| format!(" {h}"))
                        .unwrap_or_default();
                    let target = s.target.as_ref().map(|t| format!(" → {t}")).unwrap_or_default();
                    format!(
                        "{} {} {}{hash}{target}",
                        s.kind,
                        s.mode.as_deref().unwrap_or("-"),
                        s.owner
                    )
                }
            };
            let _ = writeln!(out, "  {stands}");
        }
        None if events.is_empty() => {
            let _ = writeln!(out, "{path}: the ledger knows nothing of it");
        }
        None => {
            let _ = writeln!(out, "{path}: no longer managed");
        }
    }
    for event in events.iter().rev() {
        let word = match event.event {
            Happened::Created => "created",
            Happened::Updated => "updated",
            Happened::Removed => "removed",
            Happened::TakenOver => "stood there so, taken over",
            Happened::Released => "released: left as it is",
            Happened::RolledBack => "changed and taken back",
            Happened::Drifted => "had drifted, reported only",
        };
        let hash = event
            .sha256
            .as_ref()
            .map(|h| format!(" {}…", &h[..12.min(h.len())]))
            .unwrap_or_default();
        let source = by_agent(event.source, event.agent.as_ref());
        let _ = writeln!(
            out,
            "  {}  #{:<5} {word}{hash} by {source}{}{}",
            event.time,
            event.decision,
            of(event.version),
            by(&event.signers)
        );
    }
    if first > 0 {
        let _ = writeln!(out, "  history before #{first} pruned");
    }
    out
}
