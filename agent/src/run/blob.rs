//! Content of the hub's, by its hash: part by part over the line, from any byte on, resumed where a part does not come, no
//! faster than the settings let. What comes is counted, hashed and kept by the plane, as from anywhere.

use std::time::{Duration, Instant};

use jos_link::{Reply, Request};
use jos_runtime::world::Clock;

use super::line::{Line, PATIENCE};
use crate::world::SystemClock;

/// Bytes of one part of a blob.
const PART: u64 = 512 * 1024;
/// Tries for one part, with pauses that double from a second.
const TRIES: u32 = 8;

/// The content of one blob of the hub, part by part. Where a part does not come, it goes on from there.
pub(crate) struct Blob {
    line: Line,
    sha256: String,
    at: u64,
    held: Vec<u8>,
    taken: usize,
    over: bool,
}

impl Blob {
    /// From its byte `from` on. None where the hub has no such blob for this device.
    pub(crate) fn open(line: &Line, sha256: &str, from: u64) -> Option<Self> {
        if !line.leads() {
            return None;
        }
        let mut blob = Self {
            line: line.clone(),
            sha256: sha256.to_owned(),
            at: from,
            held: Vec::new(),
            taken: 0,
            over: false,
        };
        match blob.part() {
            Ok(true) => Some(blob),
            Ok(false) => None,
            Err(why) => {
                log::warn!("content {sha256} from the hub: {why}");
                None
            }
        }
    }

    /// Fetches what comes next; false where there is no such blob.
    fn part(&mut self) -> Result<bool, String> {
        let mut why = String::new();
        for again in 0..TRIES {
            if again > 0 {
                SystemClock.pause(Duration::from_secs(1 << (again - 1).min(5)));
            }
            for address in 0..self.line.addresses() {
                let request = Request {
                    address,
                    ..Request::blob(&self.sha256, self.at, self.at + PART - 1)
                };
                let begun = Instant::now();
                match self.line.ask(&request, PATIENCE) {
                    Reply::Answer { status: 206, body, .. } if body.len() as u64 <= PART => {
                        self.over = (body.len() as u64) < PART;
                        self.come(body, begun);
                        return Ok(true);
                    }
                    Reply::Answer { status: 200, body, .. } if self.at == 0 => {
                        self.over = true;
                        self.come(body, begun);
                        return Ok(true);
                    }
                    // Asked for what lies behind its end: all of it is here.
                    Reply::Answer { status: 416, .. } => {
                        self.over = true;
                        return Ok(true);
                    }
                    Reply::Answer { status: 404, .. } => return Ok(false),
                    Reply::Answer { status, .. } => why = format!("it answered {status}"),
                    Reply::Failed { text, .. } => why = text,
                }
            }
        }
        Err(why)
    }

    fn come(&mut self, body: Vec<u8>, begun: Instant) {
        self.at += body.len() as u64;
        if let Some(rate) = self.line.rate().filter(|r| *r > 0) {
            let due = Duration::from_millis(body.len() as u64 * 1000 / rate);
            SystemClock.pause(due.saturating_sub(begun.elapsed()));
        }
        (self.held, self.taken) = (body, 0);
    }
}

impl std::io::Read for Blob {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.held.len() && !self.over {
            match self.part() {
                Ok(true) => {}
                Ok(false) => return Err(std::io::Error::other("the hub no longer has it")),
                Err(why) => return Err(std::io::Error::other(why)),
            }
        }
        let count = into.len().min(self.held.len() - self.taken);
        into[..count].copy_from_slice(&self.held[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
