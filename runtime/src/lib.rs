//! The plane: the one place that changes a device.
//!
//! Owns: the gate (policy against every step), the ledger (every decision before it acts, every outcome after), the
//! undo journal, the transactional apply with health check and rollback, recovery after a crash, drift. It takes only
//! [`jos_trust::Verified`] states. Never opens a socket, starts no thread, reads no clock and no randomness by itself:
//! the [`world`] brings those.
//!
//! ```text
//! Verified state ─► requires, gate ─► plan ─► ledger: decision ─► floors ─► journal ─► act ─► health, confirm
//!                      │ refused                (durable)        (durable)  (durable)            │      │
//!                      ▼                                                                confirmed ▼      ▼ failed
//!                 ledger: refused                                     floors, ledger: outcome       undo, then
//!                                                                                                 ledger: outcome
//! ```

pub mod disk;
pub mod gate;
mod globs;
mod hex;
pub mod ledger;
mod secrets;
mod store;
pub mod world;
