//! What all simulated devices share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jos_trust::root::Received;
use jos_trust::state::authenticate;
use jos_trust::{TrustRoot, sha256};

use super::Asked;
use super::connection::{Connector, Trouble};
use super::figures::Figures;
use super::word::Word;

/// The fleet.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) asked: Asked,
    pub(super) connector: Connector,
    pub(super) figures: Arc<Figures>,
    /// How many devices enrol at once: a hub signs one certificate after the other.
    pub(super) enrolling: tokio::sync::Semaphore,
    /// The tenant's trust document, as far as it was walked.
    pub(super) root: tokio::sync::Mutex<Option<TrustRoot>>,
    verified: Mutex<HashMap<String, Result<u64, String>>>,
    pub(super) words: Mutex<HashMap<String, Result<Word, String>>>,
}

impl Fleet {
    pub(super) fn new(asked: Asked, connector: Connector, figures: Arc<Figures>) -> Self {
        Self {
            asked,
            connector,
            figures,
            enrolling: tokio::sync::Semaphore::new(64),
            root: tokio::sync::Mutex::default(),
            verified: Mutex::default(),
            words: Mutex::default(),
        }
    }

    /// The version of a state whose signatures are good.
    pub(super) async fn verify(&self, bytes: &[u8]) -> Result<u64, Trouble> {
        let hash = sha256(bytes).to_string();
        let root = self.root.lock().await;
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = verified.entry(hash).or_insert_with(|| match &*root {
            Some(root) => authenticate(Received::json("hub", bytes), root)
                .map(|authentic| authentic.value().meta.version)
                .map_err(|refused| refused.code().to_owned()),
            None => Err("no-trust".to_owned()),
        });
        known.clone().map_err(|code| Trouble(format!("verify: {code}")))
    }

    /// What failed under one trust document may be good under the next.
    pub(super) fn forget_verdicts(&self) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A lot between 0 and 999,999 for a device and an occasion: the same in each run with the same seed.
    pub(super) fn lot(&self, device: usize, occasion: &str) -> u32 {
        let digest = sha256(format!("{}\n{device}\n{occasion}", self.asked.seed).as_bytes());
        let b = digest.as_bytes();
        u32::from_be_bytes([b[0], b[1], b[2], b[3]]) % 1_000_000
    }
}
