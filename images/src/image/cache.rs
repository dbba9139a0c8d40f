//! Slots of the cache of bases: each appears whole, is never changed, and goes away when nothing asks for it any more.
//!
//! Owns: `base-KEY/`, the lock `base-KEY.lock` beside it, and `family` in it: what the slot was made for, without what the
//! world held at that moment. Whoever works with a slot holds its lock, shared; whoever makes or removes one holds it alone.
//! A lock's time is that of its last use.
//! Never: fails a build because something old could not be removed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::ImageError;
use crate::formats::hash::sha256;

/// A slot that nothing has asked for since is removed by the next build that makes one.
const LONGEST_IDLE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Where a slot says what it was made for.
const FAMILY: &str = "family";

/// What a slot is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe<'a> {
    /// Of the way it is made; a change of that is another text.
    pub(super) way: &'a str,
    /// What is asked for. A new slot takes the place of older ones of its family.
    pub(super) family: &'a str,
    /// What the world holds of that now.
    pub(super) state: &'a str,
}

/// A slot that is there, and stays as long as this is held.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) dir: PathBuf,
    _held: Arc<File>,
}

/// The slot of this recipe, made by `make` where it is not kept yet: whole, and by one build at a time.
pub(super) fn obtain(
    cache: &Path,
    recipe: Recipe<'_>,
    note: &dyn Fn(),
    make: &dyn Fn(&Path) -> Result<(), ImageError>,
) -> Result<Slot, ImageError> {
    let Recipe { way, family, state } = recipe;
    let name = format!("base-{}", sha256(format!("{way}\n{family}\n{state}").as_bytes()));
    let dir = cache.join(name);
    let family = sha256(family.as_bytes());
    let lock = dir.with_extension("lock");
    loop {
        let Some(held) = locked(&lock, File::lock_shared)? else {
            continue;
        };
        if dir.is_dir() {
            // Earlier versions wrote none.
            let at = dir.join(FAMILY);
            if !at.exists() {
                fs::write(&at, &family).map_err(ImageError::io(&at))?;
            }
            let _held = Arc::new(held);
            return Ok(Slot { dir, _held });
        }
        drop(held);
        let Some(own) = locked(&lock, File::lock)? else {
            continue;
        };
        if !dir.is_dir() {
            note();
            let new = dir.with_extension("new");
            drop(fs::remove_dir_all(&new));
            fs::create_dir_all(&new).map_err(ImageError::io(&new))?;
            let made = make(&new).and_then(|()| {
                let at = new.join(FAMILY);
                fs::write(&at, &family).map_err(ImageError::io(&at))
            });
            if let Err(error) = made {
                drop(fs::remove_dir_all(&new));
                return Err(error);
            }
            fs::rename(&new, &dir).map_err(ImageError::io(&dir))?;
            prune(cache, &dir, &family, &own);
        }
    }
}

/// Takes a lock; none where its file was removed while this waited for it.
fn locked(path: &Path, take: fn(&File) -> io::Result<()>) -> Result<Option<File>, ImageError> {
    // Making it anew sets its time as well.
    let file = File::create(path).map_err(ImageError::io(path))?;
    take(&file).map_err(ImageError::io(path))?;
    Ok(is_still(&file, path).then_some(file))
}

fn is_still(file: &File, path: &Path) -> bool {
    let number = |found: io::Result<fs::Metadata>| found.map(|m| (m.dev(), m.ino())).ok();
    number(file.metadata()).is_some_and(|own| number(fs::metadata(path)) == Some(own))
}

/// After `dir` was made, whose lock has just been taken: removes older slots of its family, slots that nothing has asked for
/// in a long time, and what builds left that ended in the middle. What is in use stays.
fn prune(cache: &Path, dir: &Path, family: &str, own: &File) {
    let now = own.metadata().and_then(|m| m.modified()).ok();
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path != dir) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(process) = name.strip_prefix("work-") {
            if !Path::new("/proc").join(process).exists() {
                drop(fs::remove_dir_all(&path));
            }
            continue;
        }
        let lock = path.with_extension("lock");
        if !name.starts_with("base-") || !path.is_dir() || lock == dir.with_extension("lock") {
            continue;
        }
        let left = path.extension() == Some(OsStr::new("new"));
        let superseded = fs::read_to_string(path.join(FAMILY)).is_ok_and(|found| found == family);
        let used = fs::metadata(&lock).and_then(|m| m.modified()).ok();
        let idle = now
            .zip(used)
            .and_then(|(now, used)| now.duration_since(used).ok())
            .is_some_and(|time| time > LONGEST_IDLE);
        if left || superseded || idle {
            remove(&path, &lock);
        }
    }
}

fn remove(path: &Path, lock: &Path) {
    let Ok(file) = File::options().create(true).truncate(false).write(true).open(lock) else {
        return;
    };
    if file.try_lock().is_err() || !is_still(&file, lock) {
        return;
    }
    // Whole or not at all, as it came.
    let gone = path.with_extension("new");
    if gone == path || fs::rename(path, &gone).is_ok() {
        drop(fs::remove_dir_all(&gone));
        drop(fs::remove_file(lock));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::SystemTime;

    use super::*;

    fn recipe<'a>(family: &'a str, state: &'a str) -> Recipe<'a> {
        let way = "w";
        Recipe { way, family, state }
    }

    fn made(cache: &Path, family: &str, state: &str) -> Slot {
        let make = |new: &Path| fs::write(new.join("content"), state).map_err(ImageError::io(new));
        obtain(cache, recipe(family, state), &|| {}, &make).expect("a slot")
    }

    fn names(cache: &Path) -> Vec<String> {
        let entries = fs::read_dir(cache).expect("a folder").flatten();
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_slot_is_made_once_and_found_from_then_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = made(dir.path(), "a", "1");
        let again = Cell::new(false);
        let make = |_: &Path| {
            again.set(true);
            Ok(())
        };
        let found = obtain(dir.path(), recipe("a", "1"), &|| {}, &make).expect("a slot");
        assert_eq!((found.dir, again.get()), (first.dir, false));
    }

    #[test]
    fn a_new_slot_takes_the_place_of_the_older_ones_of_its_family_and_of_no_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let old = made(dir.path(), "a", "1").dir;
        let other = made(dir.path(), "b", "1").dir;
        let new = made(dir.path(), "a", "2").dir;
        assert!(!old.exists() && !old.with_extension("lock").exists());
        assert!(new.is_dir() && other.is_dir());
        assert_eq!(names(dir.path()).len(), 4, "{:?}", names(dir.path()));
        // What was superseded can be asked for again.
        assert!(made(dir.path(), "a", "1").dir.is_dir());
    }

    #[test]
    fn what_a_build_works_with_stays_until_it_has_done() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = made(dir.path(), "a", "1");
        made(dir.path(), "a", "2");
        assert!(held.dir.join("content").is_file(), "it was taken away under a build");
        let old = held.dir.clone();
        drop(held);
        made(dir.path(), "a", "3");
        assert!(!old.exists());
    }

    #[test]
    fn what_nothing_has_asked_for_in_a_long_time_and_what_dead_builds_left_goes_away() {
        let dir = tempfile::tempdir().expect("a folder");
        let (idle, used) = (made(dir.path(), "a", "1").dir, made(dir.path(), "b", "1").dir);
        let long_ago = SystemTime::UNIX_EPOCH;
        for slot in [&idle, &used] {
            let lock = File::options().write(true).open(slot.with_extension("lock"));
            lock.and_then(|l| l.set_modified(long_ago)).expect("a lock");
        }
        drop(made(dir.path(), "b", "1"));
        let (torn, work) = (dir.path().join("base-torn.new"), dir.path().join("work-0"));
        let alive = dir.path().join(format!("work-{}", std::process::id()));
        for folder in [&torn, &work, &alive] {
            fs::create_dir(folder).expect("a folder");
        }
        made(dir.path(), "c", "1");
        assert!(
            !idle.exists() && !torn.exists() && !work.exists(),
            "{:?}",
            names(dir.path())
        );
        assert!(used.is_dir() && alive.is_dir(), "{:?}", names(dir.path()));
    }

    #[test]
    fn a_slot_that_could_not_be_made_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let make = |new: &Path| {
            fs::write(new.join("half"), "half").map_err(ImageError::io(new))?;
            Err(ImageError::Unfit("no".into()))
        };
        obtain(dir.path(), recipe("a", "1"), &|| {}, &make).expect_err("it fails");
        assert_eq!(names(dir.path()).len(), 1, "{:?}", names(dir.path()));
        assert!(made(dir.path(), "a", "1").dir.is_dir());
    }
}
