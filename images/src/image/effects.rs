//! The baseline's effects in a root that is not running: `jos agent apply --root`.
//!
//! `jos` works on a folder: the base's files as hard links, and ours beside them, under fakeroot(1), so that owners are kept
//! without being root. Since it changes no file that has two names, those that it may change are copies: settings, and
//! whatever the state names. What it changed becomes part of the list. Its ledger and keys stay outside: every device makes
//! its own, finds the baseline in force and notes that.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use super::base::Base;
use super::layer::{Content, Item, Kind, Layer};
use super::{ImageError, Places, jos, tools};
use crate::bake::Appliance;
use crate::targets::System;

/// Gives owners, applies, then lists all paths, and packs what has no second link: what is not the base's, or a copy.
const SCRIPT: &str = r#"
(cd "$2" && xargs -0 -r -n 2 chown -h < "$3/owners")
"$1" agent apply "$2/usr/share/jos/baseline.json" --source baseline --root "$2" --state-dir "$3/state" >&2
cd "$2"
find . -mindepth 1 -printf '%P\0' > "$3/paths"
find . -mindepth 1 '(' -type d -o -links 1 ')' -print0 | sort -z |
    tar --create --file "$3/delta.tar" --format=gnu --numeric-owner --no-recursion --null --files-from -
"#;

/// Has `jos` bring the baseline about, and takes over what it did.
pub(super) fn baseline(layer: &mut Layer, base: &Base, app: &Appliance, places: &Places) -> Result<(), ImageError> {
    let Some(state) = app.baselines.get(&System::Debian) else {
        return Ok(());
    };
    // Beside the base: hard links do not leave a file system.
    let work = places.cache.join(format!("work-{}", std::process::id()));
    let _gone = Scratch(&work);
    fs::create_dir_all(&work).map_err(ImageError::io(&work))?;
    let root = work.join("root");
    materialise(layer, base, &root)?;
    let copied = copies(layer, &serde_json::to_value(&state.state).unwrap_or_default());
    own(layer, &copied, &work)?;
    let mut command = tools::command("fakeroot");
    command
        .args(["--", "sh", "-euc", SCRIPT, "sh"])
        .arg(jos()?)
        .arg(&root)
        .arg(&work);
    tools::run(
        &mut command,
        None,
        "the baseline must hold on the image's root; `jos agent plan BASELINE --root DIR` shows what it would change",
    )?;
    take_over(layer, &work)
}

fn materialise(layer: &Layer, base: &Base, root: &Path) -> Result<(), ImageError> {
    tools::run(tools::command("cp").arg("-al").arg(base.tree()).arg(root), None, "")?;
    let there: Vec<_> = base.paths()?;
    let kept: BTreeSet<&str> = layer.items().map(|(path, _)| path).collect();
    // What was taken away goes away here, deepest first.
    for path in there.iter().rev().filter(|p| !kept.contains(p.as_str())) {
        let at = root.join(path);
        let gone = if at.is_dir() && !at.is_symlink() {
            fs::remove_dir(&at)
        } else {
            fs::remove_file(&at)
        };
        // Devices of the base are not in its folder.
        drop(gone);
    }
    for (path, item) in layer.items() {
        let at = root.join(path);
        let io = ImageError::io(at.clone());
        match &item.kind {
            Kind::Dir => {
                if !at.is_dir() {
                    fs::create_dir_all(&at)
                        .and_then(|()| fs::set_permissions(&at, fs::Permissions::from_mode(item.mode | 0o700)))
                        .map_err(io)?;
                }
            }
            Kind::Link(target) => {
                if fs::read_link(&at).ok().as_deref() != Some(Path::new(target)) {
                    drop(fs::remove_file(&at));
                    symlink(target, &at).map_err(io)?;
                }
            }
            Kind::File(Content::Bytes(bytes)) => {
                drop(fs::remove_file(&at));
                fs::write(&at, bytes)
                    .and_then(|()| fs::set_permissions(&at, fs::Permissions::from_mode(item.mode)))
                    .map_err(io)?;
            }
            Kind::File(Content::Disk(_)) => {}
        }
    }
    Ok(())
}

/// The base's files that the state may change: what lies in /etc, and every path that the state names.
fn copies(layer: &Layer, state: &Value) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    strings(state, &mut |text| {
        if text.starts_with('/') {
            named.insert(layer.resolved(text));
        }
    });
    let changeable = |path: &str| path.starts_with("etc/") || named.contains(path);
    let files = layer
        .items()
        .filter(|(path, item)| matches!(item.kind, Kind::File(Content::Disk(_))) && changeable(path));
    files.map(|(path, _)| path.to_owned()).collect()
}

fn strings(value: &Value, each: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, each)),
        Value::Object(entries) => entries.values().for_each(|item| strings(item, each)),
        _ => {}
    }
}

/// Puts copies in the place of links, and writes down the owners of those and of our own files.
fn own(layer: &Layer, copied: &BTreeSet<String>, work: &Path) -> Result<(), ImageError> {
    let mut owners = Vec::new();
    for (path, item) in layer.items() {
        let at = work.join("root").join(path);
        match &item.kind {
            Kind::File(Content::Disk(from)) if copied.contains(path) => {
                fs::remove_file(&at)
                    .and_then(|()| fs::copy(from, &at))
                    .map_err(ImageError::io(&at))?;
            }
            Kind::File(Content::Bytes(_)) => {}
            _ => continue,
        }
        if (item.uid, item.gid) != (0, 0) {
            owners.extend_from_slice(format!("{}:{}\0{path}\0", item.uid, item.gid).as_bytes());
        }
    }
    let list = work.join("owners");
    fs::write(&list, owners).map_err(ImageError::io(&list))
}

/// Takes what is new or other from the archive, and drops what is gone.
fn take_over(layer: &mut Layer, work: &Path) -> Result<(), ImageError> {
    let list = work.join("paths");
    let text = fs::read(&list).map_err(ImageError::io(&list))?;
    let there: BTreeSet<String> = text
        .split(|b| *b == 0)
        .filter(|p| !p.is_empty())
        .map(|p| String::from_utf8_lossy(p).into_owned())
        .collect();
    let gone: Vec<String> = layer
        .items()
        .filter(|(path, _)| !there.contains(*path))
        .map(|(path, _)| path.to_owned())
        .collect();
    for path in gone {
        layer.remove(&path);
    }
    let at = work.join("delta.tar");
    let file = fs::File::open(&at).map_err(ImageError::io(&at))?;
    let mut archive = tar::Archive::new(std::io::BufReader::new(file));
    for entry in archive.entries().map_err(ImageError::io(&at))? {
        let entry = entry.map_err(ImageError::io(&at))?;
        let Some((path, mut item)) = item(entry, &at)? else {
            continue;
        };
        let same = match layer.get(&path) {
            // Owners of the base's folders are not in the folder it was unpacked to.
            Some(known) => match (&known.kind, &item.kind) {
                (Kind::Dir, Kind::Dir) => true,
                (Kind::File(Content::Bytes(a)), Kind::File(Content::Bytes(b))) => {
                    a == b && known.mode == item.mode && (item.uid, item.gid) == (known.uid, known.gid)
                }
                (Kind::File(Content::Disk(from)), Kind::File(Content::Bytes(b))) => {
                    let there = fs::metadata(from).map_err(ImageError::io(from))?.permissions().mode() & 0o7777;
                    if there == item.mode {
                        // Nor are all its modes: what was not changed is the base's own.
                        item.mode = known.mode;
                    }
                    let a = fs::read(from).map_err(ImageError::io(from))?;
                    a == *b && known.mode == item.mode && (item.uid, item.gid) == (known.uid, known.gid)
                }
                (a, b) => a == b,
            },
            None => false,
        };
        if !same {
            layer.put(&path, item);
        }
    }
    Ok(())
}

fn item(mut entry: tar::Entry<'_, impl std::io::Read>, at: &Path) -> Result<Option<(String, Item)>, ImageError> {
    let io = || ImageError::io(at.to_owned());
    let path = entry.path().map_err(io())?.to_string_lossy().into_owned();
    let path = path.trim_start_matches("./").trim_matches('/').to_owned();
    let kind = match entry.header().entry_type() {
        tar::EntryType::Directory => Kind::Dir,
        tar::EntryType::Symlink => {
            let target = entry.link_name().map_err(io())?.unwrap_or_default();
            Kind::Link(target.to_string_lossy().into_owned())
        }
        tar::EntryType::Regular => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).map_err(io())?;
            Kind::File(Content::Bytes(bytes))
        }
        _ => return Ok(None),
    };
    let header = entry.header();
    let number = |n: u64| u32::try_from(n).unwrap_or_default();
    let item = Item {
        mode: header.mode().map_err(io())? & 0o7777,
        uid: number(header.uid().map_err(io())?),
        gid: number(header.gid().map_err(io())?),
        kind,
    };
    Ok((!path.is_empty()).then_some((path, item)))
}

/// A folder that goes away again.
struct Scratch<'a>(&'a Path);

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(self.0));
    }
}
