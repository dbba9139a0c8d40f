//! One question to the hub and its reply, as the loop asks them and as they cross the pipe.
//!
//! Owns what a network half has to know to put a question: where, as whom, how long, how many bytes back. The half puts
//! it and hands the reply over as it came; the loop reads it.
//!
//! ```text
//!  request  ┌──────┬─────┬─────────┬──────┬───────┬─────────────┬────────────┬────────────┬──────┐
//!           │ door │ how │ address │ wait │ limit │ first, last │ path       │ entity tag │ body │
//!           │ u8   │ u8  │ u8      │ u16  │ u32   │ u64, u64    │ u16, bytes │ u8, bytes  │ rest │
//!           └──────┴─────┴─────────┴──────┴───────┴─────────────┴────────────┴────────────┴──────┘
//!  reply    ┌──────────┬─────────────┬────────────┬──────┐        ┌─────┬───────┬───────┐
//!           │ status   │ retry after │ entity tag │ body │   or   │ 0   │ whose │ why   │
//!           │ u16, ≥ 1 │ u32         │ u8, bytes  │ rest │        │ u16 │ u8    │ UTF-8 │
//!           └──────────┴─────────────┴────────────┴──────┘        └─────┴───────┴───────┘
//! ```
//! Numbers are big-endian. `retry after` is all ones where the hub names none; both ends are 0 where no range is asked for.

use crate::frame::MAX_DOCUMENT;
use crate::message::MAX_TEXT;
use crate::wire::{self, path};

/// As whom a question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// To whoever answers: only what can be checked by itself is asked so (the CA, by its fingerprint).
    Anybody,
    /// To the hub, without a certificate of ours.
    Stranger,
    /// To the hub, with our certificate.
    Device,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As whom.
    pub door: Door,
    /// `POST` with `body`, else `GET`.
    pub post: bool,
    /// Over a connection that is made for this question.
    pub fresh: bool,
    /// Which of the hub's addresses, from 0.
    pub address: u8,
    /// Path and query.
    pub path: String,
    /// What is had already (`If-None-Match`).
    pub etag: Option<String>,
    /// First and last byte that is wanted (`Range`).
    pub range: Option<(u64, u64)>,
    /// Seconds that the hub may take before it answers, besides what any answer takes.
    pub wait: u16,
    /// Bytes of the reply's body, at most.
    pub limit: u32,
    /// JSON.
    pub body: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The hub answered.
    Answer {
        /// HTTP's.
        status: u16,
        /// Seconds of `Retry-After`.
        retry_after: Option<u32>,
        /// `ETag`.
        etag: Option<String>,
        /// At most [`Request::limit`] bytes.
        body: Vec<u8>,
    },
    /// It did not.
    Failed {
        /// It was the hub that did not take our certificate: it has ended, or is none of this hub's.
        certificate: bool,
        /// Why, for people.
        text: String,
    },
}

/// Bytes that are no request or no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0} between the halves")]
pub struct NotOne(&'static str);

const POST: u8 = 1;
const FRESH: u8 = 2;
const NO_RETRY: u32 = u32::MAX;

impl Request {
    /// A `GET` over the connection that there is.
    pub fn get(door: Door, path: impl Into<String>, limit: usize) -> Self {
        Self {
            door,
            post: false,
            fresh: false,
            address: 0,
            path: path.into(),
            etag: None,
            range: None,
            wait: 0,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            body: Vec::new(),
        }
    }

    /// A `POST`; what answers one is small.
    pub fn post(door: Door, path: &str, body: Vec<u8>) -> Self {
        Self {
            post: true,
            body,
            ..Self::get(door, path, wire::MAX_HEARTBEAT)
        }
    }

    /// A part of a blob, from `first` to `last`, both included.
    pub fn blob(sha256: &str, first: u64, last: u64) -> Self {
        Self {
            range: Some((first, last)),
            ..Self::get(Door::Device, format!("{}/{sha256}", path::BLOB), MAX_DOCUMENT)
        }
    }

    /// The least that shows that the hub is there for this device, over a connection of its own.
    pub fn probe() -> Self {
        Self {
            fresh: true,
            ..Self::get(Door::Device, format!("{}/1", path::TRUST), MAX_DOCUMENT)
        }
    }

    /// For the pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![
            match self.door {
                Door::Anybody => 0,
                Door::Stranger => 1,
                Door::Device => 2,
            },
            if self.post { POST } else { 0 } | if self.fresh { FRESH } else { 0 },
            self.address,
        ];
        out.extend(self.wait.to_be_bytes());
        out.extend(self.limit.to_be_bytes());
        let (first, last) = self.range.unwrap_or_default();
        out.extend(first.to_be_bytes());
        out.extend(last.to_be_bytes());
        put(&mut out, &self.path, u16::MAX.into(), true);
        put(
            &mut out,
            self.etag.as_deref().unwrap_or_default(),
            u8::MAX.into(),
            false,
        );
        out.extend(&self.body);
        out
    }

    /// From the pipe.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotOne> {
        let mut rest = bytes;
        let read = |rest: &mut &[u8]| -> Option<Self> {
            let [door, how, address] = take(rest)?;
            if how & !(POST | FRESH) != 0 {
                return None;
            }
            Some(Self {
                door: match door {
                    0 => Door::Anybody,
                    1 => Door::Stranger,
                    2 => Door::Device,
                    _ => return None,
                },
                post: how & POST != 0,
                fresh: how & FRESH != 0,
                address,
                wait: u16::from_be_bytes(take(rest)?),
                limit: u32::from_be_bytes(take(rest)?),
                range: match (u64::from_be_bytes(take(rest)?), u64::from_be_bytes(take(rest)?)) {
                    (0, 0) => None,
                    range => Some(range),
                },
                path: {
                    let length = u16::from_be_bytes(take(rest)?).into();
                    text(rest, length)?
                },
                etag: {
                    let [length] = take(rest)?;
                    Some(text(rest, length.into())?).filter(|tag| !tag.is_empty())
                },
                body: std::mem::take(rest).to_vec(),
            })
        };
        read(&mut rest).ok_or(NotOne("request"))
    }
}

impl Reply {
    /// A failure that says nothing of our certificate.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed {
            certificate: false,
            text: text.into(),
        }
    }

    /// For the pipe. A text is cut at [`MAX_TEXT`], a body that is too long becomes a failure.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Answer { body, .. } if body.len() > MAX_DOCUMENT => Self::failed(format!(
                "an answer of {} bytes; the limit is {MAX_DOCUMENT}",
                body.len()
            ))
            .to_bytes(),
            Self::Answer {
                status,
                retry_after,
                etag,
                body,
            } => {
                let mut out = Vec::with_capacity(body.len() + 300);
                out.extend(status.max(&1).to_be_bytes());
                out.extend(retry_after.unwrap_or(NO_RETRY).to_be_bytes());
                put(&mut out, etag.as_deref().unwrap_or_default(), u8::MAX.into(), false);
                out.extend(body);
                out
            }
            Self::Failed { certificate, text } => {
                let mut out = vec![0, 0, u8::from(*certificate)];
                out.extend(crate::message::cut(text).as_bytes());
                out
            }
        }
    }

    /// From the pipe.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotOne> {
        let mut rest = bytes;
        let read = |rest: &mut &[u8]| -> Option<Self> {
            let status = u16::from_be_bytes(take(rest)?);
            if status == 0 {
                let [whose] = take(rest)?;
                let length = rest.len();
                return (whose <= 1 && length <= MAX_TEXT).then_some(Self::Failed {
                    certificate: whose == 1,
                    text: text(rest, length)?,
                });
            }
            let retry_after = Some(u32::from_be_bytes(take(rest)?)).filter(|s| *s != NO_RETRY);
            let [length] = take(rest)?;
            let etag = Some(text(rest, length.into())?).filter(|tag| !tag.is_empty());
            let body = std::mem::take(rest).to_vec();
            (body.len() <= MAX_DOCUMENT).then_some(Self::Answer {
                status,
                retry_after,
                etag,
                body,
            })
        };
        read(&mut rest).ok_or(NotOne("reply"))
    }
}

/// What is too long for its length field is left out: none of ours is.
fn put(out: &mut Vec<u8>, text: &str, most: usize, wide: bool) {
    let text = if text.len() > most { "" } else { text };
    if wide {
        out.push((text.len() >> 8) as u8);
    }
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn text(rest: &mut &[u8], length: usize) -> Option<String> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    String::from_utf8(head.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_request() -> impl Strategy<Value = Request> {
        let door = prop_oneof![Just(Door::Anybody), Just(Door::Stranger), Just(Door::Device)];
        let how = (
            door,
            any::<bool>(),
            any::<bool>(),
            any::<u8>(),
            any::<u16>(),
            any::<u32>(),
        );
        let what = (
            "[ -~]{0,300}",
            prop::option::of("[ -~]{1,80}"),
            prop::option::of((any::<u64>(), 1..u64::MAX)),
            prop::collection::vec(any::<u8>(), 0..64),
        );
        (how, what).prop_map(
            |((door, post, fresh, address, wait, limit), (path, etag, range, body))| Request {
                door,
                post,
                fresh,
                address,
                path,
                etag,
                range,
                wait,
                limit,
                body,
            },
        )
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        let answer = (
            1..u16::MAX,
            prop::option::of(0..NO_RETRY),
            prop::option::of("[ -~]{1,80}"),
            prop::collection::vec(any::<u8>(), 0..64),
        );
        prop_oneof![
            answer.prop_map(|(status, retry_after, etag, body)| Reply::Answer {
                status,
                retry_after,
                etag,
                body
            }),
            (any::<bool>(), "\\PC{0,200}").prop_map(|(certificate, text)| Reply::Failed { certificate, text }),
        ]
    }

    proptest! {
        #[test]
        fn a_request_crosses_the_pipe(request in any_request()) {
            prop_assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
        }

        #[test]
        fn a_reply_crosses_the_pipe(reply in any_reply()) {
            prop_assert_eq!(Reply::from_bytes(&reply.to_bytes()), Ok(reply));
        }

        #[test]
        fn any_bytes_are_a_reply_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            if let Ok(reply) = Reply::from_bytes(&bytes) {
                let retry = reply.to_bytes();
                prop_assert_eq!(Reply::from_bytes(&retry), Ok(reply));
            }
            let _ = Request::from_bytes(&bytes);
        }
    }

    #[test]
    fn an_answer_that_is_longer_than_a_document_becomes_a_failure() {
        let long = Reply::Answer {
            status: 200,
            retry_after: None,
            etag: None,
            body: vec![0; MAX_DOCUMENT + 1],
        };
        assert!(matches!(
            Reply::from_bytes(&long.to_bytes()),
            Ok(Reply::Failed { certificate: false, .. })
        ));
    }
}
