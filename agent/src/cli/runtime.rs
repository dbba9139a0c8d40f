//! `jos runtime …`: a node that runs agents, and every verb of it in its short form (`jos submit`).

mod add_agent;
mod blame;
#[cfg(feature = "console")]
mod console;
mod data;
mod eval;
mod import;
mod init;
mod joined;
mod logs;
mod replay;
mod schedule;
mod serve;
mod status;
mod submit;
mod watch;

use std::path::Path;

use clap::Subcommand;

pub(super) use data::{Place, is_meant};

use super::archive::Found;
use super::{Done, Ui};

const NOTES: &str = "\
A node takes jobs from a folder, asks agents, and acts on what they propose after one gate and one ledger.
Agents only propose; nothing acts before its decision is durable; the whole run replays without a model.

  jos runtime init                        makes ./.jos-data
  jos serve                               runs the node until Ctrl-C
  jos submit advance                      a job for the agent that is built in
  jos watch                               results, as they come
  jos replay --data-dir .jos-data         the run again, from its ledger alone

The data directory is --data-dir DIR (before or after the verb, the later one counts), else $JOS_DATA_DIR, else ./.jos-data.
Jobs are its files, or rows of a database that nodes of several machines share: JOS_QUEUE_URL=postgres://USER@HOST/DATABASE.
Each verb is there without `runtime` too. Exit codes: 0 done, 1 divergence, tampering or a failure, 2 bad use or nothing to do.";

/// What can be done with a node.
#[derive(Subcommand)]
pub(super) enum RuntimeVerb {
    Init(init::Args),
    #[command(flatten)]
    Short(ShortVerb),
    Replay(replay::Args),
    Blame(blame::Args),
    Import(import::Args),
}

/// What has a short form of its own.
#[derive(Subcommand)]
pub(super) enum ShortVerb {
    Serve(serve::Args),
    Submit(submit::Args),
    Status(status::Args),
    Watch(watch::Args),
    Logs(logs::Args),
    Eval(eval::Args),
    AddAgent(add_agent::Args),
    #[cfg(feature = "console")]
    Console(console::Args),
    Schedule(schedule::Args),
}

/// Run agents on this machine: jobs in, proposals gated and recorded, results out
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct RuntimeCommand {
    #[command(subcommand)]
    verb: RuntimeVerb,
}

/// Calls the verb.
pub(super) fn run(command: &RuntimeCommand, data_dir: Option<&Path>, ui: &Ui) -> Done {
    let place = Place::of(data_dir);
    match &command.verb {
        RuntimeVerb::Init(args) => init::run(args, &place, ui),
        RuntimeVerb::Short(verb) => run_short(verb, data_dir, ui),
        RuntimeVerb::Replay(args) => replay::run(args, &place, ui),
        RuntimeVerb::Blame(args) => blame::run(&args.path, &place, ui),
        RuntimeVerb::Import(args) => import::run(args, &place, ui),
    }
}

/// Calls a verb in its short form.
pub(super) fn run_short(verb: &ShortVerb, data_dir: Option<&Path>, ui: &Ui) -> Done {
    let place = Place::of(data_dir);
    match verb {
        ShortVerb::Serve(args) => serve::run(args, &place),
        ShortVerb::Submit(args) => submit::run(args, &place, ui),
        ShortVerb::Status(args) => status::run(&place, ui, args),
        ShortVerb::Watch(args) => watch::run(args, &place, ui),
        ShortVerb::Logs(args) => logs::run(args, &place, ui),
        ShortVerb::Eval(args) => eval::run(args, &place, ui),
        ShortVerb::AddAgent(args) => add_agent::run(args, &place, ui),
        #[cfg(feature = "console")]
        ShortVerb::Console(args) => console::run(args, &place, ui),
        ShortVerb::Schedule(args) => schedule::run(args, &place, ui),
    }
}

/// `jos replay` of a node.
pub(super) fn replay_node(data_dir: Option<&Path>, verbose: bool, ui: &Ui) -> Done {
    replay::run(&replay::Args { verbose }, &Place::of(data_dir), ui)
}

/// `jos blame` of a file that a node's agents wrote.
pub(super) fn blame_node(path: &Path, data_dir: Option<&Path>, ui: &Ui) -> Done {
    blame::run(path, &Place::of(data_dir), ui)
}

/// Whether a path lies below the data directory that is meant where none is named.
pub(super) fn is_below(path: &Path) -> bool {
    let root = std::fs::canonicalize(Place::of(None).root());
    // The file itself may be gone: then its folder is asked.
    let real = std::fs::canonicalize(path).or_else(|_| std::fs::canonicalize(path.parent().unwrap_or(path)));
    root.is_ok_and(|root| real.is_ok_and(|real| real.starts_with(root)))
}

/// `jos replay --ledger` of a node's ledger.
pub(super) fn replay_ledger(found: &Found, verbose: bool, ui: &Ui) -> Done {
    replay::of_ledger(&replay::Args { verbose }, found, ui)
}

/// `jos blame --ledger` of a node's ledger.
pub(super) fn blame_ledger(path: &Path, found: &Found, ui: &Ui) -> Done {
    blame::of_ledger(path, found, ui)
}
