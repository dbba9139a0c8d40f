//! The hub from outside: real TLS, real keys, the real wire.

mod admin;
mod browser;
mod chromium;
mod common;
mod config;
mod identity;
mod load;
mod pages;
mod process;
mod registry;
mod sign_in;
