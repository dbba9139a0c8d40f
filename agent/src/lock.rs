//! Who runs: a lock file that names its holder, released by the kernel when the holder ends however it ends.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// A held lock.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// Why a lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Somebody holds it.
    #[error("it already runs as process {0}")]
    Held(u32),
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
        let file = options.open(path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let write = |file: &mut File| {
                    file.set_len(0)?;
                    file.rewind()?;
                    writeln!(file, "{}", std::process::id())
                };
                write(&mut file).map_err(failed)?;
                Ok(Self { _file: file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => Err(LockError::Held(pid(&mut file))),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// Who holds the lock now.
    pub(crate) fn holder(path: &Path) -> Option<u32> {
        let file = File::open(path).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => None,
            Err((mut file, _)) => Some(pid(&mut file)),
        }
    }
}

fn pid(file: &mut File) -> u32 {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    text.trim().parse().unwrap_or(0)
}
