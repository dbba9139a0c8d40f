//! Writes what an appliance changes into the root of a disk, in place: debugfs takes away, makes and sets, one after the other,
//! in our order, with our time and owners. Nothing else of the disk is touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::super::disk::Spot;
use super::super::kinds::{self, Holds};
use super::super::layer::{Content, Item, Kind, Layer};
use super::super::table::Entry;
use super::super::{ImageError, ext4, tools};

/// Bytes that a root keeps free, so that its first boot can write before it has grown.
const LEFT_FREE: u64 = 8 << 20;

/// Where to.
pub(super) struct Into<'a> {
    pub(super) disk: &'a Path,
    /// The partition.
    pub(super) root: &'a Entry,
    /// The base, as errors name it.
    pub(super) shown: &'a str,
    pub(super) epoch: u32,
}

/// Makes of a root that is `before` one that is `after`.
pub(super) fn write(into: &Into<'_>, before: &Layer, after: &Layer) -> Result<(), ImageError> {
    let folder = into.disk.parent().unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(ImageError::io(folder))?;
    let contents = folder.join("contents");
    fs::create_dir_all(&contents).map_err(ImageError::io(&contents))?;
    let changes = Changes::of(before, after, &contents)?;
    room(into, &changes)?;
    let at = Spot {
        disk: into.disk.to_owned(),
        at: into.root.start,
    };
    let commands = format!("set_current_time @{}\n{}", into.epoch, changes.commands);
    let script = folder.join("commands");
    ext4::debugfs(&commands, &at, &script, into.epoch, "")?;
    // What was written by others and then by us is judged before it leaves the house.
    let help = "this is no fault of yours: please report it, with where the base is to be had";
    let mut check = tools::command("e2fsck");
    check.arg("-fn");
    ext4::at(&mut check, &at)?;
    tools::run(&mut check, None, help)?;
    fs::remove_dir_all(&contents).map_err(ImageError::io(&contents))
}

/// Refuses a root that is too full, in words that are more of use than debugfs's.
fn room(into: &Into<'_>, changes: &Changes) -> Result<(), ImageError> {
    let Holds::Ext(ext) = kinds::look(into.disk, into.root)? else {
        return Ok(());
    };
    let needed: u64 = changes
        .sizes
        .iter()
        .map(|size| size.div_ceil(ext.block).max(1) * ext.block)
        .sum();
    let files = changes.sizes.len() as u64;
    if needed + LEFT_FREE <= ext.free && files < ext.free_files {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(ImageError::Refused {
        what: format!(
            "{}: partition {}: its file system has {} MiB and {} files free: the appliance needs {} MiB and {files} files",
            into.shown,
            into.root.number,
            mib(ext.free),
            ext.free_files,
            mib(needed + LEFT_FREE),
        ),
        help: "make the base larger (truncate, sfdisk, resize2fs), and pin its new hash".into(),
    })
}

/// What is to be done.
#[derive(Default)]
struct Changes {
    commands: String,
    /// Of what is made new.
    sizes: Vec<u64>,
}

impl Changes {
    fn of(before: &Layer, after: &Layer, contents: &Path) -> Result<Self, ImageError> {
        let mut all = Self::default();
        let there: BTreeMap<&str, &Item> = after.items().collect();
        let mut gone: Vec<(&str, &Item)> = before.items().filter(|(path, _)| !there.contains_key(path)).collect();
        // What lies in a folder goes before it.
        gone.reverse();
        for (path, item) in gone {
            all.remove(path, item)?;
        }
        for (number, (path, item)) in after.items().enumerate() {
            let old = before.get(path);
            let kept = match old {
                Some(old) => same(&old.kind, &item.kind)?,
                None => false,
            };
            if let Some(old) = old.filter(|_| !kept) {
                if old.kind == Kind::Dir {
                    return Err(ImageError::Unfit(format!(
                        "/{path} is a folder of the base: the appliance has something else there"
                    )));
                }
                all.remove(path, old)?;
            }
            if !kept {
                all.make(path, item, &contents.join(number.to_string()))?;
            }
            let old = old.filter(|_| kept);
            all.set(path, item, old)?;
        }
        Ok(all)
    }

    fn say(&mut self, words: &str) {
        self.commands.push_str(words);
        self.commands.push('\n');
    }

    fn remove(&mut self, path: &str, item: &Item) -> Result<(), ImageError> {
        let command = if item.kind == Kind::Dir { "rmdir" } else { "rm" };
        self.say(&format!("{command} {}", ext4::quoted(path)?));
        Ok(())
    }

    fn make(&mut self, path: &str, item: &Item, at: &Path) -> Result<(), ImageError> {
        let quoted = ext4::quoted(path)?;
        let (line, size) = match &item.kind {
            Kind::Dir => (format!("mkdir {quoted}"), 1),
            Kind::Link(target) => (format!("symlink {quoted} {}", ext4::quoted(target)?), 1),
            Kind::File(Content::Disk(from)) => {
                let size = fs::metadata(from).map_err(ImageError::io(from))?.len();
                (format!("write {} {quoted}", ext4::from(from)?), size)
            }
            Kind::File(Content::Bytes(bytes)) => {
                fs::write(at, bytes).map_err(ImageError::io(at))?;
                (format!("write {} {quoted}", ext4::from(at)?), bytes.len() as u64)
            }
        };
        self.sizes.push(size);
        self.say(&line);
        Ok(())
    }

    /// Owner and mode: all of them for what was made, else what is another.
    fn set(&mut self, path: &str, item: &Item, old: Option<&Item>) -> Result<(), ImageError> {
        let quoted = ext4::quoted(path)?;
        let kind = match &item.kind {
            Kind::Dir => 0o040_000,
            Kind::File(_) => 0o100_000,
            Kind::Link(_) => 0,
        };
        if kind != 0 && old.is_none_or(|old| old.mode != item.mode) {
            self.say(&format!("sif {quoted} mode 0{:o}", kind | item.mode));
        }
        for (field, value, was) in [
            ("uid", item.uid, old.map_or(0, |o| o.uid)),
            ("gid", item.gid, old.map_or(0, |o| o.gid)),
        ] {
            if value != was {
                self.say(&format!("sif {quoted} {field} {value}"));
            }
        }
        Ok(())
    }
}

fn same(a: &Kind, b: &Kind) -> Result<bool, ImageError> {
    let bytes = |content: &Content| match content {
        Content::Bytes(bytes) => Ok(bytes.clone()),
        Content::Disk(at) => fs::read(at).map_err(ImageError::io(at)),
    };
    match (a, b) {
        (Kind::File(a), Kind::File(b)) if a != b => Ok(bytes(a)? == bytes(b)?),
        _ => Ok(a == b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_another_is_written_and_what_was_taken_away_goes_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut before = Layer::default();
        before.file("etc/same", 0o644, "same");
        before.file("etc/other", 0o644, "old");
        before.file("etc/mode", 0o644, "mode");
        before.file("gone/in/it", 0o644, "x");
        let mut after = before.clone();
        after.remove("gone");
        after.file("etc/other", 0o600, "new");
        after.file("etc/same", 0o644, "same");
        let mut owned = after.get("etc/mode").expect("an item").clone();
        (owned.mode, owned.uid) = (0o600, 7);
        after.set("etc/mode", owned);
        after.dir("srv/new", 0o755, 0, 0);
        let changes = Changes::of(&before, &after, dir.path()).expect("changes");
        let at = |number: usize| dir.path().join(number.to_string()).display().to_string();
        let expected = format!(
            "rm \"gone/in/it\"\nrmdir \"gone/in\"\nrmdir \"gone\"\nsif \"etc/mode\" mode 0100600\nsif \"etc/mode\" uid 7\n\
             rm \"etc/other\"\nwrite \"{}\" \"etc/other\"\nsif \"etc/other\" mode 0100600\nmkdir \"srv\"\nsif \"srv\" mode 040755\n\
             mkdir \"srv/new\"\nsif \"srv/new\" mode 040755\n",
            at(2)
        );
        assert_eq!(changes.commands, expected);
        assert_eq!(changes.sizes, [3, 1, 1]);
    }
}
