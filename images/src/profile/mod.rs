//! From profile files to one resolved, checked profile in which every value knows its file and line.
//!
//! Owns: `extends` (beside the profile, then `--profiles DIR`, then the built-in bases), the merge over located trees
//! before types are read, the rules a vendor can break, and the files that a profile names.
//! Never: writes anything, and never decides what a package holds.

pub mod bases;
pub mod check;
pub mod files;
mod image;
pub mod paths;
pub(crate) mod resolve;

use jos_schemas::documents::profile::Profile;
use jos_schemas::node::Node;

pub use files::{Files, Invalid, Place, Problems};
pub use resolve::{Finder, resolve};

/// A profile with all that it extends.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The profile's own name: its file name without `.toml`.
    pub name: String,
    /// What was read.
    pub profile: Profile,
    /// The same, located.
    pub node: Node,
    /// The texts.
    pub files: Files,
}

impl Resolved {
    /// Where the value at a JSON pointer was written.
    #[must_use]
    pub fn place(&self, pointer: &str) -> Option<Place> {
        self.node.pointer(pointer).map(|n| self.files.place(&n.span))
    }
}
