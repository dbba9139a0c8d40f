//! The wire between the halves of the agent.

use jos_link::frame::{HEADER, encode};
use jos_link::{Decoder, Frame, FrameError, FromFetcher, ToFetcher};

/// A stream of frames. The first byte says how it is cut; cut or whole, it gives the same frames and the same end, each
/// frame is its own bytes again, and a message is its own frame again.
pub fn link_frame(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let (frames, end) = decoded(stream, stream.len().max(1));
    let (cut_frames, cut_end) = decoded(stream, usize::from(*cut).max(1));
    assert_eq!((&frames, &end), (&cut_frames, &cut_end), "cut every {cut} bytes");
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|frame| encode(frame).expect("it came in"))
        .collect();
    assert!(stream.starts_with(&bytes), "frames are not the bytes that they came as");
    match end {
        Ok(torn) => assert_eq!(
            torn,
            bytes.len() < stream.len(),
            "what is left over is a frame that has begun"
        ),
        // Seen by the header alone: nothing of the body was waited for.
        Err(FrameError::TooLong { .. }) => assert!(bytes.len() + HEADER <= stream.len()),
    }
    for frame in frames {
        if let Ok(message) = FromFetcher::from_frame(frame.clone()) {
            assert_eq!(message.into_frame(), frame);
        }
        if let Ok(message) = ToFetcher::from_frame(frame.clone()) {
            assert_eq!(message.to_frame(), frame);
        }
    }
}

/// The frames of `stream` in pieces of `most` bytes, and whether it ends within one.
fn decoded(stream: &[u8], most: usize) -> (Vec<Frame>, Result<bool, FrameError>) {
    let (mut frames, mut decoder) = (Vec::new(), Decoder::default());
    for mut piece in stream.chunks(most) {
        while !piece.is_empty() {
            match decoder.push(piece) {
                Ok((taken, frame)) => {
                    assert!(taken > 0, "a decoder that takes nothing turns for ever");
                    frames.extend(frame);
                    piece = &piece[taken..];
                }
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    let torn = decoder.is_torn();
    (frames, Ok(torn))
}

/// Streams, as seeds.
pub(crate) fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let stream = |cut: u8, frames: Vec<Frame>| {
        let bytes = frames.iter().flat_map(|frame| encode(frame).expect("a small frame"));
        std::iter::once(cut).chain(bytes).collect::<Vec<u8>>()
    };
    let hello = FromFetcher::Hello {
        protocol: jos_link::message::PROTOCOL,
        confinement: "{\"seccomp\":true}".to_owned(),
    };
    let offer = FromFetcher::Offer {
        sequence: 1,
        bytes: b"{\"kind\":\"jos.agent.desired_state\"}".to_vec(),
    };
    let trouble = FromFetcher::Trouble {
        sequence: 2,
        text: "no route to host".to_owned(),
    };
    let nothing = FromFetcher::Nothing { sequence: u32::MAX };
    let turn = vec![
        hello.into_frame(),
        offer.into_frame(),
        trouble.into_frame(),
        nothing.into_frame(),
    ];
    let look = ToFetcher::Look { sequence: 1 }.to_frame();
    let mut request = jos_link::Request::blob(&"ab".repeat(32), 0, 524_287);
    request.etag = Some("\"x\"".to_owned());
    let reply = jos_link::Reply::Answer {
        status: 206,
        retry_after: Some(30),
        etag: Some("\"x\"".to_owned()),
        body: b"part".to_vec(),
    };
    let asked = vec![
        ToFetcher::Ask { sequence: 3, request }.to_frame(),
        FromFetcher::Answer { sequence: 3, reply }.into_frame(),
        FromFetcher::Answer {
            sequence: 4,
            reply: jos_link::Reply::failed("no route to host"),
        }
        .into_frame(),
    ];
    let mut torn = stream(1, turn.clone());
    torn.truncate(torn.len() - 3);
    vec![
        ("whole-turn", stream(7, turn)),
        ("torn-turn", torn),
        ("look", stream(255, vec![look])),
        ("asked-and-answered", stream(5, asked)),
        // One byte above jos_link::frame::MAX_BODY.
        ("too-long", vec![3, 0, 0x10, 2, 1, 1, 0, 0, 0, 0]),
    ]
}
