//! `jos submit`: a job into the inbox.

use std::time::{Duration, Instant};

use jos_node::jobs;
use jos_node::place::DataDir;
use jos_node::watch::Watch;
use jos_schemas::text::Name;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::data::{Place, failure, outside};
use crate::cli::{Done, Failure, Ui};

/// Give an agent a job
///
/// The job is a file in inbox/, there as a whole or not at all; no node need run. Its result will be outbox/ID.json, or it
/// stands in failed/ with its reason.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos submit advance\n  \
    jos submit planner --input '{\"goal\": \"triage\"}' --wait\n  \
    jos submit planner --input @goal.json --id nightly-7\n\n\
    Exit codes: 0 submitted (with --wait: it ended well), 1 it failed or the wait ran out, 2 bad use.")]
pub(crate) struct Args {
    /// The agent
    #[arg(value_name = "AGENT", value_parser = name)]
    agent: Name,
    /// What it is given: JSON, or @FILE
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// The job's id; made when left out
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Wait for its end, so many seconds at most, and print the result
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    wait: Option<u32>,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let text = match args.input.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|e| Failure::invalid(format!("{path}: {e}")))?,
        None => args.input.clone(),
    };
    let input: Value = serde_json::from_str(&text).map_err(|e| {
        Failure::invalid(format!("--input: expected JSON: {e}"))
            .help("quote it for the shell: --input '{\"goal\": \"triage\"}'")
    })?;
    let outside = outside();
    let id = args
        .id
        .clone()
        .unwrap_or_else(|| format!("{}-{}", args.agent, outside.hex(6)));
    // What is waited for is watched before it can happen.
    let watch = args
        .wait
        .map(|_| Watch::start(&data, &["processed", "failed"]))
        .transpose()
        .map_err(failure)?;
    jobs::submit(&data, &jobs::job(id.clone(), args.agent.clone(), input)).map_err(failure)?;
    let Some((mut watch, seconds)) = watch.zip(args.wait) else {
        let value = json!({ "id": id, "agent": args.agent, "file": data.path(&format!("inbox/{id}.json")) });
        ui.result(&value, format!("{id}\n"));
        return Ok(0);
    };
    await_end(&data, &id, &mut watch, Duration::from_secs(u64::from(seconds)))?;
    ended(&data, &id, ui)
}

fn await_end(data: &DataDir, id: &str, watch: &mut Watch, limit: Duration) -> Result<(), Failure> {
    let begin = Instant::now();
    let over = || {
        ["processed", "failed"]
            .iter()
            .any(|folder| data.path(&format!("{folder}/{id}.json")).exists())
    };
    while !over() {
        let left = limit.saturating_sub(begin.elapsed());
        if left.is_zero() {
            let message = format!("job {id}: it has not ended within {} seconds", limit.as_secs());
            return Err(Failure::failed(message).help("`jos status` says whether a node runs and what it is at"));
        }
        let left = Watch::EVERY.map_or(left, |every| every.min(left));
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds: Vec<PollFd<'_>> = watch
            .fd()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .into_iter()
            .collect();
        let _ = poll(&mut fds, timeout);
        watch.take().map_err(failure)?;
    }
    Ok(())
}

fn ended(data: &DataDir, id: &str, ui: &Ui) -> Done {
    let reason = data.path(&format!("failed/{id}.json.reason"));
    if let Ok(reason) = std::fs::read_to_string(&reason) {
        return Err(Failure::failed(format!("job {id}: {}", reason.trim_end())));
    }
    let path = data.path(&format!("outbox/{id}.json"));
    let bytes = std::fs::read(&path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    let result: Value =
        serde_json::from_slice(&bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    ui.result(&result, format!("{result:#}\n"));
    Ok(0)
}
