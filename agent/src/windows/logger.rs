//! The log: lines on standard error; of the service in `agent.log`, turned over at 1 MiB, since nothing takes them there.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use jos_runtime::world::Clock;
use jos_schemas::layout::Layout;
use jos_schemas::text::Utc;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::place::Place;
use crate::world::SystemClock;

/// Bytes after which a new file is begun.
const FULL: u64 = 1 << 20;

enum Lines {
    Error,
    File(Mutex<Option<File>>),
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let word = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug | Level::Trace => "debug: ",
        };
        match self {
            Self::Error => {
                let _ = writeln!(std::io::stderr(), "{word}{}", record.args());
            }
            Self::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                if file
                    .as_ref()
                    .is_none_or(|f| f.metadata().is_ok_and(|m| m.len() >= FULL))
                {
                    // The old one is closed before it gets its other name.
                    *file = None;
                    let _ = std::fs::rename(path(), path().with_extension("log.1"));
                    *file = open();
                }
                if let Some(file) = file.as_mut() {
                    let _ = writeln!(file, "{} {word}{}", Utc::from_unix(SystemClock.now()), record.args());
                }
            }
        }
    }

    fn flush(&self) {}
}

/// Where the service's lines go: into the folder that only the system and administrators may enter.
pub(crate) fn path() -> PathBuf {
    Place::new(None).at(Layout::HERE.etc).join("agent.log")
}

fn open() -> Option<File> {
    OpenOptions::new().create(true).append(true).open(path()).ok()
}

/// Starts it; `JOS_LOG` is one of error, warn, info, debug, off; info when absent.
pub(crate) fn start() {
    begin(Lines::Error);
}

/// The same, into the file.
pub(crate) fn to_file() {
    begin(Lines::File(Mutex::new(open())));
}

fn begin(lines: Lines) {
    let wanted = std::env::var("JOS_LOG").ok().and_then(|l| l.parse().ok());
    if log::set_logger(Box::leak(Box::new(lines))).is_ok() {
        log::set_max_level(wanted.unwrap_or(LevelFilter::Info));
    }
}
