//! What a command said: the end of it, and the hash of all of it.

use jos_runtime::world::Ran;
use jos_trust::digest::Hasher;

/// The end of the output that is kept.
pub(super) const KEPT: usize = 64 * 1024;

/// The output of one command, as it comes.
#[derive(Default)]
pub(super) struct Output {
    hasher: Hasher,
    kept: Vec<u8>,
}

impl Output {
    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        self.kept.extend_from_slice(piece);
        if self.kept.len() > 2 * KEPT {
            self.kept.drain(..self.kept.len() - KEPT);
        }
    }

    /// All of it has come: what is known of the run now.
    pub(super) fn of(self, code: Option<i32>, signal: Option<i32>, timed_out: bool) -> Ran {
        Ran {
            code,
            signal,
            timed_out,
            output: self.kept,
            output_sha256: self.hasher.finish().to_string(),
        }
    }
}
