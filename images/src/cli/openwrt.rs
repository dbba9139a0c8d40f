//! `jos-image openwrt`: a package of OpenWrt → an overlay, or an image by a vendor's ImageBuilder.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::build::epoch;
use super::ui::{Done, Failure, Ui};
use crate::openwrt::{self, OpenwrtError, Package, Wanted};

/// Make what a router is flashed with: an overlay, or an image
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a package's files, with its services enabled, as an archive that is unpacked on /
    #[command(after_help = "\
Example: jos-image openwrt overlay dist/captive-portal/*_mipsel_24kc.ipk --out overlay.tar.gz

Unpacked into a folder it is what `make image FILES=folder` of an ImageBuilder takes; on a router, `tar -xzf - -C /` and a reboot.
opkg does not know of these files: `image` is the better way where an upgrade by opkg or apk is wanted.")]
    Overlay {
        /// The package
        #[arg(value_name = "FILE.ipk")]
        package: PathBuf,
        /// The archive
        #[arg(long, value_name = "FILE.tar.gz")]
        out: PathBuf,
    },
    /// Have a vendor's ImageBuilder make its images with a package in them
    #[command(after_help = "\
Example: jos-image openwrt image dist/captive-portal/*_mipsel_24kc.ipk \\
    --imagebuilder openwrt-imagebuilder-24.10.0-ramips-mt76x8.Linux-x86_64 --profile glinet_gl-mt300n-v2 --out flash

The ImageBuilder is the vendor's, unpacked, of the release and the target of the router. The package is lent to its folder
`packages`, `make image PROFILE=… PACKAGES=… BIN_DIR=…` is run there, and the package is taken away again.")]
    Image {
        /// The package: an .ipk (up to OpenWrt 24.10)
        #[arg(value_name = "FILE.ipk")]
        package: PathBuf,
        /// The ImageBuilder's folder
        #[arg(long, value_name = "DIR")]
        imagebuilder: PathBuf,
        /// The device, as `make info` there names it; its first when absent
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
        /// A further package, or -NAME for one to be left out (repeatable)
        #[arg(long = "package", value_name = "NAME", allow_hyphen_values = true)]
        packages: Vec<String>,
        /// A folder of further files, laid over all
        #[arg(long, value_name = "DIR")]
        files: Option<PathBuf>,
        /// Where the images go
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

impl From<OpenwrtError> for Failure {
    fn from(e: OpenwrtError) -> Self {
        match &e {
            OpenwrtError::NoPackage { .. } => {
                Self::invalid(&e).help("`jos-image build` makes one for each target of OpenWrt")
            }
            OpenwrtError::NoBuilder { .. } => Self::invalid(&e)
                .help("unpack the ImageBuilder of the router's release and target, and name that folder"),
            OpenwrtError::Occupied { .. } => Self::invalid(&e).help("remove it there, or name that one"),
            OpenwrtError::Word { .. } => Self::invalid(&e),
            OpenwrtError::Make { .. } => Self::failed(&e)
                .help("`make info` there lists its profiles; a package that is missing there can be named with -NAME"),
            OpenwrtError::Io { .. } | OpenwrtError::Nothing(_) => Self::failed(e),
        }
    }
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    match &args.command {
        Command::Overlay { package, out } => {
            let bytes = Package::open(package)?.overlay(epoch()?)?;
            std::fs::write(out, &bytes).map_err(|e| Failure::failed(format!("{}: {e}", out.display())))?;
            ui.result(
                &json!({ "overlay": out, "size": bytes.len() }),
                format!("{}\n", out.display()),
            );
        }
        Command::Image {
            package,
            imagebuilder,
            profile,
            packages,
            files,
            out,
        } => {
            let name = Package::open(package)?.name;
            let wanted = Wanted {
                profile: profile.clone(),
                packages: packages.clone(),
                files: files.clone(),
            };
            ui.note("the ImageBuilder makes its images");
            let made = openwrt::image(package, &name, imagebuilder, &wanted, out, epoch()?)?;
            let text: String = made
                .iter()
                .map(|i| format!("{}  {}\n", i.sha256, i.path.display()))
                .collect();
            let values: Vec<_> = made
                .iter()
                .map(|i| json!({ "file": i.path, "sha256": i.sha256 }))
                .collect();
            ui.result(&json!({ "images": values }), text);
        }
    }
    Ok(0)
}
