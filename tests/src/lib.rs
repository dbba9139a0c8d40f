//! What the end-to-end tests stand on: the built programs, commands with a deadline, conditions with a deadline, and two
//! kinds of test machine.
//!
//! - [`programs`] finds `jos` and `jos-image` as they were built.
//! - [`command`] runs a program within a time limit and keeps everything it said.
//! - [`wait`] waits for a condition; nothing here waits for time to pass.
//! - [`baked`] has `jos-image` bake packages, signed by a vendor's key.
//! - [`cache`] makes a costly thing once for all tests and later runs, outside the checkout.
//! - [`model`] is a server of language models over HTTP and TLS.
//! - [`node`] is a node of the runtime on a data directory of its own.
//! - [`image`] has `jos-image` make an image as an ordinary user, and boots it as its firmware would.
//! - [`nspawn`] boots a Debian whose PID 1 is systemd in about a second.
//! - [`readers`] reads formats that have no second tool here.
//! - [`vendor_disk`] is a disk that a vendor brings, made by other tools than ours.
//! - [`torture`] kills a program at its K-th write-like call, or makes that call fail.
//! - [`qemu`] boots a Debian on an emulated amd64 or arm64 machine, whose power can be cut.
//!
//! Everything here panics on failure with all it knows: it is called by tests, and a test's report is its panic message.
//! It links none of the workspace's crates: what it tests are programs, as a person has them.

pub mod baked;
pub mod cache;
pub mod command;
mod disk;
pub mod fleet;
pub mod image;
pub mod model;
pub mod node;
pub mod nspawn;
pub mod postgres;
pub mod programs;
pub mod qemu;
pub mod readers;
pub mod torture;
pub mod vendor_disk;
pub mod wait;
