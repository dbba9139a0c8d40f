//! The wires: between the two halves of the agent, and between agent and hub; and the loop that the halves turn in.
//!
//! Owns the frames ([`frame`]), what may be said in which direction ([`message`]), and the loop as a state machine without
//! I/O ([`turn`]): time and replies go in, requests and decisions come out, so that a test drives years of it in a second.
//! Owns the wire to the hub too: its paths and replies ([`wire`]), the enrolment token ([`token`]), and the loop that a
//! device turns in with it ([`rounds`]). Never touches a file descriptor, a clock or a random source.
//!
//! ```text
//!  network half (no rights)                      plane (root)
//!  reads bytes, gives no verdict ── Offer ──►  parses, verifies, applies
//!                                ◄── Look ──   decides when
//! ```

pub mod ask;
pub mod backoff;
pub mod frame;
pub mod message;
pub mod rounds;
pub mod token;
pub mod turn;
pub mod wire;

pub use ask::{Door, Reply, Request};
pub use backoff::Backoff;
pub use frame::{Decoder, Frame, FrameError};
pub use message::{FromFetcher, MessageError, ToFetcher};
pub use rounds::{Action, Document, Known, Loop, News, Pace, Taken, Took};
pub use token::Token;
pub use turn::{Config, Do, Event, Turn};
