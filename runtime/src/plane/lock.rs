//! `apply.lock`: one apply of an agent at a time.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::time::Duration;

use super::{Plane, PlaneError};
use crate::disk::DiskError;

/// Between two looks at a lock that somebody else holds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

impl Plane<'_> {
    /// Takes `apply.lock`, waiting as long as the setup says. It goes with the file that is given back.
    pub(super) fn lock(&self) -> Result<File, PlaneError> {
        let path = self.at("apply.lock");
        let mut file = self.data.lock_file(&path)?;
        let io = |e| DiskError::io(self.data.show(&path), "lock it", e);
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(io(e).into()),
                Err(TryLockError::WouldBlock) if waited < self.setup.wait => {
                    self.world.clock.pause(LOCK_PAUSE);
                    waited += LOCK_PAUSE;
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = (&mut file).take(32).read_to_string(&mut holder);
                    // Behind the first line may stand what is left of one of before.
                    let holder = holder.lines().next().unwrap_or_default();
                    let holder = if holder.trim().is_empty() {
                        "unknown".into()
                    } else {
                        holder.trim().to_owned()
                    };
                    return Err(PlaneError::Locked {
                        name: self.setup.name.clone(),
                        holder,
                    });
                }
            }
        }
        Self::note_holder(&mut file).map_err(io)?;
        Ok(file)
    }

    /// Who holds it, for whoever waits. What stands there already is not written again: a quiet turn costs the flash nothing.
    fn note_holder(file: &mut File) -> std::io::Result<()> {
        let (mut said, holder) = (String::new(), format!("{:<10}", std::process::id()));
        let read = (&mut *file).take(32).read_to_string(&mut said);
        if read.is_err() || said.lines().next() != Some(holder.as_str()) {
            file.rewind()?;
            writeln!(file, "{holder}")?;
        }
        Ok(())
    }
}
