//! The machines images are made for: a table, so that a new one is one line of data.

use crate::targets::nearest_of;

/// A machine that boots an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// As `[image] boards` names it.
    pub name: &'static str,
    /// Whose package it carries.
    pub target: &'static str,
    /// As Debian names its CPU.
    pub architecture: &'static str,
    /// The kernel's package.
    pub kernel: &'static str,
    /// systemd-boot, as its package has it and as the firmware looks for it.
    pub loader: (&'static str, &'static str),
    /// Type of the root partition, from the Discoverable Partitions Specification.
    pub root_type: &'static str,
    /// Consoles; the last is the one that services write to.
    pub console: &'static str,
    /// For people.
    pub about: &'static str,
}

/// Every board.
pub const BOARDS: [Board; 2] = [
    Board {
        name: "amd64-uefi",
        target: "debian/amd64",
        architecture: "amd64",
        kernel: "linux-image-amd64",
        loader: ("systemd-bootx64.efi", "BOOTX64.EFI"),
        root_type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        console: "console=tty0 console=ttyS0,115200",
        about: "PCs and virtual machines with UEFI",
    },
    Board {
        name: "arm64-uefi",
        target: "debian/arm64",
        architecture: "arm64",
        kernel: "linux-image-arm64",
        loader: ("systemd-bootaa64.efi", "BOOTAA64.EFI"),
        root_type: "b921b045-1df0-41c3-af44-4c6f280d3fae",
        console: "console=tty0 console=ttyAMA0,115200",
        about: "64-bit ARM servers and virtual machines with UEFI",
    },
];

/// The board of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Board> {
    BOARDS.iter().find(|b| b.name == name)
}

/// The known name most like `name`.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, BOARDS.iter().map(|b| b.name))
}
