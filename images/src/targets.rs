//! The machines packages are made for: a table, so that a new one is one line of data.
//!
//! Owns: target names as profiles write them, the architecture word each package manager uses, and which program serves
//! which target. One static program per kind of CPU serves Debian and OpenWrt alike.
//! Never: knows how a program is compiled (see [`crate::builders`]) or what a package holds (see [`crate::bake`]).

use serde::Serialize;

/// The system a package is installed on, which decides its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Debian, Raspberry Pi OS, Ubuntu: `.deb`, systemd.
    Debian,
    /// OpenWrt up to 24.10: `.ipk`, procd.
    OpenWrt,
    /// macOS 11 and later: `.pkg`, launchd.
    MacOs,
    /// Windows 10 and later: `.msi`, the service manager.
    Windows,
}

impl System {
    /// Every system.
    pub const ALL: [System; 4] = [System::Debian, System::OpenWrt, System::MacOs, System::Windows];

    /// The word before the slash of a target, and in `systems = […]` of a profile.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            System::Debian => "debian",
            System::OpenWrt => "openwrt",
            System::MacOs => "macos",
            System::Windows => "windows",
        }
    }

    /// The file name extension of its packages.
    #[must_use]
    pub fn format(self) -> &'static str {
        match self {
            System::Debian => "deb",
            System::OpenWrt => "ipk",
            System::MacOs => "pkg",
            System::Windows => "msi",
        }
    }
}

/// One compiled program: a Rust target triple with what its linking needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Triple {
    /// As rustc names it.
    pub name: &'static str,
    /// `RUSTFLAGS` of the zigbuild recipe. Without `+crt-static`, MIPS programs link and then crash.
    #[serde(skip)]
    pub rustflags: &'static str,
    /// Further environment of the zigbuild recipe.
    #[serde(skip)]
    pub environment: &'static [(&'static str, &'static str)],
}

/// `-s` and `-O2` are for what zig compiles itself: its C library without debugging information, and no library of a sanitizer
/// that nobody asked for. Both would be thrown away, and take half of the time that linking takes.
const CRT_STATIC: &str = "-Clink-self-contained=no -Ctarget-feature=+crt-static -Cforce-unwind-tables=no \
    -Clink-arg=-s -Clink-arg=-O2";
/// On MIPS every call and datum of position-independent code goes through a table, and flash is smallest there: the
/// program is linked at a fixed address, its panics name no source line, and SHA-2 is a loop instead of 80 rounds written
/// out. In a stack frame over 32 KiB each access takes three instructions in place of one, so that functions with large
/// frames stay apart; and the slot behind a branch is filled also from behind a call and from where the branch leads
/// (docs/decisions/043).
const MIPS_SMALL: &str = "-Clink-self-contained=no -Ctarget-feature=+crt-static -Cforce-unwind-tables=no \
    -Clink-arg=-s -Clink-arg=-O2 -Crelocation-model=static -Zlocation-detail=none --cfg=sha2_backend_soft=\"compact\" \
    -Cllvm-args=-inline-max-stacksize=8192 -Cllvm-args=-disable-mips-df-forward-search=false \
    -Cllvm-args=-disable-mips-df-succbb-search=false";
/// zig's Mach-O linker cannot strip through rustc (no rust-objcopy); `-s` does it at link time. A Mac has no small flash: what
/// optimising the whole program at once saves there is not worth a third of the time.
const MACOS: &[(&str, &str)] = &[
    ("MACOSX_DEPLOYMENT_TARGET", "11.0"),
    ("CARGO_PROFILE_DEVICE_LTO", "off"),
    ("CARGO_PROFILE_DEVICE_STRIP", "false"),
];

const fn musl(name: &'static str, rustflags: &'static str) -> Triple {
    Triple {
        name,
        rustflags,
        environment: &[],
    }
}

/// 64-bit PCs and routers.
pub const X86_64: Triple = musl(
    "x86_64-unknown-linux-musl",
    "-Clink-self-contained=no -Cforce-unwind-tables=no -Clink-arg=-s -Clink-arg=-O2",
);
/// 64-bit ARM.
pub const AARCH64: Triple = musl("aarch64-unknown-linux-musl", CRT_STATIC);
/// ARMv6 with hardware floating point: runs on every Raspberry Pi and on all later ARM.
pub const ARM: Triple = musl("arm-unknown-linux-musleabihf", CRT_STATIC);
/// Little-endian MIPS, soft float: MediaTek MT76xx routers.
pub const MIPSEL: Triple = musl("mipsel-unknown-linux-musl", MIPS_SMALL);
/// Big-endian MIPS, soft float: Atheros and QCA routers.
pub const MIPS: Triple = musl("mips-unknown-linux-musl", MIPS_SMALL);
/// Macs with Apple silicon.
pub const MAC_ARM: Triple = Triple {
    name: "aarch64-apple-darwin",
    rustflags: "-Clink-arg=-s",
    environment: MACOS,
};
/// Macs with Intel processors.
pub const MAC_INTEL: Triple = Triple {
    name: "x86_64-apple-darwin",
    rustflags: "-Clink-arg=-s",
    environment: MACOS,
};

/// 64-bit Windows, with the C runtime that every Windows 10 has.
pub const WINDOWS: Triple = Triple {
    name: "x86_64-pc-windows-gnu",
    rustflags: "-Clink-arg=-s",
    environment: &[],
};

/// Every program, once.
pub const TRIPLES: [Triple; 8] = [X86_64, AARCH64, ARM, MIPSEL, MIPS, MAC_ARM, MAC_INTEL, WINDOWS];

/// What a package is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// As profiles write it: `openwrt/mipsel_24kc`.
    pub name: &'static str,
    /// Which system.
    pub system: System,
    /// As the system's package manager names it.
    pub architecture: &'static str,
    /// The program it carries; two for a universal one.
    pub programs: &'static [Triple],
    /// For people.
    pub about: &'static str,
}

macro_rules! targets {
    ($($system:ident $name:literal $architecture:literal [$($triple:ident),+] $about:literal;)+) => {
        &[$(Target {
            name: $name, system: System::$system, architecture: $architecture, programs: &[$($triple),+], about: $about,
        }),+]
    };
}

/// Every target.
pub const TARGETS: &[Target] = targets! {
    Debian "debian/amd64" "amd64" [X86_64] "PCs and servers";
    Debian "debian/arm64" "arm64" [AARCH64] "Raspberry Pi 3 and later with a 64-bit system, ARM servers";
    Debian "debian/armhf" "armhf" [ARM] "32-bit Raspberry Pi OS on any Raspberry Pi (ARMv6, hard float)";
    OpenWrt "openwrt/mipsel_24kc" "mipsel_24kc" [MIPSEL] "MediaTek MT7620, MT7621, MT7628 (ramips)";
    OpenWrt "openwrt/mips_24kc" "mips_24kc" [MIPS] "Atheros and Qualcomm (ath79)";
    OpenWrt "openwrt/aarch64_generic" "aarch64_generic" [AARCH64] "any 64-bit ARM, virtual machines";
    OpenWrt "openwrt/aarch64_cortex-a53" "aarch64_cortex-a53" [AARCH64] "MediaTek Filogic, Raspberry Pi 3, Qualcomm IPQ";
    OpenWrt "openwrt/aarch64_cortex-a72" "aarch64_cortex-a72" [AARCH64] "Raspberry Pi 4, NXP Layerscape, Marvell Armada 8K";
    OpenWrt "openwrt/aarch64_cortex-a76" "aarch64_cortex-a76" [AARCH64] "Raspberry Pi 5";
    OpenWrt "openwrt/arm_cortex-a7_neon-vfpv4" "arm_cortex-a7_neon-vfpv4" [ARM] "Qualcomm IPQ40xx, Allwinner, Raspberry Pi 2";
    OpenWrt "openwrt/x86_64" "x86_64" [X86_64] "PCs and virtual machines";
    MacOs "macos/universal" "universal" [MAC_ARM, MAC_INTEL] "Macs with Apple silicon or Intel, macOS 11 and later";
    Windows "windows/amd64" "amd64" [WINDOWS] "64-bit PCs with Windows 10 or later";
};

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|t| t.name == name)
}

/// The known name most like `name`, when one is near enough to be meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, TARGETS.iter().map(|t| t.name))
}

/// The candidate most like `name`, when one is near enough to be meant.
pub(crate) fn nearest_of<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(&name.to_lowercase(), c), c));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_named_after_its_system_and_architecture() {
        for target in TARGETS {
            assert_eq!(target.name, format!("{}/{}", target.system.name(), target.architecture));
            assert!(target.programs.iter().all(|p| TRIPLES.contains(p)), "{}", target.name);
        }
    }

    #[test]
    fn one_program_serves_debian_and_openwrt_on_the_same_cpu() {
        let programs = |name| find(name).expect("known").programs;
        assert_eq!(programs("debian/arm64"), programs("openwrt/aarch64_cortex-a76"));
        assert_eq!(programs("debian/armhf"), programs("openwrt/arm_cortex-a7_neon-vfpv4"));
        assert_eq!(programs("debian/amd64"), programs("openwrt/x86_64"));
    }

    #[test]
    fn a_misspelt_target_finds_the_one_that_was_meant() {
        assert_eq!(nearest("openwrt/mipsel24kc"), Some("openwrt/mipsel_24kc"));
        assert_eq!(nearest("debian/aarch64"), Some("debian/arm64"));
        assert_eq!(nearest("zx81"), None);
    }
}
