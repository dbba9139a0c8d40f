//! A disk that is small, and can be filled.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};

use crate::command::sh;

/// A small file system in memory, mounted where only this thread and what it starts can see it.
#[derive(Debug)]
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many MiB.
    ///
    /// # Panics
    /// If it does not work: only root can.
    pub(crate) fn mount(folder: &Path, size: u32) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("mounts of our own");
        sh("mount", &["--make-rprivate", "/"]).ok();
        fs::create_dir(folder).expect("a folder");
        let shown = folder.display().to_string();
        let options = format!("size={size}m,mode=0700");
        sh("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &shown]).ok();
        Self(folder.to_owned())
    }

    /// Fills it to the last byte.
    ///
    /// # Panics
    /// If it cannot be written to for another reason.
    pub(crate) fn fill(&self) {
        let mut filler = fs::File::options()
            .append(true)
            .create(true)
            .open(self.filler())
            .expect("a file");
        let mut chunk = vec![0; 1 << 20];
        while !chunk.is_empty() {
            match filler.write(&chunk) {
                Ok(0) => chunk.clear(),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    chunk.truncate(chunk.len() / 2);
                }
                Err(error) => panic!("the filler: {error}"),
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// If it was not filled.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = sh("umount", &["-l", &self.0.display().to_string()]);
    }
}
