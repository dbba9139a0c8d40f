//! `jos agent run`: one agent, in the foreground, until it is told to stop.
//!
//! ```text
//!  plane (this process, the rights of the agent)         network half (child: own user, seccomp, Landlock)
//!  recover ─► flow of the artifact ─► turns   ◄─ frames ─►   reads one folder, gives bytes
//!                 │                                            ends with the plane (end of stream, parent-death signal)
//!                 └─► status file, log, service manager
//! ```
//!
//! Recovery comes before everything else. Signals and frames wake one `poll`; between turns only the timer does.

pub(crate) mod blob;
pub(crate) mod confine;
pub(crate) mod facts;
pub(crate) mod fetcher;
mod figures;
mod flow;
pub(crate) mod half;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod net;
#[cfg(feature = "runtime")]
mod node;
mod notify;
mod pause;
pub(crate) mod pem;
mod plane;
pub(crate) mod settings;
mod spool;
mod telemetry;
#[cfg(target_os = "linux")]
mod uplink;

pub(crate) use plane::daemon;
