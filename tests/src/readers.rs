//! Readers of formats that Debian has no second tool for, written from the formats alone, so that a mistake of the
//! writers is not repeated: cpio, Apple's bill of materials, Mach-O. They take whole files and panic on what is not so.

pub mod bom;
pub mod cpio;
pub mod macho;

/// A big-endian number of 2 or 4 bytes at `at`.
#[track_caller]
fn be(bytes: &[u8], at: usize, size: usize) -> usize {
    let slice = bytes
        .get(at..at + size)
        .unwrap_or_else(|| panic!("{size} bytes at {at} of {}", bytes.len()));
    slice.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// A little-endian number of 2, 4 or 8 bytes at `at`.
#[track_caller]
fn le(bytes: &[u8], at: usize, size: usize) -> usize {
    let slice = bytes
        .get(at..at + size)
        .unwrap_or_else(|| panic!("{size} bytes at {at} of {}", bytes.len()));
    slice
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}
