//! Macros and build scripts run on the machine that compiles, whatever it compiles for: the triple that was compiled first
//! lends its own to those that cargo is told the same profile for.
//!
//! cargo would compile them for each triple's folder anew, and one folder for all would let only one triple be compiled at a
//! time. They are copied, not linked, since cargo writes into what it finds; with their times, by which cargo knows what is
//! new. What does not fit, cargo compiles again: nothing of a program depends on who lent.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The folders of what runs on this machine, of triples that are compiled, by the environment that theirs was made in.
#[derive(Default)]
pub(super) struct Lent {
    whole: Mutex<Vec<(Environment, PathBuf)>>,
}

type Environment = &'static [(&'static str, &'static str)];

impl Lent {
    /// Puts what another triple's compilation left into `target`, the folder of a triple that was never compiled here.
    pub(super) fn take(&self, environment: Environment, target: &Path) {
        let own = target.join(PROFILE);
        if own.exists() {
            return;
        }
        let whole = self.whole.lock().map(|whole| whole.clone()).unwrap_or_default();
        let Some((_, lender)) = whole.into_iter().find(|(of, _)| *of == environment) else {
            return;
        };
        if copy(&lender, &own).is_err() {
            // Half of it could look like all of it.
            let _ = fs::remove_dir_all(&own);
        }
    }

    /// `target` was compiled: nobody writes there before this program ends.
    pub(super) fn offer(&self, environment: Environment, target: &Path) {
        if let Ok(mut whole) = self.whole.lock()
            && whole.iter().all(|(of, _)| *of != environment)
        {
            whole.push((environment, target.join(PROFILE)));
        }
    }
}

/// Beside it lies a folder named after the triple, with all that is compiled for that.
const PROFILE: &str = "device";

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (at, there) = (entry.path(), to.join(entry.file_name()));
        let about = entry.metadata()?;
        if about.is_dir() {
            copy(&at, &there)?;
        } else {
            fs::copy(&at, &there)?;
            File::options()
                .append(true)
                .open(&there)?
                .set_modified(about.modified()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_first_that_is_whole_lends_to_those_that_have_nothing_with_its_times() {
        let dir = tempfile::tempdir().expect("folder");
        let (first, second, third) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        let deps = |target: &Path| target.join("device/deps/libsyn.rlib");
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        for (target, text) in [(&first, "of a"), (&third, "of c")] {
            fs::create_dir_all(target.join("device/deps")).expect("folder");
            fs::write(deps(target), text).expect("written");
            let file = File::options().append(true).open(deps(target)).expect("open");
            file.set_modified(long_ago).expect("an older time");
        }
        let lent = Lent::default();
        lent.take(&[], &second);
        assert!(!second.exists(), "nobody was compiled yet");
        lent.offer(&[], &first);
        lent.take(&[("CARGO_PROFILE_DEVICE_LTO", "off")], &second);
        assert!(!second.exists(), "of another profile");
        lent.take(&[], &second);
        lent.take(&[], &third);
        assert_eq!(fs::read_to_string(deps(&second)).expect("lent"), "of a");
        let times =
            [&first, &second].map(|target| fs::metadata(deps(target)).expect("there").modified().expect("time"));
        assert_eq!(times[0], times[1]);
        assert_eq!(fs::read_to_string(deps(&third)).expect("its own"), "of c");
        // The copy is a file of its own.
        fs::write(deps(&second), "of b").expect("written");
        assert_eq!(fs::read_to_string(deps(&first)).expect("there"), "of a");
    }
}
