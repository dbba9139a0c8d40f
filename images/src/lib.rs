//! The image pipeline behind `jos-image`: from a vendor's profile to signed packages and images.
//!
//! | module | owns |
//! |---|---|
//! | [`profile`] | reading, merging and checking profiles |
//! | [`targets`] | the table of machines |
//! | [`builders`] | compiling the device program, and its cache |
//! | [`bake`] | what a package holds |
//! | [`formats`] | the bytes of packages |
//! | [`image`], [`seeds`] | bootable images, and what one device alone has |
//! | [`openwrt`] | overlays, and images by a vendor's ImageBuilder |
//! | [`repo`] | repositories of packages |
//! | [`sbom`], [`provenance`] | the bill of materials beside packages, and the signed statement about each |
//! | [`verify`], [`diff`] | whether what was made is what was signed; what differs between two packages or two images |
//! | [`manifest`], [`output`] | what is written beside packages, and how |
//! | [`cli`] | the command line |
//!
//! Never: depends on the agent or the runtime; where it needs what they do, it runs `jos` as a program.

pub mod bake;
pub mod builders;
#[cfg(feature = "cli")]
pub mod cli;
pub mod diff;
pub mod formats;
pub mod image;
pub mod manifest;
pub mod openwrt;
pub mod output;
pub mod profile;
pub mod provenance;
pub mod repo;
pub mod sbom;
pub mod seeds;
pub mod targets;
pub mod verify;
