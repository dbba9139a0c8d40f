//! Who runs: a lock file that names its holder, released by the kernel when the holder ends however it ends.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A held lock.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// Between two tries for a lock, and how many there are: a look at a lock ([`Lock::look`]) holds it for an instant.
const PAUSE: u8 = 5;
const TRIES: u32 = 20;

/// What a look at a lock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nobody holds it, or there is none.
    No,
    /// This process does.
    By(u32),
    /// A process does that has not written its id yet.
    Unnamed,
    /// The file is another user's, who lets nobody look.
    Hidden,
}

impl Held {
    /// Whether somebody is known to hold it.
    pub(crate) fn is_held(self) -> bool {
        matches!(self, Self::By(_) | Self::Unnamed)
    }

    /// Who, where that is known.
    pub(crate) fn pid(self) -> Option<u32> {
        match self {
            Self::By(pid) => Some(pid),
            _ => None,
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::By(pid) => write!(f, "process {pid}"),
            _ => f.write_str("a process that has not said its id yet"),
        }
    }
}

/// Why a lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Somebody holds it.
    #[error("it already runs as {0}")]
    Held(Held),
    /// The file cannot be used.
    #[error("{path}: cannot lock: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock and writes this process' id into it, or says who holds it.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File {
            path: path.display().to_string(),
            source,
        };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(path).map_err(failed)?;
        for _ in 0..TRIES {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut file) => {
                    let write = |file: &mut File| {
                        file.set_len(0)?;
                        file.rewind()?;
                        writeln!(file, "{}", std::process::id())
                    };
                    write(&mut file).map_err(failed)?;
                    return Ok(Self { _file: file });
                }
                Err((held, Errno::EWOULDBLOCK)) => file = held,
                Err((_, errno)) => return Err(failed(errno.into())),
            }
            // The kernel tells nobody when a lock is released.
            let _ = nix::poll::poll(&mut [], PAUSE);
        }
        Err(LockError::Held(named(&mut file)))
    }

    /// Who holds the lock now.
    pub(crate) fn look(path: &Path) -> Held {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return Held::Hidden,
            Err(_) => return Held::No,
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Held::No,
            Err((mut file, _)) => named(&mut file),
        }
    }
}

/// The process that the file of a held lock names. One that is gone held it earlier: its successor has yet to write.
fn named(file: &mut File) -> Held {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    let pid = text.trim().parse().ok().filter(|pid: &i32| *pid > 0);
    match pid {
        Some(pid) if kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH) => Held::By(pid.unsigned_abs()),
        _ => Held::Unnamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_never_a_process_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(Lock::look(&path), Held::No);
        let held = Lock::take(&path).unwrap();
        assert_eq!(Lock::look(&path), Held::By(std::process::id()));
        assert!(matches!(Lock::take(&path), Err(LockError::Held(Held::By(_)))));
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        for text in [
            gone.id().to_string(),
            "0".into(),
            "-1".into(),
            "x".into(),
            String::new(),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Lock::look(&path), Held::Unnamed);
        }
        drop(held);
        assert_eq!(Lock::look(&path), Held::No);
    }

    #[test]
    fn a_look_at_a_lock_keeps_nobody_from_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        drop(Lock::take(&path).unwrap());
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    Lock::look(&path);
                }
            });
            let taken = (0..200).all(|_| Lock::take(&path).is_ok());
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(taken);
        });
    }
}
