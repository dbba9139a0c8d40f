//! The files of a board's boot partition, and what a root needs so that its own tools keep them up to date.
//!
//! UEFI: systemd-boot, its settings, a kernel and an initial RAM disk; our own hook copies a new kernel there.
//! Raspberry Pi: the loader's files, device trees, kernel and settings under the very names and with the very words that the
//! hook of Debian's raspi-firmware gives them, which goes on from there at each upgrade of a kernel or of the firmware.

use jos_schemas::documents::profile::Image;

use super::board::{Board, Firmware};
use super::initrd::Kernel;
use super::layer::{Kind, Layer};
use super::{Ids, ImageError, root, slots};
use crate::bake::Appliance;
use crate::seeds;

/// What is known of an image when its boot partition is filled.
pub(super) struct Plan<'a> {
    pub(super) app: &'a Appliance,
    pub(super) image: &'a Image,
    pub(super) board: &'static Board,
    pub(super) ids: &'a Ids<'a>,
}

/// Paths and contents of a boot partition.
pub(super) type Files = Vec<(String, Vec<u8>)>;

impl Plan<'_> {
    /// What the root file system is found by.
    fn root(&self) -> String {
        format!("UUID={}", self.ids.root())
    }

    /// Words for the kernel that a profile adds.
    fn words(&self) -> String {
        let more = self.image.cmdline.as_deref().unwrap_or_default();
        // Of two roots both are told by the loader.
        let data = if root::read_only(self.image) && !slots::wanted(self.image) {
            format!(" jos.data=UUID={}", self.ids.uuid("data"))
        } else {
            String::new()
        };
        format!("quiet{data} {more}").trim_end().to_owned()
    }

    /// The names of `console=` alone.
    fn consoles(&self) -> Vec<&'static str> {
        let words = self.board.console.split(' ');
        words.filter_map(|word| word.strip_prefix("console=")).collect()
    }

    /// Lays into the root what keeps the boot partition up to date.
    pub(super) fn keep(&self, layer: &mut Layer) -> Result<(), ImageError> {
        match self.board.firmware {
            // A kernel whose modules are gone after a reboot would not boot.
            Firmware::Uefi { .. } if root::read_only(self.image) => {}
            Firmware::Uefi { .. } => {
                let hook = include_str!("scripts/kernel.sh");
                layer.file("etc/kernel/postinst.d/zz-jos-image", 0o755, hook);
            }
            Firmware::RaspberryPi => {
                // What its package's own scripts put there on another machine belongs to the partition.
                layer.remove_below("boot/firmware", |_, _| true);
                let settings = "etc/default/raspi-firmware";
                let text = format!(
                    "{}\n# Written by jos-image; what stands above is Debian's.\nROOTPART=\"{}\"\nCMA=0\nCONSOLES=\"{}\"\n",
                    String::from_utf8_lossy(&layer.read(settings)?).trim_end(),
                    self.root(),
                    self.consoles().join(" ")
                );
                layer.file(settings, 0o644, text);
                layer.file("etc/default/raspi-extra-cmdline", 0o644, format!("{}\n", self.words()));
            }
        }
        Ok(())
    }

    /// Every file of the boot partition. A Raspberry Pi's hook wants the initial RAM disk beside the kernel in the root, too.
    pub(super) fn files(&self, layer: &mut Layer, kernel: &Kernel, initrd: Vec<u8>) -> Result<Files, ImageError> {
        let mut files = match self.board.firmware {
            firmware if slots::wanted(self.image) => {
                let words = format!("{} {}", self.board.console, self.words());
                let name = format!("{} {}", self.app.product(), self.app.full_version());
                slots::own_settings(layer, kernel, initrd, &name, &words);
                slots::loader(layer, firmware, self.ids)?
            }
            Firmware::Uefi { loader, .. } => self.uefi(layer, loader, kernel, initrd)?,
            Firmware::RaspberryPi => {
                let name = format!("initrd.img-{}", kernel.release);
                layer.file(&format!("boot/{name}"), 0o644, initrd.clone());
                let mut files = self.raspberry_pi(layer, kernel)?;
                files.push((name, initrd));
                files
            }
        };
        files.push((seeds::READ_ME.into(), read_me(self.app, self.board).into_bytes()));
        Ok(files)
    }

    fn uefi(
        &self,
        layer: &Layer,
        (from, to): (&str, &str),
        kernel: &Kernel,
        initrd: Vec<u8>,
    ) -> Result<Files, ImageError> {
        let loader = layer.read(&format!("usr/lib/systemd/boot/efi/{from}"))?;
        let options = format!("root={} ro {} {}", self.root(), self.board.console, self.words());
        let entry = format!(
            "title {}\nlinux /vmlinuz\ninitrd /initrd.img\noptions {options}\n",
            self.app.product(),
        );
        Ok(vec![
            (format!("EFI/BOOT/{to}"), loader),
            ("loader/loader.conf".into(), b"timeout 0\neditor no\n".to_vec()),
            ("loader/entries/jos.conf".into(), entry.into_bytes()),
            ("vmlinuz".into(), kernel.image.clone()),
            ("initrd.img".into(), initrd),
        ])
    }

    fn raspberry_pi(&self, layer: &Layer, kernel: &Kernel) -> Result<Files, ImageError> {
        let release = &kernel.release;
        let mut files = below(layer, "usr/lib/raspi-firmware", |_| true)?;
        if !files.iter().any(|(name, _)| name == "start4.elf") {
            return Err(ImageError::Unfit(
                "the base has no /usr/lib/raspi-firmware/start4.elf: expected the package raspi-firmware in it".into(),
            ));
        }
        let trees = format!("usr/lib/linux-image-{release}/broadcom");
        let found = below(layer, &trees, |name| name.starts_with("bcm") && name.ends_with(".dtb"))?;
        if found.is_empty() {
            return Err(ImageError::Unfit(format!(
                "the kernel {release} has no /{trees}/bcm*.dtb: expected one for machines, as linux-image-arm64 is"
            )));
        }
        files.extend(found);
        files.push((format!("vmlinuz-{release}"), kernel.image.clone()));
        files.push(("config.txt".into(), config(release).into_bytes()));
        let consoles: Vec<String> = self.consoles().iter().map(|c| format!("console={c}")).collect();
        // Two blanks where the hook leaves out `cma=`, one before the first console.
        let line = format!(
            " {} root={} rw fsck.repair=yes net.ifnames=0  rootwait {}\n",
            consoles.join(" "),
            self.root(),
            self.words()
        );
        files.push(("cmdline.txt".into(), line.into_bytes()));
        Ok(files)
    }
}

/// What says that seeds are read from a boot partition, and how.
pub(super) fn read_me(app: &Appliance, board: &Board) -> String {
    format!(
        "{} {}, for {}. Made by jos-image.\n\n\
         A file {} beside this one is read at the first boot and removed: hostname=, token=, wifi_ssid=,\n\
         wifi_passphrase=, each on its own line and each as wanted. `jos-image seed` writes them from a table.\n",
        app.product(),
        app.full_version(),
        board.name,
        seeds::FILE
    )
}

/// The files below a folder for whose path in it `wanted` says so.
fn below(layer: &Layer, folder: &str, wanted: impl Fn(&str) -> bool) -> Result<Files, ImageError> {
    let prefix = format!("{folder}/");
    let paths = layer.items().filter(|(_, item)| matches!(item.kind, Kind::File(_)));
    let names: Vec<String> = paths
        .filter_map(|(path, _)| path.strip_prefix(&prefix))
        .filter(|name| wanted(name))
        .map(str::to_owned)
        .collect();
    let read = |name: String| Ok((name.clone(), layer.read(&format!("{prefix}{name}"))?));
    names.into_iter().map(read).collect()
}

/// `config.txt` as the hook of raspi-firmware writes it for this kernel on arm64.
fn config(release: &str) -> String {
    format!(
        "# Do not modify this file!\n#\n# It is automatically generated upon install or update of either the\n\
         # firmware or the Linux kernel.\n#\n# If you need to set boot-time parameters, do so via the\n\
         # /etc/default/raspi-firmware, /etc/default/raspi-firmware-custom or\n\
         # /etc/default/raspi-extra-cmdline files.\n\n\
         # Switch the CPU from ARMv7 into ARMv8 (aarch64) mode\narm_64bit=1\n\n\
         enable_uart=1\nupstream_kernel=1\n\nkernel=vmlinuz-{release}\n\
         # For details on the initramfs directive, see\n\
         # https://www.raspberrypi.org/forums/viewtopic.php?f=63&t=10532\ninitramfs initrd.img-{release}\n"
    )
}
