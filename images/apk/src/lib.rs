//! apk v3: the packages (`NAME-VERSION.apk`) and package indexes (`packages.adb`, `APKINDEX.adb`) of apk-tools 3, which
//! OpenWrt uses from 25.12 on and Alpine from 3.23 on.
//!
//! Facts from apk-tools' own description of the format (`apk-v3(5)`) and its source (`adb.h`, `apk_adb.h`); everything is
//! little-endian.
//!
//! ```text
//! file      "ADB." schema:u32 block…          not compressed
//!           "ADBd" deflate(file)              raw deflate, no zlib header
//!           "ADBc" algorithm:u8 level:u8 …    another algorithm; not read here
//! schema    "pckg" a package · "indx" an index · "idb\0" what is installed
//! block     type:2 size:30 payload padding    `size` counts this word, padding to 8 is not counted
//!           type 0 ADB    once, first         the tree of values
//!                1 SIG    any number          version:u8 hash:u8 key-id[16] signature
//!                2 DATA   one per file        path:u32 file:u32 bytes; both count from 1
//!                3 long   type in `size`, then 4 bytes of nothing and size:u64
//! tree      compat:u8 version:u8 0:u16 root:value value…
//! value     kind:4 rest:28                    `rest` is the value, or its place in the tree
//!           0 nothing, true, false · 1 number below 2^28 · 2, 3 place of a u32, u64 · 8, 9, a place of bytes
//!           with a length of 8, 16, 32 bits · d place of an array · e place of an object
//! array,    count:u32 value…                  `count` counts itself, too; an object's fields have the numbers of
//! object                                      its schema, from 1
//! ```
//!
//! A signature is over `schema ‖ version hash key-id ‖ SHA-512(tree)`, made with ECDSA on P-256 and SHA-512; a key's id is the
//! start of the SHA-512 of its public point. Data blocks are held by the SHA-256 of each file in the tree. An index names a
//! package by the SHA-256 of its tree.
//!
//! | module | owns |
//! |---|---|
//! | [`value`] | the tree of values and its bytes |
//! | [`block`] | blocks, compression, what is signed |
//! | [`key`] | keys and signatures |
//! | [`version`] | the order of versions |
//! | [`dependency`] | `name>=1.2` |
//! | [`info`], [`package`], [`index`] | the schemas |
//!
//! Equal input gives equal bytes, signatures included. Bytes that are read are taken for hostile: lengths are checked before
//! they are used, and trees and archives that unfold to more than a [`Limits`] allows are refused.

pub mod block;
pub mod dependency;
pub mod error;
pub mod index;
pub mod info;
pub mod key;
pub mod package;
pub mod value;
pub mod version;

pub use block::{Compression, Limits};
pub use dependency::Dependency;
pub use error::ApkError;
pub use index::Index;
pub use info::PackageInfo;
pub use key::{PublicKey, SigningKey};
pub use package::{Content, Dir, File, Owner, Package, Scripts};
