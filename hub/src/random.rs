//! Bytes that nobody can guess, and the texts made of them.

use zeroize::Zeroizing;

/// Fills `bytes` from the system's generator.
pub fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("a system without random bytes cannot keep a secret");
}

/// `count` random bytes in hex.
pub fn hex(count: usize) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(vec![0; count]);
    fill(&mut bytes);
    Zeroizing::new(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// An id that says of what it is: `PREFIX-` and 16 hex digits.
pub fn id(prefix: &str) -> String {
    format!("{prefix}-{}", *hex(8))
}

/// A number from 0 to `most`.
pub fn up_to(most: u32) -> u32 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    // Of so few numbers none is likelier than another by more than one in millions.
    u32::from_ne_bytes(bytes) % most.saturating_add(1)
}
