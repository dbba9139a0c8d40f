//! Bootable images: a base root of Debian, our package and its baseline in it, and a disk around it.
//!
//! Owns: the order of the work. `base` makes the root of a package list, `cache` keeps it; `root` lays on it what an image
//! needs beyond packages; `package` puts our own package in; `effects` has `jos` bring the baseline about in a folder;
//! `ext4`, `fat` and `disk` write the bytes. `brought` does the same on a disk that a vendor made.
//! Never: needs root, a loop device, a mount, or a program of another CPU to run. What differs between two devices (machine
//! id, SSH host keys, the agent's own keys and ledger) is made at first boot and never lies in an image.

mod accounts;
mod base;
mod board;
mod boot;
mod brought;
mod bundle;
mod cache;
mod disk;
mod effects;
mod ext4;
mod fat;
mod foreign;
mod initrd;
pub(crate) mod kinds;
mod layer;
mod mbr;
mod package;
pub(crate) mod raw;
mod root;
mod slots;
pub mod table;
pub(crate) mod tools;
pub(crate) mod view;
mod wifi;

use std::path::{Path, PathBuf};

use jos_schemas::documents::profile::Image;

pub use base::Debian;
pub use board::{BOARDS, Board, Firmware, find, nearest};
pub use brought::{Brought, Reference};
pub use bundle::Bundle;
pub use layer::Layer;
pub use root::bytes_of;
pub use tools::Needs;
pub(crate) use tools::size_and_sum;
pub use wifi::{sound_passphrase, sound_ssid};

use crate::bake::{self, Appliance};
use crate::builders::Program;
use crate::formats::hash::sha256;
use crate::targets;

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A program that is needed is not installed, or a folder lacks something.
    #[error("{what}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do.
        help: String,
    },
    /// A program failed.
    #[error("{tool} failed:\n{said}")]
    Tool {
        /// Which.
        tool: String,
        /// The end of what it said.
        said: String,
        /// What to do.
        help: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Our own package could not be put together.
    #[error(transparent)]
    Bake(#[from] bake::BakeError),
    /// A value does not fit.
    #[error("{0}")]
    Unfit(String),
    /// A base that a vendor brought cannot be served.
    #[error("{what}")]
    Refused {
        /// What was found, and what was expected.
        what: String,
        /// What to do.
        help: String,
    },
}

impl ImageError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn missing(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Missing {
            what: what.into(),
            help: help.into(),
        }
    }

    /// What to do next, where there is something to say.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Missing { help, .. } | Self::Tool { help, .. } | Self::Refused { help, .. } if !help.is_empty() => {
                Some(help)
            }
            _ => None,
        }
    }
}

/// Bytes of a data partition before its first boot.
const DATA: u64 = 64 << 20;

/// A finished image, still in a scratch folder.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its file name.
    pub name: String,
    /// For which board.
    pub board: &'static Board,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: String,
    /// SHA-256 of the base root it was made from.
    pub base: String,
    /// The Debian packages in it.
    pub packages: Vec<Debian>,
    /// The bundle that brings the same system to devices with an earlier one, where they have two roots.
    pub bundle: Option<Bundle>,
}

/// Where work may lie: caches that outlive a build, and a folder that goes away after it.
#[derive(Clone, Debug)]
pub struct Places {
    /// Kept: base roots.
    pub cache: PathBuf,
    /// Not kept; on the file system of the result.
    pub scratch: PathBuf,
}

/// Makes the image of `app` for one board. `say` hears what is being done.
///
/// # Errors
/// [`ImageError`].
pub fn build(
    app: &Appliance,
    image: &Image,
    board: &'static Board,
    programs: &[Program],
    places: &Places,
    say: &dyn Fn(&str),
) -> Result<Made, ImageError> {
    if let Some(brought) = &app.base {
        return brought::build(app, image, board, (brought, programs), places, say);
    }
    let target = targets::find(board.target).ok_or_else(|| ImageError::Unfit(format!("no target {}", board.target)))?;
    let own = bake::deb(app, target, programs)?;
    let base = base::obtain(app, image, board, places, say)?;
    say(&format!("{}: putting the appliance in", board.name));
    let two = slots::wanted(image);
    let ids = Ids {
        app,
        board,
        lasting: two,
    };
    let mut layer = base.layer()?;
    root::clean(&mut layer);
    package::install(&mut layer, &own)?;
    root::complete(&mut layer, app, image, board, &ids)?;
    let plan = boot::Plan {
        app,
        image,
        board,
        ids: &ids,
    };
    plan.keep(&mut layer)?;
    let signer = two.then(|| bundle::files(app, &places.cache)).transpose()?;
    if let Some(signer) = &signer {
        slots::install(&mut layer, app, board, &ids, &signer.keyring)?;
    }
    effects::baseline(&mut layer, &base, app, places)?;
    let kernel = initrd::kernel(&layer)?;
    let initrd = initrd::build(&layer, &kernel, board.modules, app.epoch)?;
    let files = plan.files(&mut layer, &kernel, initrd)?;

    say(&format!("{}: writing file systems", board.name));
    let dir = places.scratch.join(board.name);
    std::fs::create_dir_all(&dir).map_err(ImageError::io(&dir))?;
    let name = format!("{}_{}_{}.img", app.name, app.full_version(), board.name);
    let path = dir.join(&name);
    let boot_bytes = board.firmware.boot_bytes();
    let root_bytes = if two {
        slots::root_bytes(&layer)?
    } else {
        root::size(image, &layer)?
    };
    let has_data = root::read_only(image);
    let [esp_id, root_id, other_id, data_id] = ["esp", if two { "root-a" } else { "root" }, "root-b", "data"]
        .map(|part| ids.uuid(&format!("{part}-partition")));
    let spots = match board.firmware {
        Firmware::Uefi { root_type, .. } => {
            let mut parts = vec![disk::Partition::esp(boot_bytes, &esp_id)];
            if two {
                let place = slots::bytes(image, root_bytes)?;
                for (name, id) in [("root-a", &root_id), ("root-b", &other_id)] {
                    parts.push(disk::Partition::slot(name, place, id, root_type));
                }
            } else {
                parts.push(disk::Partition::root(root_bytes, &root_id, root_type));
            }
            parts.extend(has_data.then(|| disk::Partition::data(DATA, &data_id)));
            disk::gpt(&path, &ids.uuid("disk"), &parts)?
        }
        Firmware::RaspberryPi => {
            let mut parts = vec![(boot_bytes, mbr::FAT32), (root_bytes, mbr::LINUX)];
            parts.extend(has_data.then_some((DATA, mbr::LINUX)));
            mbr::write(&path, ids.signature(), &parts)?
        }
    };
    let boot = fat::Boot {
        label: "BOOT",
        serial: &ids.serial(),
        epoch: app.epoch,
        bytes: boot_bytes,
        files,
    };
    let root = ext4::Root {
        label: "root",
        layer: &layer,
        uuid: &ids.root(),
        epoch: app.epoch,
        bytes: root_bytes,
    };
    // Each has a place of its own on the disk.
    let (root, boot) = both(|| root.write(&spots[1], &dir), || boot.write(&spots[0], &dir))?;
    root.and(boot)?;
    if let Some(spot) = spots.last().filter(|_| has_data) {
        ext4::Root {
            label: "data",
            layer: &Layer::default(),
            uuid: &ids.uuid("data"),
            epoch: app.epoch,
            bytes: DATA,
        }
        .write(spot, &dir)?;
    }
    let bundle = signer.map(|files| -> Result<_, ImageError> {
        say(&format!("{}: writing the update bundle", board.name));
        let fs = dir.join("root");
        disk::lift(&spots[1], root_bytes, &fs)?;
        let bundle = bundle::make(app, board, &ids, &fs, &files, &dir)?;
        std::fs::remove_file(&fs).map_err(ImageError::io(&fs))?;
        Ok(bundle)
    });
    let bundle = bundle.transpose()?;
    // What waits for the disk, beside what works.
    let synced = || std::fs::File::open(&path).and_then(|file| file.sync_all());
    let (synced, summed) = both(synced, || tools::size_and_sum(&path))?;
    synced.map_err(ImageError::io(&path))?;
    let (size, sum) = summed?;
    Ok(Made {
        name,
        board,
        path,
        size,
        sha256: sum,
        base: base.sha256.clone(),
        packages: base.packages,
        bundle,
    })
}

/// Does two things at once.
fn both<A: Send, B>(aside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> Result<(A, B), ImageError> {
    std::thread::scope(|scope| {
        let aside = scope.spawn(aside);
        let here = here();
        let aside = aside.join();
        let aside = aside.map_err(|_| ImageError::Unfit("a thread that wrote the image ended by a panic".into()))?;
        Ok((aside, here))
    })
}

/// Names of file systems and partitions, which follow from the profile: equal inputs give equal bytes.
struct Ids<'a> {
    app: &'a Appliance,
    board: &'static Board,
    /// Whether they outlast this version: a disk with two roots is made once, and every later one finds its way on it.
    lasting: bool,
}

impl Ids<'_> {
    /// A UUID (RFC 9562, version 8) for one thing of this image.
    fn uuid(&self, what: &str) -> String {
        let version = if self.lasting {
            String::new()
        } else {
            self.app.full_version()
        };
        let seed = format!("{}\0{version}\0{}\0{what}", self.app.name, self.board.name);
        let hash = sha256(seed.as_bytes());
        let (a, b, c) = (&hash[..8], &hash[8..12], &hash[13..16]);
        format!("{a}-{b}-8{c}-8{}-{}", &hash[17..20], &hash[20..32])
    }

    /// The root file system's.
    fn root(&self) -> String {
        if self.lasting {
            // Two of one disk are not to be taken for each other.
            return self.uuid(&format!("root {}", self.app.full_version()));
        }
        self.uuid("root")
    }

    /// The disk's, where an MBR has 32 bits for it.
    fn signature(&self) -> u32 {
        u32::from_str_radix(&self.uuid("disk")[..8], 16).unwrap_or(1)
    }

    /// The boot file system's: FAT has 32 bits.
    fn serial(&self) -> String {
        self.uuid("esp")[..8].to_ascii_uppercase()
    }
}

/// Tools without which no image is made, for `scripts/setup` and the message; with those for what is asked besides.
///
/// # Errors
/// [`ImageError::Missing`] names what is not installed.
pub fn check_tools(needs: Needs) -> Result<(), ImageError> {
    tools::need_all(needs)
}

/// The program `jos` of this machine: beside `jos-image`, else on PATH.
///
/// # Errors
/// [`ImageError::Missing`].
pub fn jos() -> Result<PathBuf, ImageError> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join("jos")));
    beside
        .filter(|p| p.is_file())
        .or_else(|| tools::on_path(Path::new("jos")))
        .ok_or_else(|| {
            ImageError::missing(
                "no program `jos` beside jos-image or on PATH: it brings the baseline about in the image",
                "install it, or run scripts/build in a checkout",
            )
        })
}
