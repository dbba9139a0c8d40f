//! The documents of jos.
//!
//! Owns: every document as a Rust type (serde, schemars), the strict readers that turn JSON or TOML bytes into those
//! types, and the located errors that a person sees. Never does I/O, reads no clock, knows no cryptography.

pub mod catalogue;
pub mod check;
pub mod documents;
pub mod layout;
pub mod node;
pub mod own;
pub mod read;
pub mod report;
mod ruled;
#[cfg(feature = "json-schema")]
mod schema;
pub mod sorted;
mod tagged;
pub mod text;
pub mod unit;
mod untagged;
pub mod write;

pub use catalogue::{Document, catalogue, detect};
pub use check::Check;
pub use node::{Entry, Kind, Node, Span};
pub use read::{Format, Limits, Parsed};
pub use report::{Issue, Report};
