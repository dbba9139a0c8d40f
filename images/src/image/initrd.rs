//! The initial RAM disk: busybox, the modules between a kernel and its root, and a script that hands over.
//!
//! initramfs-tools would run programs of the device's CPU and gives other bytes each time. This one is put together from
//! the base's own files in a tenth of a second. An upgrade of the kernel on a device makes its own with initramfs-tools.
//! The archive is cpio(5) "newc", which the kernel reads (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

use super::ImageError;
use super::layer::Layer;
use crate::formats::gzip;

/// Modules, where the kernel has them as such: disks and what they hang on, then file systems.
const MODULES: [&str; 34] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "hv_vmbus",
    "hv_storvsc",
    "vmw_pvscsi",
    "xen_blkfront",
    "nvme",
    "ahci",
    "ahci_platform",
    "ata_piix",
    "sd_mod",
    "reset_raspberrypi",
    "pcie_brcmstb",
    "xhci_pci",
    "xhci_plat_hcd",
    "ehci_pci",
    "ehci_platform",
    "ohci_pci",
    "dwc2",
    "usb_storage",
    "uas",
    "bcm2835",
    "sdhci_iproc",
    "sdhci_pci",
    "sdhci_acpi",
    "mmc_block",
    "hid_generic",
    "usbhid",
    "crc32c_generic",
    "libcrc32c",
    "ext4",
    "overlay",
];

/// The kernel of a root.
pub(super) struct Kernel {
    /// Its release, as `uname -r` says.
    pub(super) release: String,
    /// Its program.
    pub(super) image: Vec<u8>,
}

/// The one kernel of the root; the highest name where there are more.
pub(super) fn kernel(layer: &Layer) -> Result<Kernel, ImageError> {
    let found = layer
        .items()
        .filter_map(|(path, _)| path.strip_prefix("boot/vmlinuz-"))
        .last();
    let release = found
        .ok_or_else(|| ImageError::Unfit("the base has no /boot/vmlinuz-*: expected a kernel package in it".into()))?
        .to_owned();
    let image = layer.read(&format!("boot/vmlinuz-{release}"))?;
    Ok(Kernel { release, image })
}

/// The initial RAM disk for this kernel; `more` are modules that the board needs first.
pub(super) fn build(layer: &Layer, kernel: &Kernel, more: &[&str], epoch: u32) -> Result<Vec<u8>, ImageError> {
    let folder = format!("usr/lib/modules/{}", kernel.release);
    let index = layer.text(&format!("{folder}/modules.dep"))?;
    let mut wanted = BTreeSet::new();
    let mut lines = String::new();
    let mut names = String::new();
    for &module in more.iter().chain(&MODULES) {
        let is = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.split('.')
                .next()
                .is_some_and(|stem| stem.replace('-', "_") == module)
        };
        let Some((path, needs)) = index
            .lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(path, _)| is(path))
        else {
            continue;
        };
        names.push_str(&format!("{module}\n"));
        for path in std::iter::once(path).chain(needs.split_whitespace()) {
            wanted.insert(path.to_owned());
        }
    }
    for line in index.lines() {
        if line.split(':').next().is_some_and(|path| wanted.contains(path)) {
            lines.push_str(&format!("{line}\n"));
        }
    }
    let mut files = Vec::new();
    let modules = format!("lib/modules/{}", kernel.release);
    for path in &wanted {
        files.push((
            format!("{modules}/{path}"),
            0o100_644,
            layer.read(&format!("{folder}/{path}"))?,
        ));
    }
    files.push((format!("{modules}/modules.dep"), 0o100_644, lines.into_bytes()));
    files.push(("modules".into(), 0o100_644, names.into_bytes()));
    files.push(("init".into(), 0o100_755, include_bytes!("scripts/init.sh").to_vec()));
    files.push(("bin/busybox".into(), 0o100_755, layer.read("bin/busybox")?));
    let mut all: Vec<(String, u32, Vec<u8>)> = Vec::new();
    let mut folders = BTreeSet::from(["dev", "proc", "sys", "root", "data", "lower", "memory"].map(str::to_owned));
    for (path, _, _) in &files {
        folders.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
    }
    all.extend(folders.into_iter().map(|path| (path, 0o040_755, Vec::new())));
    all.extend(files);
    let mut archive = Vec::new();
    for (number, (path, mode, bytes)) in all.iter().enumerate() {
        member(&mut archive, path, number + 1, *mode, epoch, bytes);
    }
    member(&mut archive, "TRAILER!!!", 0, 0, 0, &[]);
    gzip::compress("initial RAM disk", &archive).map_err(|e| ImageError::Unfit(e.to_string()))
}

fn member(out: &mut Vec<u8>, name: &str, number: usize, mode: u32, epoch: u32, bytes: &[u8]) {
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let length = name.len() + 1;
    out.extend_from_slice(
        format!(
            "070701{number:08X}{mode:08X}{0:08X}{0:08X}{links:08X}{epoch:08X}{1:08X}{0:08X}{0:08X}{0:08X}{0:08X}{length:08X}{0:08X}",
            0,
            bytes.len()
        )
        .as_bytes(),
    );
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}
