//! `jos runtime init`: a data directory.

use jos_node::examples;
use jos_node::place::DataDir;
use serde_json::json;

use super::data::{Place, failure};
use crate::cli::{Done, Failure, Ui};

/// Make a data directory for a node
///
/// Its folders: inbox (jobs), outbox (results), failed, agents, tools, evals, schedules, config, artifacts, and what the node
/// keeps for itself. What is there already stays as it is.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos runtime init                            ./.jos-data\n  \
    jos runtime init --with-examples            with agents, tools, evals and schedules to begin with\n  \
    jos runtime init --data-dir /srv/hive\n  \
    jos runtime init --force                    makes what is missing of one that is there")]
pub(crate) struct Args {
    /// Go on where there is one already: make what is missing, keep what is there
    #[arg(long)]
    force: bool,
    /// Put the examples there as well: agents, tools, evals, schedules
    #[arg(long)]
    with_examples: bool,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    if DataDir::open(place.root()).is_ok() && !args.force {
        let message = format!("{}: this is a node's data directory already", place.root().display());
        return Err(Failure::invalid(message).help("use it as it is, or --force to make what is missing"));
    }
    let (data, made) = DataDir::create(place.root()).map_err(failure)?;
    let examples = if args.with_examples {
        examples::put(&data).map_err(failure)?
    } else {
        Vec::new()
    };
    let shown = data.root().display();
    let value = json!({ "data_dir": data.root(), "made": made, "examples": examples });
    ui.result(
        &value,
        format!(
            "{shown}: {}{}\nnext: `jos serve` runs the node, `jos submit {}` gives it work\n",
            said(&made),
            if examples.is_empty() {
                String::new()
            } else {
                format!(", {} files of examples", examples.len())
            },
            if args.with_examples { "system-health" } else { "advance" },
        ),
    );
    Ok(0)
}

fn said(made: &[&str]) -> String {
    if made.is_empty() {
        "all folders were there".into()
    } else {
        format!("made {}", made.join(" "))
    }
}
