//! The hub from outside: real TLS, real keys, the real wire.

mod admin;
mod common;
mod config;
mod identity;
mod load;
mod process;
mod registry;
