//! The codec under streams that are cut, torn, too long or junk.

use proptest::prelude::*;

use super::*;

fn feed(decoder: &mut Decoder, bytes: &[u8], most: usize, found: &mut Vec<Frame>) -> Result<(), FrameError> {
    for mut piece in bytes.chunks(most) {
        while !piece.is_empty() {
            let (taken, frame) = decoder.push(piece)?;
            assert!(taken > 0, "a decoder that takes nothing turns for ever");
            found.extend(frame);
            piece = &piece[taken..];
        }
    }
    Ok(())
}

fn frames_in_pieces(bytes: &[u8], most: usize) -> Result<(Vec<Frame>, Decoder), FrameError> {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    feed(&mut decoder, bytes, most, &mut found)?;
    Ok((found, decoder))
}

fn frames(bytes: &[u8]) -> Result<(Vec<Frame>, Decoder), FrameError> {
    frames_in_pieces(bytes, bytes.len().max(1))
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_header_alone() {
    let header = [&(MAX_BODY as u32 + 1).to_be_bytes()[..], &[1, 0, 0, 0, 0]].concat();
    assert_eq!(
        frames(&header).unwrap_err(),
        FrameError::TooLong {
            found: MAX_BODY as u64 + 1
        }
    );
    let frame = Frame {
        kind: 1,
        sequence: 0,
        body: vec![0; MAX_BODY + 1],
    };
    assert!(encode(&frame).is_err());
}

#[test]
fn a_body_of_exactly_the_limit_passes() {
    let frame = Frame {
        kind: 1,
        sequence: u32::MAX,
        body: vec![7; MAX_BODY],
    };
    assert_eq!(frames(&encode(&frame).unwrap()).unwrap().0, [frame]);
}

#[test]
fn an_end_within_a_frame_is_seen() {
    let bytes = encode(&Frame {
        kind: 1,
        sequence: 2,
        body: b"abc".to_vec(),
    })
    .unwrap();
    for cut in 1..bytes.len() {
        let (all, decoder) = frames(&bytes[..cut]).unwrap();
        assert!(all.is_empty() && decoder.is_torn(), "{cut}");
    }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    (any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, sequence, body)| Frame {
        kind,
        sequence,
        body,
    })
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
        all in prop::collection::vec(any_frame(), 0..8), cuts in prop::collection::vec(1usize..40, 1..60)
    ) {
        let bytes: Vec<u8> = all.iter().flat_map(|f| encode(f).unwrap()).collect();
        let (mut found, mut decoder, mut rest) = (Vec::new(), Decoder::default(), &bytes[..]);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let mut piece = &rest[..rest.len().min(*cuts.next().unwrap())];
            rest = &rest[piece.len()..];
            while !piece.is_empty() {
                let (taken, frame) = decoder.push(piece).unwrap();
                found.extend(frame);
                piece = &piece[taken..];
            }
        }
        prop_assert_eq!(found, all);
        prop_assert!(!decoder.is_torn());
    }

    #[test]
    fn a_stream_that_ends_early_gave_its_whole_frames_and_says_whether_it_is_torn(
        all in prop::collection::vec(any_frame(), 0..8), cut: prop::sample::Index, piece in 1usize..40
    ) {
        let bytes: Vec<Vec<u8>> = all.iter().map(|f| encode(f).unwrap()).collect();
        let stream = bytes.concat();
        let kept = cut.index(stream.len() + 1);
        let (found, decoder) = frames_in_pieces(&stream[..kept], piece).unwrap();
        let mut whole = 0;
        let sizes = bytes.iter().map(Vec::len).take_while(|size| { whole += size; whole <= kept });
        let count = sizes.count();
        let boundary: usize = bytes[..count].iter().map(Vec::len).sum();
        prop_assert_eq!(&found[..], &all[..count]);
        prop_assert_eq!(decoder.is_torn(), boundary < kept);
    }

    #[test]
    fn a_length_over_the_limit_is_refused_by_its_header_after_the_frames_before_it(
        before in prop::collection::vec(any_frame(), 0..4),
        length in MAX_BODY as u32 + 1..,
        rest in prop::array::uniform5(any::<u8>()),
        junk in prop::collection::vec(any::<u8>(), 0..64),
        piece in 1usize..40,
    ) {
        let good: Vec<u8> = before.iter().flat_map(|f| encode(f).unwrap()).collect();
        let header = [&length.to_be_bytes()[..], &rest].concat();
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        feed(&mut decoder, &good, piece, &mut found).unwrap();
        prop_assert_eq!(&found, &before);
        // Not a byte of a body came, and the decoder holds no more than the header.
        let refused = FrameError::TooLong { found: u64::from(length) };
        prop_assert_eq!(feed(&mut decoder, &header, piece, &mut found), Err(refused.clone()));
        prop_assert_eq!(decoder.held.len(), HEADER);
        // There is no way back: whatever follows, no frame is made of it.
        for byte in junk {
            prop_assert_eq!(decoder.push(&[byte]), Err(refused.clone()));
        }
        prop_assert_eq!(found, before);
    }

    #[test]
    fn any_bytes_are_the_frames_that_come_of_them_or_an_error_and_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..4096), piece in 1usize..40
    ) {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        let end = feed(&mut decoder, &bytes, piece, &mut found);
        let again: Vec<u8> = found.iter().flat_map(|f| encode(f).unwrap()).collect();
        prop_assert!(bytes.starts_with(&again));
        prop_assert!(end.is_err() || decoder.held == bytes[again.len()..]);
    }
}
