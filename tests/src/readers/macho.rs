//! Mach-O, as far as a loader and the code signature of Apple silicon ask: <mach-o/fat.h>, <mach-o/loader.h>, and the
//! blobs of xnu's `cs_blobs.h`.

use super::{be, le};

/// `CPU_TYPE_ARM64`.
pub const ARM64: usize = 0x0100_000c;
/// `CPU_TYPE_X86_64`.
pub const X86_64: usize = 0x0100_0007;

/// The slices of a universal program: CPU type and bytes.
///
/// # Panics
/// If it is none.
pub fn slices(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    assert_eq!(be(bytes, 0, 4), 0xcafe_babe, "a universal program");
    let mut end = 8 + be(bytes, 4, 4) * 20;
    (0..be(bytes, 4, 4))
        .map(|slice| {
            let at = 8 + slice * 20;
            let (cpu, offset, size, align) = (
                be(bytes, at, 4),
                be(bytes, at + 8, 4),
                be(bytes, at + 12, 4),
                be(bytes, at + 16, 4),
            );
            assert_eq!(offset % (1 << align), 0, "slice {slice} lies on its boundary");
            assert!(offset >= end, "slice {slice} overlaps what comes before it");
            end = offset + size;
            (cpu, &bytes[offset..end])
        })
        .collect()
}

/// The load commands of one slice: number and bytes.
///
/// # Panics
/// If it is no 64-bit program of this CPU.
pub fn commands(slice: &[u8], cpu: usize) -> Vec<(usize, &[u8])> {
    assert_eq!(le(slice, 0, 4), 0xfeed_facf);
    assert_eq!(le(slice, 4, 4), cpu);
    assert_eq!(le(slice, 12, 4), 2, "a program, no library");
    let mut at = 32;
    let list = (0..le(slice, 16, 4))
        .map(|_| {
            let size = le(slice, at + 4, 4);
            let command = (le(slice, at, 4), &slice[at..at + size]);
            at += size;
            command
        })
        .collect();
    assert_eq!(at, 32 + le(slice, 20, 4), "the commands fill their space");
    list
}

/// The lowest macOS a slice runs on, `(major, minor)`: `LC_BUILD_VERSION`, or the older `LC_VERSION_MIN_MACOSX`.
pub fn minimum(commands: &[(usize, &[u8])]) -> (usize, usize) {
    let found = commands.iter().find_map(|(number, command)| match number {
        0x32 => {
            assert_eq!(le(command, 8, 4), 1, "the platform is macOS");
            Some(le(command, 12, 4))
        }
        0x24 => Some(le(command, 8, 4)),
        _ => None,
    });
    let version = found.expect("a program says where it runs");
    (version >> 16, version >> 8 & 0xff)
}

/// The names of the libraries a slice loads.
pub fn libraries(commands: &[(usize, &[u8])]) -> Vec<String> {
    let named = |command: &[u8]| {
        let name = command[le(command, 8, 4)..]
            .split(|byte| *byte == 0)
            .next()
            .expect("a name");
        String::from_utf8(name.to_vec()).expect("text")
    };
    commands
        .iter()
        .filter(|(number, _)| *number == 0xc)
        .map(|(_, command)| named(command))
        .collect()
}

/// A code signature's directory of page hashes.
#[derive(Debug)]
pub struct CodeDirectory {
    /// Whether nobody vouches for it: `CS_ADHOC`.
    pub ad_hoc: bool,
    /// How many bytes of the slice it covers.
    pub limit: usize,
    /// Bytes of a page.
    pub page: usize,
    /// SHA-256 of each page, in order.
    pub pages: Vec<[u8; 32]>,
}

/// The signature in `LC_CODE_SIGNATURE`; none where there is no such command.
///
/// # Panics
/// If there is one that is not well made, or is hashed by anything but SHA-256.
pub fn signature(slice: &[u8], commands: &[(usize, &[u8])]) -> Option<CodeDirectory> {
    let (_, command) = commands.iter().find(|(number, _)| *number == 0x1d)?;
    let (at, size) = (le(command, 8, 4), le(command, 12, 4));
    assert_eq!(at + size, slice.len(), "the signature is the end of the file");
    let blob = &slice[at..];
    assert_eq!(be(blob, 0, 4), 0xfade_0cc0, "a super blob");
    let directory = (0..be(blob, 8, 4))
        .find(|entry| be(blob, 12 + entry * 8, 4) == 0)
        .map(|entry| &blob[be(blob, 16 + entry * 8, 4)..])
        .expect("a code directory");
    assert_eq!(be(directory, 0, 4), 0xfade_0c02, "a code directory");
    let (hashes, count) = (be(directory, 16, 4), be(directory, 28, 4));
    assert_eq!((directory[36], directory[37]), (32, 2), "SHA-256");
    let pages = (0..count)
        .map(|page| directory[hashes + page * 32..][..32].try_into().expect("32 bytes"))
        .collect();
    Some(CodeDirectory {
        ad_hoc: be(directory, 12, 4) & 2 != 0,
        limit: be(directory, 32, 4),
        page: 1 << directory[39],
        pages,
    })
}
