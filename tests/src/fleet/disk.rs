//! A hub whose folder lies on a disk of its own, which can be filled.

use super::Hub;

impl Hub {
    /// One whose own folder lies on a disk of so many MiB.
    ///
    /// # Panics
    /// If anything does not work: only root can.
    pub fn on_a_small_disk(host: &str, size: u32) -> Self {
        Self::made(host, host, Some(size))
    }

    /// Fills its disk to the last byte.
    ///
    /// # Panics
    /// If it has none of its own, or it cannot be written to for another reason.
    pub fn fill(&self) {
        self.disk.as_ref().expect("a disk of its own").fill();
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// If it was not filled.
    pub fn empty(&self) {
        self.disk.as_ref().expect("a disk of its own").empty();
    }
}
