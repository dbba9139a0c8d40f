//! What the halves say to each other. Strict: an unknown kind, a body where none belongs or a wrong direction ends the
//! conversation.

use crate::ask::{Reply, Request};
use crate::frame::{Frame, MAX_DOCUMENT};

/// Which conversation this is; a fetcher of another build is refused.
pub const PROTOCOL: u32 = 2;
/// Bytes of a text, at most.
pub const MAX_TEXT: usize = 4 << 10;

/// From the plane to the network half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToFetcher {
    /// Look for a document now.
    Look {
        /// Repeated in the reply.
        sequence: u32,
    },
    /// First of all to a half that speaks to the hub: where it is, who we are.
    Setup {
        /// JSON.
        bytes: Vec<u8>,
    },
    /// Put this question to the hub.
    Ask {
        /// Repeated in the reply.
        sequence: u32,
        /// The question.
        request: Request,
    },
}

/// From the network half to the plane. Nothing in it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromFetcher {
    /// First of all: the protocol, and how it is confined (JSON text, for `status`).
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// What it says of its confinement.
        confinement: String,
    },
    /// Bytes that claim to be a document, without a verdict.
    Offer {
        /// The request's.
        sequence: u32,
        /// At most [`MAX_DOCUMENT`].
        bytes: Vec<u8>,
    },
    /// What came of a question to the hub.
    Answer {
        /// The request's.
        sequence: u32,
        /// As it came.
        reply: Reply,
    },
    /// There is none.
    Nothing {
        /// The request's.
        sequence: u32,
    },
    /// It could not look.
    Trouble {
        /// The request's.
        sequence: u32,
        /// Why, for the log.
        text: String,
    },
}

/// A frame that is no message of this direction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a kind of this direction.
    #[error("a frame of kind {0}, which this half does not take")]
    Kind(u8),
    /// Not the body of its kind.
    #[error("a frame of kind {kind} with a body of {length} bytes, which is none of its kind")]
    Body {
        /// Its kind.
        kind: u8,
        /// Of its body.
        length: usize,
    },
}

const LOOK: u8 = 0x01;
const SETUP: u8 = 0x02;
const ASK: u8 = 0x03;
const HELLO: u8 = 0x81;
const OFFER: u8 = 0x82;
const NOTHING: u8 = 0x83;
const TROUBLE: u8 = 0x84;
const ANSWER: u8 = 0x85;

/// At most [`MAX_TEXT`] bytes of it, whole characters.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl ToFetcher {
    /// As a frame.
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::Look { sequence } => Frame {
                kind: LOOK,
                sequence: *sequence,
                body: Vec::new(),
            },
            Self::Setup { bytes } => Frame {
                kind: SETUP,
                sequence: 0,
                body: bytes.clone(),
            },
            Self::Ask { sequence, request } => Frame {
                kind: ASK,
                sequence: *sequence,
                body: request.to_bytes(),
            },
        }
    }

    /// From a frame.
    pub fn from_frame(frame: Frame) -> Result<Self, MessageError> {
        match (frame.kind, frame.body.len()) {
            (SETUP, _) if frame.sequence == 0 => Ok(Self::Setup { bytes: frame.body }),
            (kind @ ASK, length) => match Request::from_bytes(&frame.body) {
                Ok(request) => Ok(Self::Ask {
                    sequence: frame.sequence,
                    request,
                }),
                Err(_) => Err(MessageError::Body { kind, length }),
            },
            (LOOK, 0) => Ok(Self::Look {
                sequence: frame.sequence,
            }),
            (kind @ LOOK, length) => Err(MessageError::Body { kind, length }),
            (kind, _) => Err(MessageError::Kind(kind)),
        }
    }
}

impl FromFetcher {
    /// As a frame. Texts are cut at [`MAX_TEXT`].
    pub fn into_frame(self) -> Frame {
        let text = |text: String| cut(&text).as_bytes().to_vec();
        match self {
            Self::Hello { protocol, confinement } => Frame {
                kind: HELLO,
                sequence: protocol,
                body: text(confinement),
            },
            Self::Offer { sequence, bytes } => Frame {
                kind: OFFER,
                sequence,
                body: bytes,
            },
            Self::Nothing { sequence } => Frame {
                kind: NOTHING,
                sequence,
                body: Vec::new(),
            },
            Self::Trouble { sequence, text: why } => Frame {
                kind: TROUBLE,
                sequence,
                body: text(why),
            },
            Self::Answer { sequence, reply } => Frame {
                kind: ANSWER,
                sequence,
                body: reply.to_bytes(),
            },
        }
    }

    /// From a frame.
    pub fn from_frame(frame: Frame) -> Result<Self, MessageError> {
        let Frame { kind, sequence, body } = frame;
        let length = body.len();
        let text = |body: Vec<u8>| match String::from_utf8(body) {
            Ok(text) if length <= MAX_TEXT => Ok(text),
            _ => Err(MessageError::Body { kind, length }),
        };
        match kind {
            HELLO => Ok(Self::Hello {
                protocol: sequence,
                confinement: text(body)?,
            }),
            OFFER if length <= MAX_DOCUMENT => Ok(Self::Offer { sequence, bytes: body }),
            OFFER => Err(MessageError::Body { kind, length }),
            ANSWER => match Reply::from_bytes(&body) {
                Ok(reply) => Ok(Self::Answer { sequence, reply }),
                Err(_) => Err(MessageError::Body { kind, length }),
            },
            NOTHING if length == 0 => Ok(Self::Nothing { sequence }),
            NOTHING => Err(MessageError::Body { kind, length }),
            TROUBLE => Ok(Self::Trouble {
                sequence,
                text: text(body)?,
            }),
            _ => Err(MessageError::Kind(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_of_the_other_direction_is_refused() {
        let look = ToFetcher::Look { sequence: 1 }.to_frame();
        assert_eq!(FromFetcher::from_frame(look), Err(MessageError::Kind(LOOK)));
        let nothing = FromFetcher::Nothing { sequence: 1 }.into_frame();
        assert_eq!(ToFetcher::from_frame(nothing), Err(MessageError::Kind(NOTHING)));
    }

    #[test]
    fn a_body_where_none_belongs_and_a_text_too_long_are_refused() {
        let refused = |kind, body: Vec<u8>| {
            FromFetcher::from_frame(Frame {
                kind,
                sequence: 0,
                body,
            })
            .is_err()
        };
        assert!(refused(NOTHING, vec![0]));
        assert!(refused(TROUBLE, vec![b'a'; MAX_TEXT + 1]));
        assert!(refused(HELLO, vec![0xff]));
        assert!(
            ToFetcher::from_frame(Frame {
                kind: LOOK,
                sequence: 0,
                body: vec![0]
            })
            .is_err()
        );
    }

    fn any_message() -> impl Strategy<Value = FromFetcher> {
        // Longer than a text may be, of characters of every width.
        let text = prop::collection::vec(any::<char>(), 0..MAX_TEXT / 2).prop_map(String::from_iter);
        let bytes = prop::collection::vec(any::<u8>(), 0..64);
        prop_oneof![
            (any::<u32>(), text.clone())
                .prop_map(|(protocol, confinement)| FromFetcher::Hello { protocol, confinement }),
            (any::<u32>(), bytes).prop_map(|(sequence, bytes)| FromFetcher::Offer { sequence, bytes }),
            any::<u32>().prop_map(|sequence| FromFetcher::Nothing { sequence }),
            (any::<u32>(), text).prop_map(|(sequence, text)| FromFetcher::Trouble { sequence, text }),
        ]
    }

    proptest! {
        #[test]
        fn a_message_comes_back_from_its_frame_with_a_long_text_cut_between_characters(message in any_message()) {
            let back = FromFetcher::from_frame(message.clone().into_frame());
            let (sent, found) = match (&message, &back) {
                (FromFetcher::Hello { confinement: sent, .. }, Ok(FromFetcher::Hello { confinement: found, .. }))
                | (FromFetcher::Trouble { text: sent, .. }, Ok(FromFetcher::Trouble { text: found, .. })) => (sent, found),
                _ => {
                    prop_assert_eq!(back, Ok(message));
                    return Ok(());
                }
            };
            prop_assert!(sent.starts_with(found.as_str()));
            prop_assert!(found == sent || found.len() > MAX_TEXT - 4);
        }

        #[test]
        fn any_frame_is_a_message_or_an_error(kind: u8, sequence: u32, body in prop::collection::vec(any::<u8>(), 0..64)) {
            let frame = Frame { kind, sequence, body };
            if let Ok(message) = FromFetcher::from_frame(frame.clone()) {
                prop_assert_eq!(message.into_frame(), frame.clone());
            }
            if let Ok(message) = ToFetcher::from_frame(frame.clone()) {
                prop_assert_eq!(message.to_frame(), frame);
            }
        }
    }
}
