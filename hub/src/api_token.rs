//! The line that an admin's programs show: `josapi1-` and, in base64url, the fingerprint of the hub's CA (32 bytes) and a
//! secret (32 bytes). The fingerprint lets a client know the hub before it says the secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jos_trust::{Digest, sha256};
use zeroize::Zeroizing;

use crate::random;

const PREFIX: &str = "josapi1-";

/// An API token.
#[derive(Clone)]
pub struct ApiToken {
    ca: Digest,
    secret: Zeroizing<[u8; 32]>,
}

/// A line that is no API token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no API token: expected one line that starts with {PREFIX:?}, as `jos-hub api-token new` prints it")]
pub struct NoApiToken;

impl ApiToken {
    /// A new one, for the hub with this CA.
    pub fn new(ca: Digest) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        random::fill(&mut *secret);
        Self { ca, secret }
    }

    /// The line.
    pub fn line(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([self.ca.as_bytes().as_slice(), &*self.secret].concat());
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*bytes)))
    }

    /// The CA that the hub's certificate must be of.
    pub fn ca(&self) -> Digest {
        self.ca
    }

    /// What the hub keeps of it.
    pub fn hash(&self) -> String {
        sha256(&*self.secret).to_string()
    }
}

impl FromStr for ApiToken {
    type Err = NoApiToken;

    fn from_str(line: &str) -> Result<Self, NoApiToken> {
        let text = line.trim().strip_prefix(PREFIX).ok_or(NoApiToken)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| NoApiToken)?);
        let (ca, secret) = bytes.split_at_checked(32).ok_or(NoApiToken)?;
        Ok(Self {
            ca: Digest::from_bytes(ca.try_into().map_err(|_| NoApiToken)?),
            secret: Zeroizing::new(secret.try_into().map_err(|_| NoApiToken)?),
        })
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(redacted)")
    }
}
