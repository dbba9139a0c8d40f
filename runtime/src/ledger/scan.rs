//! Where the plain part of a string ends, eight bytes at a time: most of what reading a ledger looks at is within strings.

/// Eight bytes of `byte`.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

const HIGH_BITS: u64 = eight(0x80);

/// The high bit of the first byte of `word` that ends the plain part of a string, and maybe of some behind it: a quote, a
/// backslash, a control character. Zero where there is none.
const fn special(word: u64) -> u64 {
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(eight(1)) & !word
    }
    let control = word.wrapping_sub(eight(0x20)) & !word;
    (zero(word ^ eight(b'"')) | zero(word ^ eight(b'\\')) | control) & HIGH_BITS
}

/// Where the plain part of a string that goes on at `at` ends, and whether it is all ASCII. `None` where the bytes end first.
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut high = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let found = special(word);
        if found != 0 {
            let length = found.trailing_zeros() / 8;
            // What lies behind the end does not count.
            high |= word & ((1 << (8 * length)) - 1);
            return Some((at + length as usize, high & HIGH_BITS == 0));
        }
        high |= word;
        at += 8;
    }
    loop {
        match *bytes.get(at)? {
            b'"' | b'\\' | 0..0x20 => return Some((at, high & HIGH_BITS == 0)),
            byte => high |= u64::from(byte),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_part_of_a_string_ends_where_a_byte_by_byte_reading_ends_it() {
        for length in 0..20 {
            for end in 0..=length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; length];
                    bytes.iter_mut().skip(end).take(1).for_each(|b| *b = byte);
                    bytes.push(b'"');
                    bytes.extend_from_slice("é".as_bytes());
                    let slow = bytes.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\');
                    let slow = slow.map(|at| (at, bytes[..at].is_ascii()));
                    assert_eq!(plain_end(&bytes, 0), slow, "{bytes:?}");
                }
            }
        }
        assert_eq!(
            (plain_end(b"", 0), plain_end(b"abc", 0), plain_end(b"abcdefgh", 9)),
            (None, None, None)
        );
    }
}
