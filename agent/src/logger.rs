//! The log of the long-running commands: lines on standard error, where every init system takes them from.
//!
//! The last of them are kept in memory as well: where no init system keeps a log, they are what there is to show.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Lines that are kept.
const KEPT: usize = 200;
/// Bytes of a line that are kept, about.
const LENGTH: usize = 512;

static LAST: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

struct Lines {
    /// Priorities for the journal (sd-daemon(3)); it takes them off again.
    journal: bool,
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (priority, word) = match record.level() {
            Level::Error => ("<3>", "error: "),
            Level::Warn => ("<4>", "warning: "),
            Level::Info => ("<6>", ""),
            Level::Debug | Level::Trace => ("<7>", "debug: "),
        };
        let mut out = String::new();
        for line in record.args().to_string().lines() {
            keep(&format!("{word}{line}"));
            out.push_str(if self.journal { priority } else { word });
            out.push_str(line);
            out.push('\n');
        }
        let _ = std::io::stderr().write_all(out.as_bytes());
    }

    fn flush(&self) {}
}

fn keep(line: &str) {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.len() >= KEPT {
        last.pop_front();
    }
    last.push_back(line[..line.floor_char_boundary(LENGTH)].to_owned());
}

/// The last lines of this process, the oldest first.
pub(crate) fn last() -> Vec<String> {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.iter().cloned().collect()
}

/// Starts it; `JOS_LOG` is one of error, warn, info, debug, off; info when absent.
pub(crate) fn start() {
    let wanted = std::env::var("JOS_LOG")
        .ok()
        .and_then(|l| l.parse().ok())
        .unwrap_or(LevelFilter::Info);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    if log::set_logger(Box::leak(Box::new(Lines { journal }))).is_ok() {
        log::set_max_level(wanted);
    }
}
