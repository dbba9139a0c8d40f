//! The boot file system: FAT32, written by mtools.

use std::path::Path;

use super::disk::Spot;
use super::{ImageError, tools};

/// A boot file system to be written.
pub(super) struct Boot<'a> {
    pub(super) label: &'a str,
    /// Eight hexadecimal digits.
    pub(super) serial: &'a str,
    pub(super) epoch: u32,
    pub(super) bytes: u64,
    /// Path and content, folders before what lies in them by sorting.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Boot<'_> {
    /// Writes it to its place, which is empty.
    pub(super) fn write(&self, to: &Spot, scratch: &Path) -> Result<(), ImageError> {
        let mtool = |program: &str| {
            let mut command = tools::command(program);
            command
                .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
                .arg("-i")
                .arg(format!("{}@@{}", to.disk.display(), to.at));
            command
        };
        let sectors = (self.bytes / 512).to_string();
        tools::run(
            mtool("mformat").args([
                "-F",
                "-T",
                &sectors,
                "-h",
                "255",
                "-s",
                "63",
                "-N",
                self.serial,
                "-v",
                self.label,
                "::",
            ]),
            None,
            "",
        )?;
        let mut files = self.files.clone();
        files.sort();
        let mut folders: Vec<&str> = Vec::new();
        let at = scratch.join("boot-file");
        for (path, bytes) in &files {
            for (end, _) in path.match_indices('/') {
                let folder = &path[..end];
                if !folders.contains(&folder) {
                    tools::run(mtool("mmd").arg(format!("::{folder}")), None, "")?;
                    folders.push(folder);
                }
            }
            std::fs::write(&at, bytes).map_err(ImageError::io(&at))?;
            // -m keeps the file's time, which is ours.
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(self.epoch));
            std::fs::File::options()
                .write(true)
                .open(&at)
                .and_then(|f| f.set_modified(time))
                .map_err(ImageError::io(&at))?;
            tools::run(mtool("mcopy").arg("-m").arg(&at).arg(format!("::{path}")), None, "")?;
        }
        std::fs::remove_file(&at).map_err(ImageError::io(&at))
    }
}
