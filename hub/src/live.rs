//! What is live, kept between two changes: a fleet's calls all ask for the same few rows.
//!
//! Every change of them raises the database's generation in the same transaction, and each call reads that with the device
//! that it is of. So nothing that was kept is given out once another hub, or an admin's command, has changed it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use jos_link::wire::Question;

use crate::store::states::{self, StateRow};
use crate::store::{Lazily, Stored, questions, trusts};

/// Names that are kept, at most: whoever asks for invented ones fills no memory.
const MOST: usize = 4096;

/// Bytes of states that are kept, at most.
const MOST_BYTES: usize = 16 << 20;

/// Live states, their bytes, and the newest trust documents.
#[derive(Debug, Default)]
pub struct Live {
    kept: Mutex<Kept>,
    /// By their hash, so that they are never old.
    bytes: Mutex<HashMap<String, Bytes>>,
}

#[derive(Debug, Default)]
struct Kept {
    generation: u64,
    states: HashMap<(String, String), Arc<[StateRow]>>,
    trusts: HashMap<String, Option<u64>>,
    /// Devices that are asked something; perhaps some that were. Every question raises the generation.
    asked: Option<Arc<HashSet<String>>>,
}

impl Kept {
    /// What is kept of this generation; what is of an earlier one goes.
    fn of(&mut self, generation: u64) -> Option<&mut Self> {
        if self.generation < generation || self.states.len() + self.trusts.len() >= MOST {
            *self = Self {
                generation,
                ..Self::default()
            };
        }
        // A call that began before the last change reads for itself.
        (self.generation == generation).then_some(self)
    }
}

impl Live {
    /// What is offered of a name, by versions.
    pub async fn states(
        &self,
        conn: &mut Lazily<'_>,
        generation: u64,
        tenant: &str,
        name: &str,
    ) -> Stored<Arc<[StateRow]>> {
        let key = (tenant.to_owned(), name.to_owned());
        if let Some(kept) = self.kept(generation, |kept| kept.states.get(&key).cloned()) {
            return Ok(kept);
        }
        let read: Arc<[StateRow]> = states::live(conn.get().await?, tenant, name).await?.into();
        self.kept(generation, |kept| kept.states.insert(key, read.clone()));
        Ok(read)
    }

    /// The newest version of a tenant's trust document, if it has one.
    pub async fn trust(&self, conn: &mut Lazily<'_>, generation: u64, tenant: &str) -> Stored<Option<u64>> {
        if let Some(kept) = self.kept(generation, |kept| kept.trusts.get(tenant).copied()) {
            return Ok(kept);
        }
        let read = trusts::newest_version(conn.get().await?, tenant).await?;
        self.kept(generation, |kept| kept.trusts.insert(tenant.to_owned(), read));
        Ok(read)
    }

    /// What an agent is asked now.
    pub async fn questions(
        &self,
        conn: &mut Lazily<'_>,
        generation: u64,
        device: &str,
        name: &str,
        now: i64,
    ) -> Stored<Vec<Question>> {
        let asked = match self.kept(generation, |kept| kept.asked.clone()) {
            Some(asked) => asked,
            None => {
                let read = Arc::new(questions::devices(conn.get().await?, now).await?);
                self.kept(generation, |kept| kept.asked.replace(read.clone()));
                read
            }
        };
        if !asked.contains(device) {
            return Ok(Vec::new());
        }
        questions::open(conn.get().await?, device, name, now).await
    }

    /// The bytes of a state as they were pushed.
    pub async fn bytes(&self, conn: &mut Lazily<'_>, state: &StateRow) -> Stored<Option<Bytes>> {
        let held = || self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = held().get(&state.sha256) {
            return Ok(Some(kept.clone()));
        }
        let read = states::bytes_of(conn.get().await?, state).await?.map(Bytes::from);
        if let Some(bytes) = &read {
            let mut held = held();
            if held.values().map(Bytes::len).sum::<usize>() + bytes.len() > MOST_BYTES {
                held.clear();
            }
            held.insert(state.sha256.clone(), bytes.clone());
        }
        Ok(read)
    }

    fn kept<T>(&self, generation: u64, with: impl FnOnce(&mut Kept) -> Option<T>) -> Option<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.of(generation).and_then(with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(live: &Live, generation: u64) -> Option<Option<u64>> {
        live.kept(generation, |kept| kept.trusts.get("acme").copied())
    }

    #[test]
    fn what_was_kept_is_forgotten_with_the_next_generation_and_not_given_to_a_call_of_one_before() {
        let live = Live::default();
        let _ = live.kept(7, |kept| kept.trusts.insert("acme".to_owned(), Some(2)));
        assert_eq!(trust(&live, 7), Some(Some(2)));
        assert_eq!(trust(&live, 6), None);
        assert_eq!(trust(&live, 7), Some(Some(2)), "a late call forgets nothing");
        assert_eq!(trust(&live, 8), None);
        let _ = live.kept(7, |kept| kept.trusts.insert("acme".to_owned(), Some(2)));
        assert_eq!(trust(&live, 8), None, "a late call leaves nothing");
    }

    #[test]
    fn names_that_somebody_invents_fill_no_memory() {
        let live = Live::default();
        for n in 0..2 * MOST {
            let _ = live.kept(1, |kept| kept.trusts.insert(n.to_string(), None));
        }
        let held = live.kept(1, |kept| Some(kept.trusts.len()));
        assert!(held.is_some_and(|held| held <= MOST));
    }
}
