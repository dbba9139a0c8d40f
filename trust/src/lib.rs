//! Who may change a device, and how the device knows.
//!
//! Owns: the canonical bytes that are signed, ed25519 keys and their files, the walk from one trust root to the next,
//! the verification of a desired state, and the floors that keep a device from going back. The rules are those of the
//! TUF specification (<https://theupdateframework.github.io/specification/latest/>) where it has one; each check names
//! its clause. [`Verified`] is made here and nowhere else: the plane takes nothing else, so nothing unsigned acts.
//!
//! Never does: network, clock (every function takes one reading of now), storage of floors or roots (the runtime
//! stores what [`floors::Floors`] and [`root::TrustRoot`] give it). The one exception is [`keyfile`], which reads and
//! writes secret keys, because their file modes are part of their safety.
//!
//! ```text
//!  bytes ─► limit ─► strict parse ─► canonical ─► signatures ─► types ─► audience, expiry, floor ─► Verified<T>
//! ```
//!
//! A value that only claims to be verified does not compile:
//!
//! ```compile_fail,E0451
//! use jos_schemas::documents::desired_state::DesiredState;
//! fn forge(state: DesiredState, honest: jos_trust::Verified<DesiredState>) -> jos_trust::Verified<DesiredState> {
//!     jos_trust::Verified { value: state, ..honest }
//! }
//! ```

pub mod blob;
pub mod canonical;
pub mod checkpoint;
pub mod digest;
pub mod envelope;
pub mod floors;
pub mod keyfile;
pub mod keys;
pub mod refused;
pub mod release;
pub mod request;
pub mod root;
pub mod sign;
mod signatures;
pub mod state;
pub mod statement;
mod verified;

#[cfg(test)]
mod testing;

pub use digest::{Digest, sha256};
pub use floors::{Floors, Standing, Stream};
pub use keys::{KeyId, PublicKey, SecretKey};
pub use refused::{Refused, TrustRefused};
pub use root::TrustRoot;
pub use state::{Channel, Context, verify_state};
pub use verified::Verified;
