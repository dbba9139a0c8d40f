//! PEM (RFC 7468), as far as a hub's certificates need it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The bytes of the first certificate.
pub(crate) fn first(pem: &str) -> Option<Vec<u8>> {
    all(pem).next().map(|(_, bytes)| bytes)
}

/// Every certificate up to the first that is none: as a PEM of its own, and its bytes.
pub(crate) fn all(pem: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    let mut rest = pem;
    std::iter::from_fn(move || {
        let from = &rest[rest.find(BEGIN)?..];
        let end = from.find(END)?;
        let (one, after) = from.split_at(end + END.len());
        rest = after;
        let body = &one[BEGIN.len()..end];
        let text: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        Some((one, STANDARD.decode(text).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::{all, first};

    #[test]
    fn each_of_several_certificates_is_found_as_it_stands() {
        let one = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----");
        let pem = format!("{}\nwords\n{}\n{}", one("aGVs"), one("bG8="), one("?"));
        let found: Vec<_> = all(&pem).collect();
        let (first, second) = (one("aGVs"), one("bG8="));
        assert_eq!(
            found,
            [(first.as_str(), b"hel".to_vec()), (second.as_str(), b"lo".to_vec())]
        );
    }

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
