//! The hub from outside: real TLS, real keys, the real wire.

mod admin;
mod common;
mod config;
mod history;
mod identity;
mod load;
mod process;
mod registry;
mod rollouts;
mod simulated;
