//! A node of the runtime: agents propose, the node gates, records, acts, and can replay.
//!
//! Owns the data directory (`inbox/`, `claimed/`, …), the jobs in it, the registry of agents and tools, capabilities,
//! schedules, evals and the state machine. Every decision goes through one gate into one ledger of the plane's kind
//! ([`jos_runtime::ledger`]) before it acts. Opens no socket: models are reached through [`contract::Model`], which the
//! program brings. With the feature `postgres` there is one exception: the queue of jobs may be a database ([`queue`]).
//!
//! ```text
//! inbox/ID.json ─► claim ─► agent.decide ─► proposals ─► gate ─► ledger: decision ─► execute ─► ledger: outcome ─► outbox/
//!                            │ model (captured)            │ refused                   │ handles of the proposer
//!                            └ handles (audited)           ▼                           ▼
//!                                                   ledger: refused             tool, built-in, machine
//! ```

pub mod agents;
pub mod chapter;
pub mod contract;
mod cron;
pub mod declared;
mod error;
pub mod evals;
pub mod examples;
mod execute;
pub mod gate;
pub mod hands;
pub mod import;
pub mod jobs;
pub mod join;
pub mod keep;
pub mod lease;
pub mod machine;
pub mod models;
pub mod place;
mod pool;
pub mod queue;
mod records;
pub mod registry;
pub mod replay;
mod resume;
pub mod roles;
pub mod schedules;
mod seals;
pub mod serve;
mod status;
pub mod tools;
pub mod watch;
mod writer;

pub use error::NodeError;
