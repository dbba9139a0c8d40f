//! The root file system: ext4, written by e2fsprogs' mke2fs and debugfs.
//!
//! `mke2fs -d` takes times and order from the building machine's disk, and owners from whoever builds. debugfs does one
//! write after the other, in our order, with our time and our owners: equal lists give equal bytes, and no right is needed.

use std::path::Path;
use std::process::Command;

use super::disk::Spot;
use super::layer::{Content, Kind, Layer};
use super::{ImageError, tools};

/// Features, independent of the building machine's mke2fs.conf.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// A root to be written.
pub(super) struct Root<'a> {
    pub(super) label: &'a str,
    pub(super) layer: &'a Layer,
    pub(super) uuid: &'a str,
    pub(super) epoch: u32,
    pub(super) bytes: u64,
}

impl Root<'_> {
    /// Writes it to its place, which is empty; `scratch` takes the contents that are in memory.
    pub(super) fn write(&self, to: &Spot, scratch: &Path) -> Result<(), ImageError> {
        let contents = scratch.join("contents");
        std::fs::create_dir_all(&contents).map_err(ImageError::io(&contents))?;
        let commands = self.commands(&contents)?;
        // A small file system that takes a large disk at first boot: room for the descriptors of 2 TiB.
        let grows = if self.bytes < (1 << 30) {
            ",resize=536870912"
        } else {
            ""
        };
        let seed = format!(
            "offset={},hash_seed={},lazy_itable_init=0,lazy_journal_init=1{grows}",
            to.at, self.uuid
        );
        // What would be given to so small a one is too short for the kernel's own way to let it grow while it is mounted.
        let journal: &[&str] = if self.bytes < (128 << 20) {
            &["-J", "size=16"]
        } else {
            &[]
        };
        let made = tools::command("mke2fs")
            .args([
                "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "1",
            ])
            .args(journal)
            .args(["-O", FEATURES, "-L", self.label, "-U", self.uuid, "-E", &seed])
            .arg(&to.disk)
            .arg(format!("{}k", self.bytes / 1024))
            .env("E2FSPROGS_FAKE_TIME", self.epoch.to_string())
            .env("MKE2FS_CONFIG", "/dev/null")
            .stdin(std::process::Stdio::null())
            .output();
        done("mke2fs", made.map_err(ImageError::io(&to.disk))?)?;
        let help = "raise `size` under [image] if it speaks of no free space";
        let script = scratch.join("commands");
        debugfs(&commands, to, &script, self.epoch, help)?;
        std::fs::remove_dir_all(&contents).map_err(ImageError::io(&contents))
    }

    fn commands(&self, contents: &Path) -> Result<String, ImageError> {
        let mut out = format!("set_current_time @{}\n", self.epoch);
        let mut entered = None;
        for (number, (path, item)) in self.layer.items().enumerate() {
            // From within its folder: debugfs looks each name up anew, and does so from the top otherwise.
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if entered != Some(folder) {
                out.push_str(&format!("cd {}\n", quoted(&format!("/{folder}"))?));
                entered = Some(folder);
            }
            let name = quoted(name)?;
            let kind = match &item.kind {
                Kind::Dir => {
                    out.push_str(&format!("mkdir {name}\n"));
                    0o040_000
                }
                Kind::Link(target) => {
                    out.push_str(&format!("symlink {name} {}\n", quoted(target)?));
                    0o120_000
                }
                Kind::File(Content::Disk(at)) => {
                    out.push_str(&format!("write {} {name}\n", from(at)?));
                    0o100_000
                }
                Kind::File(Content::Bytes(bytes)) => {
                    let at = contents.join(number.to_string());
                    std::fs::write(&at, bytes).map_err(ImageError::io(&at))?;
                    out.push_str(&format!("write {} {name}\n", from(&at)?));
                    0o100_000
                }
            };
            if kind != 0o120_000 {
                out.push_str(&format!("sif {name} mode 0{:o}\n", kind | item.mode));
            }
            for (field, value) in [("uid", item.uid), ("gid", item.gid)] {
                if value != 0 {
                    out.push_str(&format!("sif {name} {field} {value}\n"));
                }
            }
        }
        Ok(out)
    }
}

/// A tool of e2fsprogs that is to work on the file system at this place.
pub(super) fn at(tool: &mut Command, to: &Spot) -> Result<(), ImageError> {
    let name = to.disk.file_name().unwrap_or_default().to_string_lossy();
    let folder = to.disk.parent().filter(|p| !p.as_os_str().is_empty());
    // From within its folder, whose name may hold a question mark: options stand behind the first.
    tool.current_dir(folder.unwrap_or(Path::new(".")));
    if name.contains('?') {
        return Err(ImageError::Unfit(format!(
            "{name:?}: a disk's name with a question mark"
        )));
    }
    tool.arg(format!("{name}?offset={}", to.at));
    Ok(())
}

/// Has debugfs write into the file system at `to`; it reads its commands from `script`.
pub(super) fn debugfs(commands: &str, to: &Spot, script: &Path, epoch: u32, help: &str) -> Result<(), ImageError> {
    std::fs::write(script, commands).map_err(ImageError::io(script))?;
    let mut tool = tools::command("debugfs");
    let whole = std::path::absolute(script).map_err(ImageError::io(script))?;
    tool.arg("-w").arg("-f").arg(whole);
    at(&mut tool, to)?;
    let wrote = tool
        .env("E2FSPROGS_FAKE_TIME", epoch.to_string())
        .output()
        .map_err(ImageError::io(script))?;
    // It ends with 0 whatever happened; what went wrong stands in its words.
    let said = String::from_utf8_lossy(&wrote.stderr).into_owned();
    let wrong: Vec<&str> = said
        .lines()
        .filter(|l| !l.starts_with("debugfs ") && !l.is_empty())
        .collect();
    if !wrong.is_empty() || !wrote.status.success() {
        return Err(ImageError::Tool {
            tool: "debugfs".into(),
            said: wrong[..wrong.len().min(10)].join("\n"),
            help: help.into(),
        });
    }
    std::fs::remove_file(script).map_err(ImageError::io(script))
}

fn done(tool: &str, out: std::process::Output) -> Result<(), ImageError> {
    if out.status.success() {
        return Ok(());
    }
    Err(ImageError::Tool {
        tool: tool.into(),
        said: String::from_utf8_lossy(&out.stderr).into_owned(),
        help: String::new(),
    })
}

pub(super) fn from(path: &Path) -> Result<String, ImageError> {
    let path = std::path::absolute(path).map_err(ImageError::io(path))?;
    let text = path
        .to_str()
        .ok_or_else(|| ImageError::Unfit(format!("{}: expected a path of UTF-8", path.display())))?;
    quoted(text)
}

/// A word for debugfs. Its parser doubles quotes; a line feed would start another command.
pub(super) fn quoted(text: &str) -> Result<String, ImageError> {
    if text.contains('\n') {
        return Err(ImageError::Unfit(format!("{text:?}: a name with a line break")));
    }
    Ok(format!("\"{}\"", text.replace('"', "\"\"")))
}
