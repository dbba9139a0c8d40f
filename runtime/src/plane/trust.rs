//! The trust root as the device keeps it: the one that the package brought, or a later one that was walked to.
//!
//! Owns `trust.json` in the data directory and the moment at which a root's floors are adopted. The rules are
//! [`jos_trust`]'s.

use jos_schemas::text::Name;
use jos_trust::TrustRoot;
use jos_trust::refused::TrustRefused;
use jos_trust::root::Received;

use super::{Plane, PlaneError};
use crate::store;

const FILE: &str = "trust.json";
const LIMIT: u64 = 2 * 1024 * 1024;

/// Why there is no root to trust.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A rule is broken.
    #[error("{file}: {refused}")]
    Refused {
        /// Which document.
        file: String,
        /// Which rule.
        refused: Box<TrustRefused>,
    },
    /// The plane could not read or write.
    #[error(transparent)]
    Plane(#[from] PlaneError),
}

impl Plane<'_> {
    /// The root in use, given the one that the package brought: a stored later one goes before it. What is used for
    /// the first time is adopted: its version becomes the trust floor, its floors are set.
    pub fn trust_root(&self, baked: TrustRoot, tenant: Option<&Name>) -> Result<TrustRoot, RootError> {
        let stored = self.stored_root()?;
        let floors = self.floors()?;
        let refused = |e| RootError::Refused {
            file: self.data.show(FILE),
            refused: Box::new(e),
        };
        let root = TrustRoot::live(baked, stored.clone(), &floors).map_err(refused)?;
        if floors.trust() != Some(root.edition()) {
            self.adopt_roots(std::slice::from_ref(&root), stored.as_ref(), tenant)?;
        }
        Ok(root)
    }

    /// The same without taking it into use: nothing is written.
    pub fn peek_trust_root(&self, baked: TrustRoot) -> Result<TrustRoot, RootError> {
        let refused = |e| RootError::Refused {
            file: self.data.show(FILE),
            refused: Box::new(e),
        };
        TrustRoot::live(baked, self.stored_root()?, &self.floors()?).map_err(refused)
    }

    /// Adopts roots that [`TrustRoot::walk`] gave: the last is stored, then the floors move.
    pub fn adopt_roots(
        &self,
        chain: &[TrustRoot],
        before: Option<&TrustRoot>,
        tenant: Option<&Name>,
    ) -> Result<(), RootError> {
        let Some(last) = chain.last() else { return Ok(()) };
        let mut result = Ok(());
        // Judged on a copy first: a root that is refused is never stored.
        let adopted = self.floors()?.adopt_trust(chain, before, tenant);
        adopted.map_err(|e| RootError::Refused {
            file: self.data.show(FILE),
            refused: Box::new(e),
        })?;
        self.data
            .write_private(FILE, &last.to_bytes())
            .map_err(PlaneError::from)?;
        store::change_floors(&self.data, &mut |floors| {
            result = floors.adopt_trust(chain, before, tenant).map(drop);
        })
        .map_err(PlaneError::from)?;
        result.map_err(|e| RootError::Refused {
            file: self.data.show(FILE),
            refused: Box::new(e),
        })
    }

    /// The stored root as it lies there.
    pub(super) fn stored_root_bytes(&self) -> Result<Option<Vec<u8>>, PlaneError> {
        match self.data.read(FILE, LIMIT) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn stored_root(&self) -> Result<Option<TrustRoot>, RootError> {
        let Some(bytes) = self.stored_root_bytes()? else {
            return Ok(None);
        };
        let file = self.data.show(FILE);
        let opened = TrustRoot::open(Received::json(&file, &bytes));
        opened.map(Some).map_err(|e| RootError::Refused {
            file: file.clone(),
            refused: Box::new(e),
        })
    }
}
