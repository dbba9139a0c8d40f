//! `jos watch`: results and failures as they come.

use std::os::fd::AsFd;

use jos_node::place::DataDir;
use jos_node::watch::Watch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::data::{Place, failure};
use crate::cli::{Done, Failure, Ui};
use crate::signals::{self, Signals};

/// Print results and failures as they come, until interrupted
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos watch\n  \
    jos watch --count 3                     ends after three\n  \
    jos watch --json                        one JSON document a line")]
pub(crate) struct Args {
    /// End after so many
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let signals = Signals::install(false).map_err(|e| Failure::failed(format!("signals: {e}")))?;
    let mut watch = Watch::start(&data, &["outbox", "failed"]).map_err(failure)?;
    let mut left = args.count;
    while left != Some(0) && !signals::stop_requested() {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let every = Watch::EVERY.and_then(|every| PollTimeout::try_from(every.as_millis()).ok());
        let _ = poll(&mut fds, every.unwrap_or(PollTimeout::NONE));
        for (folder, name) in watch.take().map_err(failure)?.names {
            let Some(id) = name.strip_suffix(".json").filter(|_| left != Some(0)) else {
                continue;
            };
            ui.line(&ended(&data, &folder, id));
            left = left.map(|n| n - 1);
        }
    }
    Ok(0)
}

/// What is said of a job that ended.
fn ended(data: &DataDir, folder: &str, id: &str) -> (Value, String) {
    if folder == "outbox" {
        let bytes = std::fs::read(data.path(&format!("outbox/{id}.json"))).unwrap_or_default();
        let result: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let state = result["state"].as_str().unwrap_or("gone").to_owned();
        let text = format!("{id}  {state}  {}", result["result"]);
        return (result, text);
    }
    let reason = std::fs::read_to_string(data.path(&format!("failed/{id}.json.reason"))).unwrap_or_default();
    let reason = reason.trim_end();
    (json!({ "id": id, "failed": reason }), format!("{id}  failed  {reason}"))
}
