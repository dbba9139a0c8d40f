//! The hub from outside: real TLS, real keys, the real wire.

mod accounts;
mod admin;
mod api_tokens;
mod browser;
mod chromium;
mod common;
mod config;
mod database_tls;
mod folder_key;
mod full_disk;
mod herd;
mod history;
mod identity;
mod limits;
mod load;
mod pages;
mod process;
mod questions;
mod registry;
mod rollouts;
mod rotation;
mod several;
mod sign_in;
mod simulated;
mod verbs;
mod waiting;
