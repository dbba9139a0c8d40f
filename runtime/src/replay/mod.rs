//! Replay: what the ledger alone says of the device.
//!
//! Owns the deterministic state machine over records. It runs no command, asks no model, opens no socket and reads no
//! clock: it is a function of the records and the blobs that they name. For every decision it executes the gate again
//! (from the policy that was recorded beside it) and for every outcome the executor (from the signed state, parsed again
//! from its bytes), and holds what comes out against what the record says. What only the world could know (what stood
//! at an unmanaged path, how a command ended, which number a user has) is taken from the record and labelled so.
//!
//! ```text
//! record ─► chain, index, name ─► decision: state parsed, hashed, signatures ─► floors ─► gate again ─┐
//!                              │                                                                       ▼
//!                              ├► outcome: its decision, once ─► executor again: path by path ─► streams, paths, history
//!                              ├► refused, broken: counted, who caused them
//!                              └► checkpoint: must equal the machine, or begins it
//! ```

mod acts;
mod change;
mod check;
mod checkpoint;
mod decide;
mod divergence;
mod edited;
mod flow;
mod line;
mod machine;
mod missing;
mod moved;
mod quick;
mod rules;
mod run;
mod settle;
mod shared;
mod shelf;
mod sides;
mod tally;
#[cfg(test)]
mod tests;
mod told;
mod tree;
mod wants;

pub use checkpoint::CheckpointParts;
pub use divergence::Divergence;
pub use machine::{Holding, InForce, Machine, Managed};
pub use run::{Run, run, run_twice};
pub use shelf::{Blobs, State};
pub use tally::{Counts, Event, Failure, Happened, Watch};
pub use tree::{Content, Difference, Known, SecretOf, is_fresh};
pub(crate) use wants::overlaid;
