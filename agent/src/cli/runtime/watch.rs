//! `jos watch`: results and failures as they come.

use std::os::fd::AsFd;

use jos_node::NodeError;
use jos_node::queue::End;
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
    let queue = place.queue(&data)?;
    let mut ends = queue.ends().map_err(failure)?;
    let mut left = args.count;
    while left != Some(0) && !signals::stop_requested() {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(ends.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let every = ends
            .every()
            .and_then(|every| PollTimeout::try_from(every.as_millis()).ok());
        let _ = poll(&mut fds, every.unwrap_or(PollTimeout::NONE));
        if signals::stop_requested() {
            break;
        }
        let ended = match ends.take() {
            // It comes back, and what ended meanwhile is said then.
            Err(e @ NodeError::Queue { .. }) => {
                log::debug!("{e}");
                continue;
            }
            ended => ended.map_err(failure)?,
        };
        for (id, end) in ended {
            if left == Some(0) {
                break;
            }
            ui.line(&said(&id, &end));
            left = left.map(|n| n - 1);
        }
    }
    Ok(0)
}

/// What is said of a job that ended.
fn said(id: &str, end: &End) -> (Value, String) {
    match end {
        End::Done(result) => {
            let state = result["state"].as_str().unwrap_or("gone");
            (result.clone(), format!("{id}  {state}  {}", result["result"]))
        }
        End::Failed(reason) => (json!({ "id": id, "failed": reason }), format!("{id}  failed  {reason}")),
    }
}
