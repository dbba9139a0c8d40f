//! Content by hash out of a folder of this machine. Nothing is fetched from a network: that would be the plane's own process,
//! with all its rights, and Windows has no half beside it yet.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom};
use std::os::windows::fs::OpenOptionsExt;
use std::path::PathBuf;

use jos_runtime::world::{Fetch, Offered};
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OPEN_REPARSE_POINT;

/// Files named by their SHA-256, or by anything: only their name is looked at here.
#[derive(Default)]
pub(super) struct Folder(pub(super) Option<PathBuf>);

impl Fetch for Folder {
    fn offered(&self, sha256: &str, from: u64) -> Option<Offered> {
        let path = self.0.as_ref()?.join(sha256);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
        let mut file = options.open(&path).ok()?;
        let meta = file.metadata().ok()?;
        if !meta.is_file() || file.seek(SeekFrom::Start(from)).is_err() {
            return None;
        }
        Some(Offered {
            place: path.display().to_string(),
            from,
            content: Box::new(file),
        })
    }

    fn fetch(&self, url: &str, _: u64, _: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        let scheme = url.split("://").next().unwrap_or_default();
        Err(format!(
            "this build cannot fetch {scheme}:// addresses: nothing is fetched on Windows yet"
        ))
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[]
    }
}
