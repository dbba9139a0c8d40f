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

mod accounts;
mod act;
mod book;
mod compare;
mod content;
mod crontab;
mod diff;
pub mod disk;
pub mod gate;
mod globs;
mod health;
mod hex;
mod identity;
mod journal;
pub mod ledger;
mod marked;
mod offline;
mod outcome;
mod plan;
mod plane;
pub mod replay;
mod secrets;
mod store;
mod sysctl;
#[cfg(test)]
mod testing;
pub mod uci;
pub mod world;

pub use act::{Captured, PackageResult};
pub use book::Last;
pub use content::pump;
pub use gate::is_code_path;
pub use identity::{own_ledger_key, public_ledger_key};
pub use journal::{JournalError, Phase};
pub use outcome::{Outcome, Report, outcome_word};
pub use plan::{Action, Change, Plan, Shape};
pub use plane::{
    FlowAct, FlowOutcome, FlowStep, InForce, Moving, Plane, PlaneError, Proposed, Regained, RootError, Setup, Stage,
    Status, Wishes, Word, setup_of, source_of,
};
pub use store::{StoreError, forget};
