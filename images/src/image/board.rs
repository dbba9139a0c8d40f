//! The machines images are made for: a table, so that a new one is one entry of data.

use crate::targets::nearest_of;

/// How a machine finds its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI: a loader on an EFI system partition of a GPT.
    Uefi {
        /// systemd-boot, as its package has it and as the firmware looks for it.
        loader: (&'static str, &'static str),
        /// GRUB, which chooses between two roots: its package, and its program in that.
        grub: (&'static str, &'static str),
        /// Type of the root partition, from the Discoverable Partitions Specification.
        root_type: &'static str,
    },
    /// Raspberry Pi: its own loader's files and `config.txt` on the first partition of an MBR.
    RaspberryPi,
}

impl Firmware {
    /// Where a running device has its boot partition.
    #[must_use]
    pub fn mount(self) -> &'static str {
        match self {
            Self::Uefi { .. } => "boot/efi",
            // Where Debian's raspi-firmware writes.
            Self::RaspberryPi => "boot/firmware",
        }
    }

    /// Bytes of the boot partition: room for two kernels with their initial RAM disks.
    #[must_use]
    pub fn boot_bytes(self) -> u64 {
        match self {
            Self::Uefi { .. } => 128 << 20,
            // Kernels are not compressed there, and the initial RAM disks of upgrades hold every module.
            Self::RaspberryPi => 512 << 20,
        }
    }
}

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
    /// Packages that it needs besides those of every board.
    pub packages: &'static [&'static str],
    /// Packages of firmware, from Debian's `non-free-firmware`: nothing but files, and of use on this board alone.
    pub firmware_packages: &'static [&'static str],
    /// The firmware of its own radio.
    pub wifi_package: Option<&'static str>,
    /// Kernel modules between the kernel and its root, besides those of every board.
    pub modules: &'static [&'static str],
    /// How it boots.
    pub firmware: Firmware,
    /// Consoles; the last is the one that services write to.
    pub console: &'static str,
    /// For people.
    pub about: &'static str,
}

/// What stands between a Raspberry Pi and its card, in the order in which one needs the other: clocks and power of its
/// firmware, pins behind them, regulators behind those, then hosts. Of the 3 (BCM2837), the 4 (BCM2711) and the 5 (BCM2712).
const RASPBERRY_PI: [&str; 12] = [
    "clk_raspberrypi",
    "raspberrypi_power",
    "bcm2835_power",
    "bcm2835_dma",
    "reset_brcmstb_rescal",
    "reset_brcmstb",
    "irq_bcm2712_mip",
    "gpio_raspberrypi_exp",
    "gpio_brcmstb",
    "fixed",
    "gpio_regulator",
    "sdhci_brcmstb",
];

/// Every board.
pub const BOARDS: [Board; 3] = [
    Board {
        name: "amd64-uefi",
        target: "debian/amd64",
        architecture: "amd64",
        kernel: "linux-image-amd64",
        packages: &["systemd-boot-efi"],
        firmware_packages: &[],
        wifi_package: None,
        modules: &[],
        firmware: Firmware::Uefi {
            loader: ("systemd-bootx64.efi", "BOOTX64.EFI"),
            grub: ("grub-efi-amd64-bin", "x86_64-efi/monolithic/grubx64.efi"),
            root_type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        },
        console: "console=tty0 console=ttyS0,115200",
        about: "PCs and virtual machines with UEFI",
    },
    Board {
        name: "arm64-uefi",
        target: "debian/arm64",
        architecture: "arm64",
        kernel: "linux-image-arm64",
        packages: &["systemd-boot-efi"],
        firmware_packages: &[],
        wifi_package: None,
        modules: &[],
        firmware: Firmware::Uefi {
            loader: ("systemd-bootaa64.efi", "BOOTAA64.EFI"),
            grub: ("grub-efi-arm64-bin", "arm64-efi/monolithic/grubaa64.efi"),
            root_type: "b921b045-1df0-41c3-af44-4c6f280d3fae",
        },
        console: "console=tty0 console=ttyAMA0,115200",
        about: "64-bit ARM servers and virtual machines with UEFI",
    },
    Board {
        name: "raspberry-pi",
        target: "debian/arm64",
        architecture: "arm64",
        kernel: "linux-image-arm64",
        packages: &[],
        firmware_packages: &["raspi-firmware"],
        wifi_package: Some("firmware-brcm80211"),
        modules: &RASPBERRY_PI,
        firmware: Firmware::RaspberryPi,
        // Of the 5, then of the 3 and the 4; a kernel passes over what is not there.
        console: "console=tty0 console=ttyAMA10,115200 console=ttyS1,115200",
        about: "Raspberry Pi 3 and 4 (64 bit); 5 with suite = \"trixie\"",
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
