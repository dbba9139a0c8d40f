//! Images on a base that the vendor brings: a disk as others made it, with our files put into its root.
//!
//! Owns: the order of the work, and what is taken from the base because no two devices may share it. `source` unpacks, judges and
//! reads the disk; `needs` holds the package's relations against what is installed there; `graft` writes the difference.
//! Never: makes the root anew. Partition table, boot partition and every file that the appliance does not touch stay as they
//! are, with what our lists do not know of: times, attributes, links, devices.

mod graft;
mod needs;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use jos_schemas::documents::profile::Image;

use super::board::Board;
use super::kinds::{self, Holds};
use super::layer::Layer;
use super::table::Entry;
use super::{ImageError, Made, Places, boot, effects, package, root, tools};
use crate::bake::{self, Appliance};
use crate::builders::Program;
use crate::{seeds, targets};

/// The base that a profile names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// As the profile has it.
    pub reference: Reference,
    /// Where it was found; its content is what the profile pins.
    pub path: PathBuf,
}

/// `FILE@sha256:HEX` or `FILE#PARTITION@sha256:HEX`: in one value, so that none of its parts is ever that of another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The file.
    pub file: String,
    /// The root's partition by number or label, where it has to be said.
    pub partition: Option<String>,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Reference {
    /// Reads one.
    ///
    /// # Errors
    /// What was expected, and what to do.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let example = |file: &str| format!("`sha256sum {file}` says it: base = \"{file}@sha256:…\"");
        let Some((name, sha256)) = text.rsplit_once("@sha256:") else {
            let file = text.split('#').next().unwrap_or(text);
            let message = format!("found {text:?}, expected FILE@sha256:HEX: a base is pinned by its content");
            return Err((message, example(file)));
        };
        let (file, partition) = match name.rsplit_once('#') {
            Some((file, partition)) => (file, Some(partition.to_owned())),
            None => (name, None),
        };
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if sha256.len() != 64 || !sha256.chars().all(hex) {
            let message = format!("found {sha256:?} after @sha256:, expected 64 hexadecimal digits in lower case");
            return Err((message, example(file)));
        }
        if file.is_empty() || partition.as_deref() == Some("") {
            let message = format!("found {name:?}, expected FILE or FILE#PARTITION before @sha256:");
            return Err((message, "as vendor.img.xz, or vendor.img.xz#rootfs".to_owned()));
        }
        Ok(Self {
            file: file.to_owned(),
            partition,
            sha256: sha256.to_owned(),
        })
    }

    /// The same with another hash.
    #[must_use]
    pub fn with(&self, sha256: &str) -> String {
        let partition = self.partition.as_ref().map(|p| format!("#{p}")).unwrap_or_default();
        format!("{}{partition}@sha256:{sha256}", self.file)
    }
}

/// Makes the image of `app` on the base that it brings.
pub(super) fn build(
    app: &Appliance,
    image: &Image,
    board: &'static Board,
    (base, programs): (&Brought, &[Program]),
    places: &Places,
    say: &dyn Fn(&str),
) -> Result<Made, ImageError> {
    let target = targets::find(board.target).ok_or_else(|| ImageError::Unfit(format!("no target {}", board.target)))?;
    let own = bake::deb(app, target, programs)?;
    let source = source::obtain(app, base, board, target, places, say)?;
    let shown = &base.reference.file;
    needs::met(&source.base, &own, image, shown)?;
    say(&format!("{}: putting the appliance into {shown}", board.name));
    let before = source.base.layer()?;
    let mut layer = before.clone();
    root::individual(&mut layer);
    package::install(&mut layer, &own)?;
    let seeded = boot_partition(&source.base.disk(), &source.table, &layer)?;
    let mount = seeded.as_ref().map(|(_, mount)| mount.as_str());
    root::complete_brought(&mut layer, image, board, mount)?;
    effects::baseline(&mut layer, &source.base, app, places)?;

    say(&format!("{}: writing file systems", board.name));
    let dir = places.scratch.join(board.name);
    fs::create_dir_all(&dir).map_err(ImageError::io(&dir))?;
    let name = format!("{}_{}_{}.img", app.name, app.full_version(), board.name);
    let path = dir.join(&name);
    tools::run(
        tools::command("cp")
            .args(["--sparse=always", "--reflink=auto", "--no-preserve=mode,timestamps"])
            .arg(source.base.disk())
            .arg(&path),
        None,
        "is there room?",
    )?;
    graft::write(
        &graft::Into {
            disk: &path,
            root: &source.root,
            shown,
            epoch: app.epoch,
        },
        &before,
        &layer,
    )?;
    if let Some((entry, _)) = &seeded {
        read_me(app, board, &path, entry)?;
    }
    let (size, sha256) = tools::size_and_sum(&path)?;
    Ok(Made {
        name,
        board,
        path,
        size,
        sha256,
        base: base.reference.sha256.clone(),
        packages: source.base.packages,
        bundle: None,
    })
}

/// The boot partition that seeds are laid on, and where a device mounts it: the first of the disk, if it is FAT and fstab(5)
/// of the base has it.
fn boot_partition(disk: &Path, table: &[Entry], layer: &Layer) -> Result<Option<(Entry, String)>, ImageError> {
    let Some(first) = table.first() else { return Ok(None) };
    if !matches!(kinds::look(disk, first)?, Holds::Fat(_)) {
        return Ok(None);
    }
    let text = layer.text("etc/fstab")?;
    let mut points = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '/';
        let point = point
            .strip_prefix('/')
            .filter(|p| !p.is_empty() && p.chars().all(plain))?;
        (kind == "vfat" && point.starts_with("boot")).then(|| point.to_owned())
    });
    Ok(points.next().map(|point| (first.clone(), point)))
}

/// Marks the boot partition as one that seeds are read from.
fn read_me(app: &Appliance, board: &Board, disk: &Path, entry: &Entry) -> Result<(), ImageError> {
    let at = disk.with_extension("read-me");
    fs::write(&at, boot::read_me(app, board)).map_err(ImageError::io(&at))?;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(app.epoch));
    fs::File::options()
        .write(true)
        .open(&at)
        .and_then(|file| file.set_modified(time))
        .map_err(ImageError::io(&at))?;
    tools::run(
        tools::command("mcopy")
            .env("SOURCE_DATE_EPOCH", app.epoch.to_string())
            .arg("-i")
            .arg(format!("{}@@{}", disk.display(), entry.start))
            .args(["-o", "-m"])
            .arg(&at)
            .arg(format!("::{}", seeds::READ_ME)),
        None,
        "the base's boot partition takes a file of 400 bytes; is it full?",
    )?;
    fs::remove_file(&at).map_err(ImageError::io(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_with_its_hash_and_where_needed_its_partition() {
        let hash = "a".repeat(64);
        let read = Reference::parse(&format!("os/vendor.img.xz#rootfs@sha256:{hash}")).expect("it is sound");
        assert_eq!(
            (read.file.as_str(), read.partition.as_deref()),
            ("os/vendor.img.xz", Some("rootfs"))
        );
        assert_eq!(read.with("x"), "os/vendor.img.xz#rootfs@sha256:x");
        let read = Reference::parse(&format!("vendor.img@sha256:{hash}")).expect("it is sound");
        assert_eq!((read.partition, read.sha256), (None, hash));
    }

    #[test]
    fn a_base_that_is_not_pinned_is_refused_with_what_to_write() {
        let (message, help) = Reference::parse("vendor.img.xz").expect_err("it is refused");
        assert!(
            message.contains("FILE@sha256:HEX") && help.contains("sha256sum vendor.img.xz"),
            "{message} {help}"
        );
        for text in [
            "v@sha256:abc",
            &format!("@sha256:{}", "a".repeat(64)),
            &format!("v#@sha256:{}", "a".repeat(64)),
        ] {
            Reference::parse(text).expect_err(text);
        }
    }
}
