//! `jos logs`: the ledger of a node, a line a record.

use std::os::fd::AsFd;

use jos_node::watch::Watch;
use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Follow, LedgerError, Line, source_word};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::data::{Place, failure};
use crate::cli::{Done, Failure, Ui};
use crate::signals::{self, Signals};

/// Show the decision log: who was asked, what was decided, what came of it
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos logs\n  \
    jos logs --follow\n  \
    jos logs -n 0 --json                    all of it, one JSON document a line")]
pub(crate) struct Args {
    /// Go on as records come, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// The last so many; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: usize,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let state = data.path("state");
    let disk = Disk::open(&state, "0").map_err(Failure::invalid)?;
    let signals = args.follow.then(|| Signals::install(false)).transpose();
    let signals = signals.map_err(|e| Failure::failed(format!("signals: {e}")))?;
    let ledger = data.path("state/runtime/ledger");
    if !ledger.is_dir() {
        return Err(
            Failure::invalid(format!("{}: nothing was decided yet", ledger.display()))
                .help("`jos serve` runs the node"),
        );
    }
    let mut watch = args
        .follow
        .then(|| Watch::start(&data, &["state/runtime/ledger"]))
        .transpose()
        .map_err(failure)?;
    let mut from = Follow::default();
    let mut most = args.lines;
    loop {
        let mut shown = std::collections::VecDeque::new();
        let read = from.next(&disk, jos_node::place::LEDGER, &mut |line| {
            shown.push_back(said(line));
            if most > 0 && shown.len() > most {
                shown.pop_front();
            }
        });
        shown.iter().for_each(|line| ui.line(line));
        most = 0;
        match read {
            // A damaged ledger was set aside, or one was put back: the new one from its beginning.
            Err(LedgerError::Moved) if args.follow => {
                (from, most) = (Follow::default(), args.lines);
                continue;
            }
            read => {
                drop(read.map_err(|e| {
                    Failure::failed(format!("{}: {e}", ledger.display())).help("`jos replay` says more")
                })?)
            }
        }
        let Some((watch, signals)) = watch.as_mut().zip(signals.as_ref()) else {
            return Ok(0);
        };
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let every = Watch::EVERY.and_then(|every| PollTimeout::try_from(every.as_millis()).ok());
        let _ = poll(&mut fds, every.unwrap_or(PollTimeout::NONE));
        watch.take().map_err(failure)?;
        if signals::stop_requested() {
            return Ok(0);
        }
    }
}

fn said(line: &Line<'_>) -> (Value, String) {
    let payload: Value = serde_json::from_slice(line.payload).unwrap_or_default();
    let word = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
    let about = match line.kind {
        "job" => format!("{} asks {}", word("job"), word("agent")),
        "resumed" => format!("{} goes on, run {}", word("job"), payload["attempt"]),
        "decision" => format!(
            "{} decides {} {}",
            word("agent"),
            payload["act"]["kind"].as_str().unwrap_or("(large)"),
            payload["act"]["payload"]
        ),
        "refused" => format!("{} was refused: {}", word("agent"), word("reason")),
        "outcome" if payload["ok"] == true => format!("{} {}", word("kind"), payload["act"]["result"]),
        "outcome" => format!(
            "{} failed: {}",
            word("kind"),
            payload["act"]["reason"].as_str().unwrap_or_default()
        ),
        "ended" => format!("{} {} {}", word("job"), word("state"), word("reason")),
        "imported" => format!("{} decided {} elsewhere", word("agent"), word("kind")),
        "fired" => format!("schedule {} submits {}", word("schedule"), word("job")),
        _ => format!("{} {}", word("node"), word("word")),
    };
    let about: String = about.trim_end().chars().take(200).collect();
    let value = json!({
        "index": line.index, "hash": line.hash.to_string(), "time": line.time, "source": source_word(line.source),
        "kind": line.kind, "payload": payload,
    });
    (value, format!("#{} {} {:<8} {about}", line.index, line.time, line.kind))
}
