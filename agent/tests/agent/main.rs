//! `jos agent` with real processes under the generic init: installed, killed, stopped, reloaded, removed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod flow;
mod home;
mod install;
mod processes;
mod state;
mod status;
