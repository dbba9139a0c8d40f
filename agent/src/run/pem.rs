//! PEM (RFC 7468), as far as a hub's certificates need it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The bytes of the first certificate.
pub(crate) fn first(pem: &str) -> Option<Vec<u8>> {
    let body = pem.split_once("-----BEGIN CERTIFICATE-----")?.1;
    let body = body.split_once("-----END CERTIFICATE-----")?.0;
    let text: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::first;

    #[test]
    fn the_first_certificate_is_found_among_other_words() {
        let pem =
            "x\n-----BEGIN CERTIFICATE-----\r\naGVs\nbG8=\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n";
        assert_eq!(first(pem), Some(b"hello".to_vec()));
        for bad in [
            "",
            "-----BEGIN CERTIFICATE-----\naGVs",
            "-----BEGIN CERTIFICATE-----\n?-----END CERTIFICATE-----",
        ] {
            assert_eq!(first(bad), None);
        }
    }
}
