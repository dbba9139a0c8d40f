//! `jos submit`: a job into the inbox.

use std::time::{Duration, Instant};

use jos_node::jobs;
use jos_node::queue::{End, Ends, Queue};
use jos_schemas::text::Name;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::data::{Place, failure, outside};
use crate::cli::{Done, Failure, Ui};

/// Give an agent a job
///
/// The job is a file in inbox/, there as a whole or not at all; no node need run. Its result will be outbox/ID.json, or it
/// stands in failed/ with its reason. With JOS_QUEUE_URL all of that is in the database.
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
    let queue = place.queue(&data)?;
    // What is waited for is watched before it can happen.
    let ends = args.wait.map(|_| queue.ends()).transpose().map_err(failure)?;
    queue
        .submit(&jobs::job(id.clone(), args.agent.clone(), input))
        .map_err(failure)?;
    let Some((mut ends, seconds)) = ends.zip(args.wait) else {
        let mut value = json!({ "id": id, "agent": args.agent });
        match queue.is_elsewhere() {
            true => value["queue"] = json!(queue.place()),
            false => value["file"] = json!(data.path(&format!("inbox/{id}.json"))),
        }
        ui.result(&value, format!("{id}\n"));
        return Ok(0);
    };
    match await_end(&queue, &id, &mut *ends, Duration::from_secs(u64::from(seconds)))? {
        End::Done(result) => {
            ui.result(&result, format!("{result:#}\n"));
            Ok(0)
        }
        End::Failed(reason) => Err(Failure::failed(format!("job {id}: {reason}"))),
    }
}

fn await_end(queue: &Queue, id: &str, ends: &mut dyn Ends, limit: Duration) -> Result<End, Failure> {
    let begin = Instant::now();
    loop {
        if let Some(end) = queue.end(id).map_err(failure)? {
            return Ok(end);
        }
        let left = limit.saturating_sub(begin.elapsed());
        if left.is_zero() {
            let message = format!("job {id}: it has not ended within {} seconds", limit.as_secs());
            return Err(Failure::failed(message).help("`jos status` says whether a node runs and what it is at"));
        }
        let left = ends.every().map_or(left, |every| every.min(left));
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds: Vec<PollFd<'_>> = ends
            .fd()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .into_iter()
            .collect();
        let _ = poll(&mut fds, timeout);
        ends.hear().map_err(failure)?;
    }
}
