//! Reports that the hub has not acknowledged: one file each, oldest first, until it has.
//!
//! Owns `NAME/reports/` in the data directory. It is bounded: past the limit the oldest go, with a line in the log; the
//! ledger still has what they said.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::files;

/// Reports that wait, at most.
const MOST: usize = 64;
const LIMIT: usize = 64 << 10;
/// What was said last, so that a crash between an apply and its report loses none.
const SAID: &str = "said";

/// The reports of one agent.
pub(super) struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub(super) fn new(state_dir: &Path, name: &str) -> Self {
        Self {
            folder: state_dir.join(name).join("reports"),
        }
    }

    /// Keeps a report; `what` names what it reports, to be asked by [`Spool::said`].
    pub(super) fn push(&self, bytes: &[u8], what: &str) -> Result<(), String> {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(|e| format!("{}: {e}", self.folder.display()))?;
        let waiting = self.numbers();
        if waiting.len() >= MOST {
            log::warn!("more than {MOST} reports wait for the hub; the oldest goes");
            for number in &waiting[..=waiting.len() - MOST] {
                let _ = std::fs::remove_file(self.path(*number));
            }
        }
        let number = waiting.last().map_or(1, |last| last + 1);
        files::replace(&self.path(number), bytes, 0o600, true).map_err(|e| e.to_string())?;
        files::replace(&self.folder.join(SAID), what.as_bytes(), 0o600, true).map_err(|e| e.to_string())
    }

    /// Whether this was the last that was reported.
    pub(super) fn said(&self, what: &str) -> bool {
        files::read(&self.folder.join(SAID), LIMIT).is_ok_and(|said| said == what.as_bytes())
    }

    /// The oldest report, with its number.
    pub(super) fn oldest(&self) -> Option<(u64, Vec<u8>)> {
        for number in self.numbers() {
            match files::read(&self.path(number), LIMIT) {
                Ok(bytes) => return Some((number, bytes)),
                Err(error) => {
                    // Not to stand in the way of the others for ever.
                    log::error!("a report is lost: {error}");
                    let _ = std::fs::remove_file(self.path(number));
                }
            }
        }
        None
    }

    /// The hub has it, or never will.
    pub(super) fn done(&self, number: u64) {
        if let Err(error) = std::fs::remove_file(self.path(number)) {
            log::error!("{}: {error}", self.path(number).display());
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.numbers().len()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:010}.json"))
    }

    fn numbers(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let number = |e: std::fs::DirEntry| e.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let mut all: Vec<u64> = entries.filter_map(number).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_wait_in_order_until_they_are_acknowledged_and_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let spool = || Spool::new(dir.path(), "kiosk");
        assert_eq!(spool().oldest(), None);
        for n in 1..=3 {
            spool().push(format!("r{n}").as_bytes(), &format!("w{n}")).unwrap();
        }
        assert!(spool().said("w3") && !spool().said("w2"));
        let (number, bytes) = spool().oldest().unwrap();
        assert_eq!(bytes, b"r1");
        spool().done(number);
        assert_eq!(spool().oldest().unwrap().1, b"r2");
        for n in 4..200 {
            spool().push(format!("r{n}").as_bytes(), "w").unwrap();
        }
        assert_eq!(spool().waiting(), MOST);
        assert_eq!(spool().oldest().unwrap().1, b"r136");
    }
}
