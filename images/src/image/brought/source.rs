//! The disk that a vendor brings: unpacked, judged, and its root read, once for each content.
//!
//! Owns: what is in a slot of such a base: `disk.img`, the root's files as `tree/`, and `root.tar` with the owner and mode of each
//! path and no contents. Everything that cannot be served is refused here, before anything is written.

use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use super::super::base::{self, Base};
use super::super::board::Board;
use super::super::cache::{self, Recipe};
use super::super::disk::{Poured, pour};
use super::super::kinds::{self, Ext, Holds};
use super::super::table::{self, Entry};
use super::super::view::{View, What};
use super::super::{ImageError, Places, raw, tools};
use super::{Brought, Reference};
use crate::bake::Appliance;
use crate::builders::elf;
use crate::targets::Target;

/// Of the way it is taken apart; a change of it is another number.
const WAY: &str = "jos-brought-1";

/// Where systemd is, in a merged and in a split `/usr`.
const SYSTEMD: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];

/// A base that was found good.
pub(super) struct Source {
    pub(super) base: Base,
    /// Its partitions.
    pub(super) table: Vec<Entry>,
    /// The one with the root.
    pub(super) root: Entry,
}

/// The base of a profile: from the cache, or taken apart now.
pub(super) fn obtain(
    app: &Appliance,
    brought: &Brought,
    board: &Board,
    target: &Target,
    places: &Places,
    say: &dyn Fn(&str),
) -> Result<Source, ImageError> {
    let reference = &brought.reference;
    let partition = reference.partition.as_deref().unwrap_or_default();
    let family = format!("{}\n{}", app.profile, board.name);
    let state = format!("{}\n{partition}\n{}", reference.sha256, board.architecture);
    let recipe = Recipe {
        way: WAY,
        family: &family,
        state: &state,
    };
    fs::create_dir_all(&places.cache).map_err(ImageError::io(&places.cache))?;
    let note = || say(&format!("{}: taking {} apart", board.name, reference.file));
    let slot = cache::obtain(&places.cache, recipe, &note, &|new| {
        let disk = new.join("disk.img");
        unpacked(brought, &disk)?;
        let table = table::read_as(&disk, &reference.file)?;
        let root = root(&disk, &table, reference)?;
        sound(&disk, new, &root, target, reference)?;
        read(&View::open(&disk, &root, &reference.file)?, new)
    })?;
    let disk = slot.dir.join("disk.img");
    let table = table::read_as(&disk, &reference.file)?;
    let root = root(&disk, &table, reference)?;
    Ok(Source {
        base: base::open(slot, reference.sha256.clone())?,
        table,
        root,
    })
}

fn refused(what: String, help: impl Into<String>) -> ImageError {
    let help = help.into();
    ImageError::Refused { what, help }
}

/// Writes the raw disk, and holds what it read against the profile's hash once more: a file may have changed since.
fn unpacked(brought: &Brought, to: &Path) -> Result<(), ImageError> {
    let reference = &brought.reference;
    let sha256 = raw::unpack(&brought.path, &reference.file, to)?;
    if sha256 != reference.sha256 {
        let what = format!(
            "{} changed while it was read: its SHA-256 is {sha256} now",
            reference.file
        );
        return Err(refused(what, "build again when it is written whole"));
    }
    Ok(())
}

/// The partition with the root: the one that the profile names, else the only one with a system in it.
fn root(disk: &Path, table: &[Entry], reference: &Reference) -> Result<Entry, ImageError> {
    let shown = &reference.file;
    let mut all = Vec::new();
    for entry in table {
        all.push((entry, kinds::look(disk, entry)?));
    }
    let listed = |all: &[(&Entry, Holds)]| -> String {
        let lines = all.iter().map(|(entry, holds)| {
            let label = [entry.name.as_str(), holds.label()].into_iter().find(|l| !l.is_empty());
            let label = label.map(|l| format!(" {l:?}")).unwrap_or_default();
            format!("{}{label}: {}", entry.number, holds.name())
        });
        lines.collect::<Vec<_>>().join(", ")
    };
    let expected = "expected a root of Debian on ext4";
    let named = |partition: &str| format!("base = \"{shown}#{partition}@sha256:…\"");
    if let Some(partition) = &reference.partition {
        let wanted = |entry: &Entry, holds: &Holds| match partition.parse::<u32>() {
            Ok(number) => entry.number == number,
            Err(_) => entry.name == *partition || holds.label() == partition,
        };
        all.retain(|(entry, holds)| wanted(entry, holds));
        return match &all[..] {
            [(entry, Holds::Ext(_))] => Ok((*entry).clone()),
            [(_, holds)] => Err(refused(
                format!("{shown}: partition {partition} holds {}: {expected}", holds.name()),
                "name the partition of the root",
            )),
            found => Err(refused(
                format!(
                    "{shown}: {} partitions are called {partition:?}: expected one",
                    found.len()
                ),
                format!("name it by its number, as {}", named("2")),
            )),
        };
    }
    let everything = listed(&all);
    all.retain(|(_, holds)| matches!(holds, Holds::Ext(_)));
    if all.is_empty() {
        return Err(refused(
            format!("{shown} holds no ext4, but these partitions: {everything}: {expected}"),
            "squashfs, btrfs and encrypted roots are not served: bring an image with an ext4 root",
        ));
    }
    let mut systems = Vec::new();
    for (entry, _) in &all {
        // One that cannot be read is told of when it is the only one.
        let view = View::open(disk, entry, shown);
        let has = |path: &str| view.as_ref().is_ok_and(|v| matches!(v.read(path), Ok(Some(_))));
        if SYSTEMD.into_iter().any(has) {
            systems.push((*entry).clone());
        }
    }
    match (systems.len(), all.len()) {
        (1, _) => Ok(systems.remove(0)),
        (0, 1) => Ok(all[0].0.clone()),
        (0, _) => Err(refused(
            format!(
                "{shown}: none of its partitions ({everything}) has /{}: {expected}",
                SYSTEMD[0]
            ),
            "an image whose system is Debian's with systemd can be a base",
        )),
        _ => Err(refused(
            format!(
                "{shown} has {} systems, on the partitions {}: expected one",
                systems.len(),
                systems
                    .iter()
                    .map(|e| e.number.to_string())
                    .collect::<Vec<_>>()
                    .join(" and ")
            ),
            format!("name the one to be used, as {}", named(&systems[0].number.to_string())),
        )),
    }
}

/// Refuses a root that nothing can be put into, or that would not run what is put there.
fn sound(disk: &Path, dir: &Path, entry: &Entry, target: &Target, reference: &Reference) -> Result<(), ImageError> {
    let shown = format!("{}: partition {}", reference.file, entry.number);
    let repair = "boot it once and shut it down, or `e2fsck -f` its root, then pin the new hash";
    match kinds::look(disk, entry)? {
        Holds::Ext(Ext { clean: true, .. }) => {}
        _ => {
            let what = format!("{shown}: its file system was not unmounted cleanly: expected one in order");
            return Err(refused(what, repair));
        }
    }
    let checked = tools::run(
        tools::command("e2fsck")
            .current_dir(dir)
            .arg("-fn")
            .arg(format!("disk.img?offset={}", entry.start)),
        None,
        repair,
    );
    if let Err(ImageError::Tool { said, help, .. }) = checked {
        return Err(refused(format!("{shown}: its file system is damaged:\n{said}"), help));
    }
    let view = View::open(disk, entry, &reference.file)?;
    let mut systemd = None;
    for path in SYSTEMD {
        systemd = match systemd {
            None => view.read(path)?,
            found => found,
        };
    }
    let debian = "bring an image of Debian, Raspberry Pi OS or another of their kind";
    let Some(systemd) = systemd else {
        let what = format!("{shown} has no /{}: expected a root of Debian with systemd", SYSTEMD[0]);
        return Err(refused(what, debian));
    };
    if view.read("var/lib/dpkg/status")?.is_none() {
        let what = format!("{shown} has no /var/lib/dpkg/status: expected a root whose packages dpkg knows");
        return Err(refused(what, debian));
    }
    let triple = target.programs.first().map_or("", |t| t.name);
    let found = elf::read(&systemd);
    if found.as_ref().is_none_or(|elf| !elf.fits(triple)) {
        let found = found.map_or("no ELF program".into(), |elf| elf.describe());
        return Err(refused(
            format!(
                "{shown}: its systemd is {found}: expected one for {} ({triple})",
                target.name
            ),
            "bring the image for this board's CPU, or name the board of the image's CPU under [image] boards",
        ));
    }
    Ok(())
}

/// Writes the root's files below `tree`, and of each path owner and mode into `root.tar`.
fn read(view: &View, new: &Path) -> Result<(), ImageError> {
    let (tree, index) = (new.join("tree"), new.join("root.tar"));
    fs::create_dir_all(&tree).map_err(ImageError::io(&tree))?;
    let file = File::create(&index).map_err(ImageError::io(&index))?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    view.walk(&mut |found| {
        let at = tree.join(found.on_disk());
        let io = || ImageError::io(at.clone());
        let mut header = tar::Header::new_gnu();
        header.set_mode(found.mode);
        header.set_uid(u64::from(found.uid));
        header.set_gid(u64::from(found.gid));
        header.set_size(0);
        // Below `tree` every file is its builder's own, and runs as nobody else.
        let mode = (found.mode & 0o777) | 0o600;
        match &found.what {
            What::Dir => {
                header.set_entry_type(tar::EntryType::Directory);
                fs::create_dir(&at).map_err(io())?;
            }
            What::File => {
                let mut to = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&at)
                    .map_err(io())?;
                let poured = pour(&mut view.content(found)?, &mut to, 0).map_err(|e| match e {
                    Poured::Read(error) | Poured::Write(error) => io()(error),
                })?;
                if poured != found.size {
                    return Err(ImageError::Unfit(format!("/{}: it ends too early", found.path)));
                }
                to.set_len(poured).map_err(io())?;
            }
            What::Link(target) => {
                use std::os::unix::ffi::OsStrExt;
                header.set_entry_type(tar::EntryType::Symlink);
                let target = Path::new(std::ffi::OsStr::from_bytes(target));
                symlink(target, &at).map_err(io())?;
                let name = Path::new(".").join(found.on_disk());
                return archive
                    .append_link(&mut header, name, target)
                    .map_err(ImageError::io(&index));
            }
            What::Special(_) => return Ok(()),
        }
        let name = Path::new(".").join(found.on_disk());
        archive
            .append_data(&mut header, name, std::io::empty())
            .map_err(ImageError::io(&index))
    })?;
    archive.finish().map_err(ImageError::io(&index))
}
