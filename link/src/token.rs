//! The enrolment token: one line that holds all a device needs to find the hub, to know it, and to be known by it.
//!
//! ```text
//! jos1-BASE64URL
//!
//!  0        32         64       88
//!  ┌────────┬──────────┬────────┬───────────────────────────┬──────────┐
//!  │ CA     │ trust    │ secret │ addresses, with ',' apart │ checksum │
//!  └────────┴──────────┴────────┴───────────────────────────┴──────────┘
//!   SHA-256  content of  24 bytes UTF-8, `https://…`           first 4 bytes of the SHA-256
//!   of its   the trust            1 to 8 of them               of all that is before, with
//!   DER      root, or 0                                        "jos1-" in front
//! ```
//!
//! The checksum finds slips of the hand; it protects nothing. Whoever has the line may enrol a device while the hub takes
//! the secret, so it is kept like a password: no `Debug` shows it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jos_trust::{Digest, sha256};

/// What every token starts with; another layout will have another number.
pub const PREFIX: &str = "jos1-";
/// Bytes of the secret.
pub const SECRET: usize = 24;
/// Characters of a token, at most.
pub const MOST: usize = 2048;
const ADDRESSES: usize = 32 + 32 + SECRET;
const CHECKSUM: usize = 4;
const MOST_ADDRESSES: usize = 8;

/// What a token says.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Where the hub is, best first: `https://HOST[:PORT]`.
    pub addresses: Vec<String>,
    /// SHA-256 of the DER of the hub's CA certificate.
    pub ca: Digest,
    /// Content id of the trust root that the hub served when the token was made; none where it had none.
    pub trust: Option<Digest>,
    /// What the hub knows the token by.
    pub secret: [u8; SECRET],
}

/// Why a line is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// It starts otherwise.
    #[error("an enrolment token starts with {PREFIX:?}; this does not")]
    Prefix,
    /// Cut off, or with something in it that no token has.
    #[error("the enrolment token is damaged: it was cut or mistyped; copy the whole line")]
    Damaged,
    /// Its checksum is right and its content is not.
    #[error("the enrolment token holds {found}, expected {expected}")]
    Content {
        /// What it holds.
        found: String,
        /// What it should.
        expected: &'static str,
    },
}

impl Token {
    /// The secret as an enrolment names it.
    pub fn secret_text(&self) -> String {
        self.secret.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn checksum(payload: &[u8]) -> [u8; CHECKSUM] {
        let digest = sha256(&[PREFIX.as_bytes(), payload].concat());
        let b = digest.as_bytes();
        [b[0], b[1], b[2], b[3]]
    }
}

/// Whether a hub can be at `address`: `https://` and what follows has no path, no user and no character that a token
/// keeps for itself.
pub fn is_address(address: &str) -> bool {
    let Some(authority) = address.strip_prefix("https://") else {
        return false;
    };
    !authority.is_empty()
        && authority.len() <= 253
        && authority
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".:-_[]".contains(&b))
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.ca.as_bytes().to_vec();
        bytes.extend_from_slice(self.trust.as_ref().unwrap_or(&Digest::ZERO).as_bytes());
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(self.addresses.join(",").as_bytes());
        let checksum = Self::checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = NoToken;

    /// White space around the line is what copying leaves, and is dropped.
    fn from_str(line: &str) -> Result<Self, NoToken> {
        let text = line.trim().strip_prefix(PREFIX).ok_or(NoToken::Prefix)?;
        if text.len() > MOST {
            return Err(NoToken::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoToken::Damaged)?;
        let Some((payload, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else {
            return Err(NoToken::Damaged);
        };
        if payload.len() <= ADDRESSES || Self::checksum(payload) != *checksum {
            return Err(NoToken::Damaged);
        }
        let digest = |at: usize| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(&payload[at..at + 32]);
            Digest::from_bytes(bytes)
        };
        let mut secret = [0; SECRET];
        secret.copy_from_slice(&payload[64..ADDRESSES]);
        let addresses = std::str::from_utf8(&payload[ADDRESSES..]).map_err(|_| NoToken::Damaged)?;
        let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
        if let Some(bad) = addresses.iter().find(|a| !is_address(a)) {
            return Err(NoToken::Content {
                found: format!("the address {bad:?}"),
                expected: "\"https://HOST\" or \"https://HOST:PORT\"",
            });
        }
        if addresses.len() > MOST_ADDRESSES {
            return Err(NoToken::Content {
                found: format!("{} addresses", addresses.len()),
                expected: "8 at most",
            });
        }
        Ok(Self {
            addresses,
            ca: digest(0),
            trust: Some(digest(32)).filter(|d| *d != Digest::ZERO),
            secret,
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, secret redacted)", self.addresses.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token {
            addresses: vec!["https://hub.example:8443".to_owned(), "https://192.0.2.7".to_owned()],
            ca: sha256(b"ca"),
            trust: Some(sha256(b"trust")),
            secret: [7; SECRET],
        }
    }

    #[test]
    fn a_token_comes_back_from_its_line_with_white_space_around_it() {
        let line = format!("  {}\n", token());
        assert_eq!(line.parse(), Ok(token()));
        let rootless = Token { trust: None, ..token() };
        assert_eq!(rootless.to_string().parse(), Ok(rootless));
    }

    #[test]
    fn a_slip_of_the_hand_is_found() {
        let line = token().to_string();
        assert_eq!(line[..line.len() - 3].parse::<Token>(), Err(NoToken::Damaged));
        assert_eq!("jos0-AAAA".parse::<Token>(), Err(NoToken::Prefix));
        for at in PREFIX.len()..line.len() {
            let mut other = line.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).expect("ASCII");
            assert!(other.parse::<Token>().is_err(), "{at}");
        }
    }

    #[test]
    fn an_address_without_tls_or_with_a_path_is_refused_even_with_a_right_checksum() {
        for bad in [
            "http://hub.example",
            "https://",
            "https://hub/path",
            "https://ana@hub",
            "hub.example",
        ] {
            let line = Token {
                addresses: vec![bad.to_owned()],
                ..token()
            }
            .to_string();
            assert!(matches!(line.parse::<Token>(), Err(NoToken::Content { .. })), "{bad}");
        }
    }

    #[test]
    fn no_debug_shows_the_secret() {
        let shown = format!("{:?}", token());
        assert!(
            !shown.contains(&token().secret_text()) && shown.contains("redacted"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line in "jos1-[A-Za-z0-9_-]{0,300}") {
            let _ = line.parse::<Token>();
        }
    }
}
