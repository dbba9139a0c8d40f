//! Between chapters of the ledger no job is on its way: who writes the records of a job says so, who ends a chapter waits.
//!
//! ```text
//! state/runtime/turnstile   shared for a moment by whoever begins to record a job; exclusive while a chapter is to end
//! state/runtime/chapter     shared by a node while it records jobs; exclusive while a chapter ends and while blobs go
//! state/runtime/readers     shared by whoever reads the whole ledger; exclusive while the oldest of it goes
//! state/runtime/keeper      exclusive: one node of a directory prunes at a time
//! ```
//!
//! All are flock(2): the kernel lets them go with the process that had them, wherever it was killed. A job is on its way from
//! its first record until its file stands where jobs that ended do.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::NodeError;
use crate::place::DataDir;
use crate::writer::Bell;

/// How often is looked whether the jobs on their way have ended.
const LOOK: Duration = Duration::from_millis(5);

fn place(data: &DataDir, name: &str) -> PathBuf {
    data.path(&format!("state/runtime/{name}"))
}

fn open(path: &Path) -> Result<File, NodeError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    file.open(path).map_err(NodeError::io(path, "open the lock"))
}

/// Whoever reads the ledger in the folder `runtime` (that of records and blobs) holds this meanwhile: nothing of it goes.
/// `None` where nobody ever prunes it.
pub fn reading(runtime: &Path) -> Option<File> {
    let file = File::open(runtime.join("readers")).ok()?;
    file.lock_shared().ok()?;
    Some(file)
}

/// Where a process says that it has jobs on their way.
pub(crate) struct Chapters {
    turnstile: Mutex<File>,
    /// How many there are, and the lock that is held while there are some.
    open: Mutex<(usize, File)>,
}

/// A job on its way.
pub(crate) struct Page<'c>(&'c Chapters);

impl Chapters {
    pub(crate) fn of(data: &DataDir) -> Result<Self, NodeError> {
        let folder = data.path("state/runtime");
        std::fs::create_dir_all(&folder).map_err(NodeError::io(&folder, "make the directory"))?;
        // There before anything is pruned, so that readers find it.
        open(&place(data, "readers"))?;
        Ok(Self {
            turnstile: Mutex::new(open(&place(data, "turnstile"))?),
            open: Mutex::new((0, open(&place(data, "chapter"))?)),
        })
    }

    /// A job is about to be recorded; waits while a chapter ends.
    pub(crate) fn turn(&self) -> Page<'_> {
        {
            let turnstile = self.turnstile.lock().unwrap_or_else(PoisonError::into_inner);
            // A lock that cannot be had (no memory) is one that nobody else has either.
            let _ = turnstile.lock_shared();
            let _ = turnstile.unlock();
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.0 == 0 {
            let _ = open.1.lock_shared();
        }
        open.0 += 1;
        drop(open);
        Page(self)
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.0 -= 1;
        if open.0 == 0 {
            let _ = open.1.unlock();
        }
    }
}

/// No job is on its way, in any node of the directory, as long as this lives.
pub(crate) struct Between {
    _turnstile: File,
    _chapter: File,
}

/// Waits until no job is on its way; at most so long, and new ones wait as long. `None`: some are still.
pub(crate) fn between(data: &DataDir, patience: Duration, bell: &Bell) -> Result<Option<Between>, NodeError> {
    let (turnstile, chapter) = (open(&place(data, "turnstile"))?, open(&place(data, "chapter"))?);
    let until = Instant::now() + patience;
    let waits = || Instant::now() < until && !bell.wait(LOOK);
    while turnstile.try_lock().is_err() {
        if !waits() {
            return Ok(None);
        }
    }
    while chapter.try_lock().is_err() {
        if !waits() {
            return Ok(None);
        }
    }
    Ok(Some(Between {
        _turnstile: turnstile,
        _chapter: chapter,
    }))
}

/// A lock that is had at once or not at all.
pub(crate) fn at_once(data: &DataDir, name: &str) -> Result<Option<File>, NodeError> {
    let file = open(&place(data, name))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chapter_ends_when_no_job_is_on_its_way_and_new_ones_wait_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (data, _) = DataDir::create(dir.path()).unwrap();
        let (bell, short) = (Bell::default(), Duration::from_millis(30));
        let chapters = Chapters::of(&data).unwrap();
        let (one, other) = (chapters.turn(), chapters.turn());
        assert!(between(&data, short, &bell).unwrap().is_none(), "two are on their way");
        drop(one);
        assert!(between(&data, short, &bell).unwrap().is_none(), "one still is");
        drop(other);
        let held = between(&data, short, &bell).unwrap().unwrap();
        assert!(between(&data, short, &bell).unwrap().is_none(), "another node ends it");
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| drop(chapters.turn()));
            // It cannot have gone through: the turnstile is ours.
            assert!(!bell.wait(short) && !waiting.is_finished());
            drop(held);
            waiting.join().unwrap();
        });
        assert!(between(&data, short, &bell).unwrap().is_some());
    }

    #[test]
    fn what_is_read_is_not_dropped_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (data, _) = DataDir::create(dir.path()).unwrap();
        assert!(reading(&data.path("state/runtime")).is_none(), "no node was here");
        Chapters::of(&data).unwrap();
        let reader = reading(&data.path("state/runtime")).unwrap();
        assert!(at_once(&data, "readers").unwrap().is_none());
        drop(reader);
        assert!(at_once(&data, "readers").unwrap().is_some());
    }
}
