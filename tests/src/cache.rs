//! Costly things that many tests and later runs share: made once, kept outside the checkout (`$JOS_CACHE`, or
//! `~/.cache/jos`), never changed after they are made. A change of the recipe is a change of the name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The cache's folder, as scripts/lib/common.sh chooses it.
pub fn dir() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let dir = set("JOS_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("jos")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/jos")))
        .expect("JOS_CACHE or HOME is set");
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
    dir
}

/// The folder `name` in the cache; the first who asks makes it with `make`, which fills an empty folder. Others wait, in
/// this process or another. An interrupted making leaves nothing that is taken for the whole.
pub fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let dir = dir();
    let done = dir.join(name);
    let lock_path = dir.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).unwrap_or_else(|error| panic!("cannot make {}: {error}", lock_path.display()));
    lock.lock()
        .unwrap_or_else(|error| panic!("cannot lock {}: {error}", lock_path.display()));
    if !done.exists() {
        let unfinished = dir.join(format!("{name}.unfinished"));
        if unfinished.exists() {
            unmount_below(&unfinished);
            fs::remove_dir_all(&unfinished)
                .unwrap_or_else(|error| panic!("cannot remove {}: {error}", unfinished.display()));
        }
        fs::create_dir_all(&unfinished).unwrap_or_else(|error| panic!("cannot make {}: {error}", unfinished.display()));
        make(&unfinished);
        fs::rename(&unfinished, &done).unwrap_or_else(|error| panic!("cannot rename to {}: {error}", done.display()));
    }
    done
}

/// Unmounts what is mounted at `dir` or below it, the deepest first: a tool that was killed in the middle of making a root
/// leaves this machine's `/proc` and `/dev` in it, which nobody may then remove.
pub(crate) fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    for point in points
        .filter(|point| point.starts_with(dir))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        // Lazily: a process that is still ending holds it for a moment longer.
        crate::command::sh("umount", &["--lazy", &point.display().to_string()]).ok();
    }
}
