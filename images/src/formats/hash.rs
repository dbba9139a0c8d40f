//! Digests in the spelling package formats use. MD5 and SHA-1 appear because deb-md5sums(5) and xar ask for them; what
//! jos trusts is SHA-256 under a signature, never these.

use sha1::Digest as _;

/// SHA-256 in lowercase hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    jos_trust::digest::sha256(bytes).to_string()
}

/// SHA-1 in lowercase hexadecimal.
#[must_use]
pub fn sha1(bytes: &[u8]) -> String {
    hex(&sha1_raw(bytes))
}

/// SHA-1 as 20 bytes.
#[must_use]
pub fn sha1_raw(bytes: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(bytes).into()
}

/// MD5 in lowercase hexadecimal.
#[must_use]
pub fn md5(bytes: &[u8]) -> String {
    hex(&md5::Md5::digest(bytes))
}

/// Bytes in lowercase hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('?');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
