//! Strings that carry a rule: names, paths, modes, times, hashes.
//!
//! Each is a newtype whose rule is written once and used twice: as a Rust function when a document is read, and as a
//! regular expression in the JSON Schema. A fixture corpus holds the two against each other.

use std::fmt;

#[cfg(feature = "json-schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Declares a string newtype whose rule is checked on reading and published as a `pattern` in the JSON Schema.
macro_rules! ruled_string {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $expected:literal, $max:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The rule in words, as errors print it.
            pub const EXPECTED: &'static str = $expected;
            /// Reads `text`, or says what was expected.
            pub fn new(text: impl Into<String>) -> Result<Self, RuleBroken> {
                let text = text.into();
                let rule: fn(&str) -> bool = $rule;
                if text.chars().count() <= $max && rule(&text) { Ok(Self(text)) } else {
                    Err(RuleBroken { found: text, expected: $expected })
                }
            }
            /// The text itself.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl TryFrom<String> for $name {
            type Error = RuleBroken;
            fn try_from(text: String) -> Result<Self, RuleBroken> { Self::new(text) }
        }
        impl From<$name> for String { fn from(s: $name) -> String { s.0 } }
        impl AsRef<str> for $name { fn as_ref(&self) -> &str { &self.0 } }
        impl std::borrow::Borrow<str> for $name { fn borrow(&self) -> &str { &self.0 } }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl std::str::FromStr for $name {
            type Err = RuleBroken;
            fn from_str(s: &str) -> Result<Self, RuleBroken> { Self::new(s) }
        }
        #[cfg(feature = "json-schema")]
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "maxLength": $max, "description": $expected })
            }
        }
    };
}

/// A text that does not follow the rule of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleBroken {
    /// What was found.
    pub found: String,
    /// The rule, in words.
    pub expected: &'static str,
}

impl fmt::Display for RuleBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "found {:?}, expected {}",
            self.found.chars().take(120).collect::<String>(),
            self.expected
        )
    }
}
impl std::error::Error for RuleBroken {}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}
fn hex(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

ruled_string!(
    /// An agent's, service's or package's own name: one path component that is safe everywhere.
    Name, "^[a-z0-9][a-z0-9-]*$", "a name of a-z, 0-9 and '-', starting with a letter or digit, 64 at most", 64,
    |s| !s.is_empty() && lower_or_digit(s.as_bytes()[0]) && s.bytes().all(|b| lower_or_digit(b) || b == b'-')
);
ruled_string!(
    /// An absolute POSIX path in normal form: no `.`, `..`, empty or trailing component, no control characters.
    AbsPath, r"^(/(?!\.{1,2}(/|$))[^/\u0000-\u001f\u007f]+)+$",
    "an absolute path without '.', '..', '//' or a trailing '/', and without control characters", 4096,
    |s| s.starts_with('/') && s.len() > 1
        && s[1..].split('/').all(|c| !c.is_empty() && c != "." && c != ".." && c.len() <= 255)
        && !s.chars().any(|c| c <= '\u{1f}' || c == '\u{7f}')
);
ruled_string!(
    /// POSIX permission bits in octal: `"0644"`, `"4755"`.
    Mode, "^[0-7]{4}$", "four octal digits, as \"0644\"", 4,
    |s| s.len() == 4 && s.bytes().all(|b| (b'0'..=b'7').contains(&b))
);
ruled_string!(
    /// `user` or `user:group`, by name or number.
    Owner, "^[a-z0-9_][a-z0-9_.-]{0,31}(:[a-z0-9_][a-z0-9_.-]{0,31})?$", "\"user\" or \"user:group\"", 65,
    |s| {
        let part = |p: &str| !p.is_empty() && p.len() <= 32 && (lower_or_digit(p.as_bytes()[0]) || p.as_bytes()[0] == b'_')
            && p.bytes().all(|b| lower_or_digit(b) || b"_.-".contains(&b));
        let mut it = s.split(':');
        it.next().is_some_and(part) && it.next().is_none_or(part) && it.next().is_none()
    }
);
ruled_string!(
    /// A service as its init system names it, without a path: `cups`, `getty@tty1.service`, `com.example.kiosk`.
    ServiceName, r"^[A-Za-z0-9_][A-Za-z0-9_.@:-]*$", "a service name of letters, digits and _.@:- without '/'", 128,
    |s| s.bytes().enumerate().all(|(i, b)| b.is_ascii_alphanumeric() || b == b'_' || (i > 0 && b".@:-".contains(&b)))
        && !s.is_empty()
);
ruled_string!(
    /// SHA-256 in lower-case hex.
    Sha256Hex, "^[0-9a-f]{64}$", "64 lower-case hex digits (SHA-256)", 64, |s| s.len() == 64 && hex(s)
);
ruled_string!(
    /// A moment in UTC, to the second: RFC 3339 with `Z`.
    Utc, r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$",
    "a UTC time as \"2027-01-31T00:00:00Z\"", 20,
    |s| {
        let b = s.as_bytes();
        let shape = b"dddd-dd-ddTdd:dd:ddZ";
        b.len() == shape.len()
            && b.iter().zip(shape).all(|(c, p)| if *p == b'd' { c.is_ascii_digit() } else { c == p })
            && (1..=12).contains(&two(b, 5)) && (1..=31).contains(&two(b, 8))
            && two(b, 11) < 24 && two(b, 14) < 60 && two(b, 17) < 60
    }
);
ruled_string!(
    /// A hint that finds a key: any short printable token.
    KeyIdText, "^[A-Za-z0-9][A-Za-z0-9._-]*$", "a key id of letters, digits and ._-", 64,
    |s| !s.is_empty() && s.as_bytes()[0].is_ascii_alphanumeric()
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
);

fn two(b: &[u8], at: usize) -> u8 {
    (b[at] - b'0') * 10 + (b[at + 1] - b'0')
}

impl Utc {
    /// Seconds since 1970-01-01T00:00:00Z (POSIX time; leap seconds do not exist there).
    pub fn unix(&self) -> i64 {
        let b = self.0.as_bytes();
        let year = i64::from(two(b, 0)) * 100 + i64::from(two(b, 2));
        let (month, day) = (i64::from(two(b, 5)), i64::from(two(b, 8)));
        // Days from civil, with the year starting in March so that the leap day comes last.
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
        days * 86_400 + i64::from(two(b, 11)) * 3600 + i64::from(two(b, 14)) * 60 + i64::from(two(b, 17))
    }

    /// The inverse of [`Utc::unix`], for years 0000 to 9999 (clamped beyond).
    pub fn from_unix(seconds: i64) -> Self {
        let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
        let (days, rest) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
        let era = days.div_euclid(146_097);
        let doe = days.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
        let year = yoe + era * 400 + i64::from(month <= 2);
        Self(format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        ))
    }
}

impl Mode {
    /// The bits.
    pub fn bits(&self) -> u32 {
        u32::from_str_radix(&self.0, 8).unwrap_or(0)
    }
}

/// What the upstream standard's examples write for a value to be filled in. A path and a service name may be one, so that
/// the examples are valid as they are written; no policy grants it and no plan takes it.
pub const PLACEHOLDER: &str = "...";

impl AbsPath {
    /// Reads `text`, [`PLACEHOLDER`] included.
    pub(crate) fn or_placeholder(text: String) -> Result<Self, RuleBroken> {
        if text == PLACEHOLDER {
            Ok(Self(text))
        } else {
            Self::new(text)
        }
    }
    /// Is still to be filled in.
    pub fn is_placeholder(&self) -> bool {
        self.0 == PLACEHOLDER
    }
}

impl ServiceName {
    /// Reads `text`, [`PLACEHOLDER`] included.
    pub(crate) fn or_placeholder(text: String) -> Result<Self, RuleBroken> {
        if text == PLACEHOLDER {
            Ok(Self(text))
        } else {
            Self::new(text)
        }
    }
    /// Is still to be filled in.
    pub fn is_placeholder(&self) -> bool {
        self.0 == PLACEHOLDER
    }
}
