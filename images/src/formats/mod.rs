//! Package formats: deterministic writers, and the reader behind `jos-image inspect`.
//!
//! Owns: the bytes of `.deb`, `.ipk`, `.apk`, macOS `.pkg` and Windows `.msi` packages and of universal Mach-O programs, built
//! in memory from a [`Tree`]; and [`inspect()`], which takes such a file apart again.
//! Never: decides what goes into a package (the pipeline does), runs a program, signs, or writes to disk.
//!
//! Determinism: every writer takes its one time stamp from the caller (`epoch`, seconds since 1970, the value of
//! `SOURCE_DATE_EPOCH`), sorts its members by name, and stores no name, id or time of the machine it runs on. The same
//! input therefore gives the same bytes, which a test per format holds true.
//!
//! | module | format | written after |
//! |---|---|---|
//! | [`tree`] | what a package installs | Debian Policy §9, refusals for "tar slips" |
//! | [`control`] | one `Name: value` stanza | deb822(5), Debian Policy §5 |
//! | [`ar`], [`deb`] | Debian binary package | deb(5), deb-control(5), deb-md5sums(5), deb-conffiles(5) |
//! | [`ipk`] | opkg package | opkg and OpenWrt's `ipkg-build` conventions |
//! | [`apk`] | apk v3 package, by [`jos_apk`] | apk-v3(5), OpenWrt's `package-pack.mk` |
//! | [`tar`], [`gzip`], [`xz`], [`cpio`] | their carriers | tar(5) (GNU), RFC 1952, the .xz format, cpio(5) (odc) |
//! | [`bom`], [`xar`], [`pkg`] | macOS installer product | xar's wiki "xarformat"; the BOM store as known in public |
//! | [`msi`] | Windows Installer package | the Windows Installer Database Reference, by the crates `msi` and `cab` |
//! | [`macho`] | universal program | Apple's `mach-o/fat.h`, `mach-o/loader.h` |

pub mod apk;
pub mod ar;
pub mod bom;
pub mod control;
pub mod cpio;
pub(crate) mod date;
pub mod deb;
mod error;
pub mod gzip;
pub mod hash;
pub mod inspect;
pub mod ipk;
pub mod macho;
pub mod msi;
pub mod pkg;
pub mod scripts;
pub mod tar;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod xar;
pub mod xz;

pub use apk::ApkPackage;
pub use deb::{DebControl, DebPackage};
pub use error::FormatError;
pub use inspect::{Report, inspect, inspect_file};
pub use ipk::{IpkControl, IpkPackage};
pub use msi::{MsiInfo, MsiPackage};
pub use pkg::{PkgInfo, PkgPackage};
pub use scripts::Scripts;
pub use tree::{Entry, EntryKind, Tree};

/// The most bytes any one member of a package may unpack to when read: 1 GiB, against decompression bombs.
pub const UNPACKED_LIMIT: u64 = 1 << 30;
