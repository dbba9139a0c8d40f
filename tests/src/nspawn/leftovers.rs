//! What a machine leaves behind, by its own end or by its test's: a guest, a mount, a folder, a cgroup.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{HIERARCHIES, is_init};
use crate::{cache, wait};

/// Removes what tests that were killed have left: folders named after a process that is gone.
pub(crate) fn sweep(machines: &Path) {
    let Ok(entries) = fs::read_dir(machines) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let leader = fs::read_to_string(entry.path().join("leader")).unwrap_or_default();
            kill_guest(leader.parse().unwrap_or(0), &name);
            remove(&entry.path(), &name);
        }
    }
}

/// Ends the guest `name` whose PID 1 is `leader`, if that is still what `leader` is: ids are used again.
pub(super) fn kill_guest(leader: u32, name: &str) {
    let Some(pid) = i32::try_from(leader).ok().filter(|pid| *pid > 1) else {
        return;
    };
    let ours = || {
        is_init(leader)
            && fs::read_to_string(format!("/proc/{leader}/mountinfo"))
                .unwrap_or_default()
                .contains(&format!("/{name}/"))
    };
    if ours() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        wait::until_true(&format!("{name}'s PID 1 is gone"), Duration::from_secs(30), || !ours());
    }
}

/// Unmounts and removes a machine's folder, and its cgroups.
pub(super) fn remove(dir: &Path, name: &str) {
    cache::unmount_below(dir);
    if let Err(error) = fs::remove_dir_all(dir) {
        eprintln!(
            "cannot remove {}: {error}; the next machine will try again",
            dir.display()
        );
    }
    for hierarchy in HIERARCHIES {
        let group = Path::new(hierarchy).join(name);
        // Killed processes leave their cgroup a moment after they leave the process table.
        wait::until_true(&format!("{} is gone", group.display()), Duration::from_secs(30), || {
            remove_cgroup(&group);
            !group.exists()
        });
    }
}

/// A cgroup goes when those below it have gone; its files are not files.
fn remove_cgroup(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        remove_cgroup(&entry.path());
    }
    drop(fs::remove_dir(group));
}
