//! Frames on a stream.
//!
//! ```text
//!  0        4      5          9
//!  ┌────────┬──────┬──────────┬─────────┐
//!  │ length │ kind │ sequence │ body    │   length: bytes of the body, big-endian; a document at most
//!  └────────┴──────┴──────────┴─────────┘
//! ```
//!
//! The length is checked before a byte of the body is taken, so a peer cannot make the other half hold more than it says,
//! nor more than the limit.

/// Bytes of a document, at most.
pub const MAX_DOCUMENT: usize = 1 << 20;
/// Bytes of a body, at most: one document, and what is said about it.
pub const MAX_BODY: usize = MAX_DOCUMENT + 512;
/// Bytes before the body.
pub const HEADER: usize = 9;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is; [`crate::message`] knows which there are.
    pub kind: u8,
    /// Which request it belongs to.
    pub sequence: u32,
    /// Its content.
    pub body: Vec<u8>,
}

/// A stream that carries no frames. There is no way to find the next one: the peer has to be started anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A body longer than [`MAX_BODY`].
    #[error("a frame of {found} bytes; the limit is {MAX_BODY}")]
    TooLong {
        /// What its header says, or what was to be sent.
        found: u64,
    },
}

/// The bytes of a frame.
pub fn encode(frame: &Frame) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(frame.body.len()).ok().filter(|l| *l as usize <= MAX_BODY);
    let length = length.ok_or(FrameError::TooLong {
        found: frame.body.len() as u64,
    })?;
    let mut bytes = Vec::with_capacity(HEADER + frame.body.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.push(frame.kind);
    bytes.extend_from_slice(&frame.sequence.to_be_bytes());
    bytes.extend_from_slice(&frame.body);
    Ok(bytes)
}

/// Takes a stream apart, however it is cut. Holds at most one frame.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// Takes bytes from the front of `input` until a frame is whole; gives it and how many bytes were taken. `None` means
    /// that all were taken and more are needed.
    pub fn push(&mut self, input: &[u8]) -> Result<(usize, Option<Frame>), FrameError> {
        let mut taken = 0;
        if self.held.len() < HEADER {
            taken = input.len().min(HEADER - self.held.len());
            self.held.extend_from_slice(&input[..taken]);
            if self.held.len() < HEADER {
                return Ok((taken, None));
            }
        }
        let length = u32::from_be_bytes([self.held[0], self.held[1], self.held[2], self.held[3]]) as usize;
        if length > MAX_BODY {
            return Err(FrameError::TooLong { found: length as u64 });
        }
        let more = (HEADER + length - self.held.len()).min(input.len() - taken);
        self.held.extend_from_slice(&input[taken..taken + more]);
        taken += more;
        if self.held.len() < HEADER + length {
            return Ok((taken, None));
        }
        let kind = self.held[4];
        let sequence = u32::from_be_bytes([self.held[5], self.held[6], self.held[7], self.held[8]]);
        let mut body = std::mem::take(&mut self.held);
        body.drain(..HEADER);
        Ok((taken, Some(Frame { kind, sequence, body })))
    }

    /// Whether a frame has begun and is not whole: an end of the stream now is a broken peer.
    pub fn is_torn(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests;
