//! Rollouts: a new version reaches a fleet in phases, and stops by itself when devices fail.
//!
//! ```text
//!  push --rollout ─► waiting ─approve─► running ◄─resume─┐
//!                    (where asked)       │ │ └──pause──► paused
//!                                        │ └─too many fail─► halted ─resume─► running
//!                                        └─last phase over─► done        abort: from each but done
//! ```
//!
//! Each turn lets devices in (their turn has come); a device is *offered* the version when it fetches it. Only a running
//! rollout lets in or offers; what a device was offered stays offered to it until something newer takes its place.
//! [`pace`] and [`window`] decide, without I/O; [`steward`] reads, asks them, and writes.

pub mod act;
pub mod make;
pub mod pace;
pub mod steward;
pub mod window;

#[cfg(test)]
mod pace_tests;
