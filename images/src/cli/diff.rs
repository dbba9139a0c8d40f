//! `jos-image diff`: what differs between two packages, or between two images.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::images::Scratch;
use super::ui::{Done, Failure, Ui};
use crate::builders::toolchain;
use crate::diff::image::Placed;
use crate::diff::{diff, image};
use crate::formats::{Report, inspect_file};
use crate::image::raw::unpack;

/// Say what differs between two packages, or between two images
#[derive(clap::Args)]
#[command(after_help = "\
Of packages: control fields, scripts, files with mode, owner and content; of texts the lines. The two may be of different
kinds: an .ipk and the .apk of the same build hold the same files.

Of images (a raw disk, or one compressed by xz): the partitions, then the files of those that hold ext4 or FAT, which are read
without mounting anything. `root:/etc/hosts` is a path of the partition root.

Examples:
  jos-image diff old/portal_1.0.0-1_mipsel_24kc.ipk dist/portal/portal_1.0.1-1_mipsel_24kc.ipk
  jos-image diff old/kiosk_1.0.0-1_raspberry-pi.img.xz dist/kiosk/kiosk_1.0.1-1_raspberry-pi.img

Exit codes: 0 the same to the byte, 1 something differs, 2 one of them is no package and no image.")]
pub(super) struct Args {
    /// The first package or image
    #[arg(value_name = "A")]
    old: PathBuf,
    /// The second package or image
    #[arg(value_name = "B")]
    new: PathBuf,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let all: Vec<Placed> = match (packed(&args.old)?, packed(&args.new)?) {
        (Packed::No, Packed::No) => {
            let (old, new) = (read(&args.old)?, read(&args.new)?);
            diff(&old, &new).into_iter().map(Placed::from).collect()
        }
        (Packed::No, _) => return Err(unlike(&args.new, &args.old)),
        (_, Packed::No) => return Err(unlike(&args.old, &args.new)),
        (old, new) => {
            let scratch = Scratch::at(toolchain::cache_dir().join("images"));
            scratch.make()?;
            let mut disks = Vec::new();
            for (path, packed, name) in [(&args.old, old, "a.img"), (&args.new, new, "b.img")] {
                disks.push(match packed {
                    Packed::Xz => {
                        let raw = scratch.path().join(name);
                        unpack(path, &path.display().to_string(), &raw)?;
                        raw
                    }
                    _ => path.clone(),
                });
            }
            image::diff(&disks[0], &disks[1], scratch.path())?
        }
    };
    let text: String = match all.is_empty() {
        true => "the same to the byte\n".to_owned(),
        false => all.iter().map(|one| format!("{one}\n")).collect(),
    };
    ui.result(&json!({ "differences": all }), text);
    Ok(u8::from(!all.is_empty()))
}

/// Whether a file is a disk, by its first bytes.
enum Packed {
    Raw,
    Xz,
    No,
}

fn packed(path: &Path) -> Result<Packed, Failure> {
    let wrong = |e| Failure::invalid(format!("{}: {e}", path.display())).help(HELP);
    let mut head = Vec::new();
    let file = File::open(path).map_err(wrong)?;
    file.take(512).read_to_end(&mut head).map_err(wrong)?;
    Ok(if head.starts_with(b"\xfd7zXZ\0") {
        Packed::Xz
    } else if head.len() == 512 && head[510..] == [0x55, 0xaa] {
        Packed::Raw
    } else {
        Packed::No
    })
}

const HELP: &str = "give a .deb, .ipk, .apk or .pkg, or two images: .img or .img.xz";

fn unlike(image: &Path, other: &Path) -> Failure {
    let message = format!("{} is an image, and {} is none", image.display(), other.display());
    Failure::invalid(message).help("give two packages, or two images")
}

fn read(path: &Path) -> Result<Report, Failure> {
    inspect_file(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())).help(HELP))
}
