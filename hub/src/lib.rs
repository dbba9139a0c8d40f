//! The hub: where devices enrol, call, fetch what is meant for them and report what became of it.
//!
//! Owns: the certificate authority for device keys, the registry of devices, the store of signed states and trust
//! documents, freshness statements, and the administration of all that. It verifies what admins sign and holds no key that
//! could sign it; a hub that is taken over withholds and tells the wrong time, and changes no device.
//!
//! ```text
//!  device ── TLS 1.3, client certificate ──► gate ─► intake ─► store ◄─ push ◄── admin (API token, or the data directory)
//!                                             │               ▲
//!                                             └─► offer ──────┘
//! ```
//!
//! One process with an embedded SQLite is a whole hub; any number of them share one PostgreSQL. All SQL is in [`store`], in the
//! words that both take.

pub mod actor;
pub mod api;
pub mod api_token;
pub mod authorities;
pub mod blob;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod dir;
pub mod enrol;
pub mod fault;
pub mod figures;
pub mod gate;
pub mod history;
pub mod hub;
pub mod intake;
pub mod live;
pub mod lookups;
pub mod metrics;
pub mod names;
pub mod offer;
pub mod pages;
pub mod parking;
pub mod push;
pub mod random;
pub mod rates;
pub mod renew;
pub mod rights;
pub mod rollout;
pub mod rotation;
pub mod seal;
pub mod serve;
pub mod simulate;
pub mod slack;
pub mod store;
pub mod strokes;
pub mod tls;
pub mod users;
pub mod watchman;
