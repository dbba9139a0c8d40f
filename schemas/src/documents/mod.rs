//! Every document, one file each.

pub mod agent_config;
pub mod artifact;
pub mod desired_state;
pub mod ledger;
pub mod policy;
pub mod profile;
pub mod trust;
