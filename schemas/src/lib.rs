//! The documents of jos.
//!
//! Owns: every document as a Rust type (serde, schemars), the strict readers that turn JSON or TOML bytes into those
//! types, and the located errors that a person sees. Never does I/O, reads no clock, knows no cryptography.

pub mod documents;
pub mod text;
mod untagged;
