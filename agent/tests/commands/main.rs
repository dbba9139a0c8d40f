//! The commands that need no device, driven by the built program: documents, schemas, completions, manual pages, the
//! programs beside `jos`, and what holds for every command: exit codes, streams, colour.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod beside;
mod desk;
mod documents;
#[cfg(feature = "desk")]
mod manual;
mod printing;
mod validate;
