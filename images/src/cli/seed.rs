//! `jos-image seed`: a finished image → one for each device, with what only that device has.

use std::path::PathBuf;

use serde_json::json;

use super::ui::{Done, Failure, Ui};
use crate::image::ImageError;
use crate::profile::Invalid;
use crate::seeds::{self, FILE, Seedable};

/// Give each device of a table its own name, token and wireless network
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  jos-image seed dist/kiosk/kiosk_1.0.0-1_raspberry-pi.img --devices devices.csv --out cards
  jos-image seed dist/kiosk/kiosk_1.0.0-1_raspberry-pi.img --devices devices.csv --out cards --files

devices.csv, as a spreadsheet saves it; `name` is needed, the others may be absent or empty:
  name,hostname,token,wifi_ssid,wifi_passphrase
  lobby,kiosk-0001,jos1-…,Acme Guests,correct horse

OUT/NAME.img is a copy of the image with the device's seed. With --files only the seed is written, OUT/NAME/jos-seed.txt:
copy it onto the boot partition of a card. The device's first boot takes it and removes it. Both are secret: mode 0600, and
none of their values is ever shown.")]
pub(super) struct Args {
    /// An image that `build` made
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The table of devices
    #[arg(long, value_name = "FILE.csv")]
    devices: PathBuf,
    /// Where the images or seeds go; made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seeds alone, in place of a copy of the image for each
    #[arg(long)]
    files: bool,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let shown = args.devices.display().to_string();
    let text = std::fs::read(&args.devices).map_err(|e| Failure::invalid(format!("{shown}: {e}")))?;
    let text = String::from_utf8(text)
        .map_err(|_| Failure::invalid(format!("{shown}: expected text in UTF-8")).help("save it as \"CSV UTF-8\""))?;
    let devices = seeds::devices(&shown, &text).map_err(Invalid::from)?;
    let image = Seedable::open(&args.image)?;
    std::fs::create_dir_all(&args.out).map_err(ImageError::io(&args.out))?;
    let mut made = Vec::new();
    for device in &devices {
        let seed = if args.files {
            let folder = args.out.join(&device.name);
            std::fs::create_dir_all(&folder).map_err(ImageError::io(&folder))?;
            folder.join(FILE)
        } else {
            args.out.join(format!(".{}.seed", device.name))
        };
        seeds::private(&seed, device.seed().as_bytes())?;
        if args.files {
            made.push(seed);
            continue;
        }
        ui.note(format!("{}: copying the image", device.name));
        let to = args.out.join(format!("{}.img", device.name));
        let copied = image.copy(device, &seed, &to);
        std::fs::remove_file(&seed).map_err(ImageError::io(&seed))?;
        copied?;
        made.push(to);
    }
    let lines: Vec<String> = made.iter().map(|path| format!("{}\n", path.display())).collect();
    let values: Vec<_> = devices
        .iter()
        .zip(&made)
        .map(|(device, path)| json!({ "name": device.name, "file": path }))
        .collect();
    ui.result(&json!({ "devices": values }), lines.concat());
    Ok(0)
}
