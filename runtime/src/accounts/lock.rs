//! The lock that everybody takes who edits the account files: lckpwdf(3), `/etc/.pwd.lock`.

use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::disk::Disk;
use crate::world::Clock;

const FILE: &str = "/etc/.pwd.lock";
/// As long as the C library's own function waits.
const WAIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

/// What the lock is for.
const GUARDED: [&str; 4] = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];

/// The lock, held until it is dropped.
pub(crate) struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Whether `path` is edited under the lock.
    pub(crate) fn guards(path: &str) -> bool {
        GUARDED.contains(&path)
    }

    /// Takes it: an fcntl(2) lock on the whole file, as lckpwdf(3) does, so that useradd(8), passwd(1) and we exclude
    /// each other.
    pub(crate) fn take(disk: &Disk, clock: &dyn Clock) -> Result<Self, String> {
        let file = disk.lock_file(FILE).map_err(|e| e.to_string())?;
        let whole = libc::flock {
            l_type: libc::F_WRLCK as _,
            l_whence: libc::SEEK_SET as _,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        let mut waited = Duration::ZERO;
        loop {
            match fcntl(&file, FcntlArg::F_SETLK(&whole)) {
                Ok(_) => return Ok(Self(file)),
                Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) if waited < WAIT => {
                    clock.pause(PAUSE);
                    waited += PAUSE;
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    let mut holder = whole;
                    let known = fcntl(&file, FcntlArg::F_GETLK(&mut holder)).is_ok() && holder.l_pid > 0;
                    let who = if known {
                        format!("process {}", holder.l_pid)
                    } else {
                        "another process".into()
                    };
                    return Err(format!(
                        "{FILE}: {who} edits the accounts, and has for {} s",
                        WAIT.as_secs()
                    ));
                }
                Err(e) => return Err(format!("{FILE}: cannot lock it: {e}")),
            }
        }
    }
}
