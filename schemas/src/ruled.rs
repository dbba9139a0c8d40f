//! Rules on single values whose Rust type is a plain text or number: each written once, used by the readers
//! (`deserialize_with`) and by the JSON Schemas (`schemars(with)`). A corpus of fixtures and mutations holds the two
//! against each other.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::node::shortened;
use crate::text::{AbsPath, ServiceName};

/// A rule on a text.
pub(crate) trait Rule {
    /// The rule in words.
    const EXPECTED: &'static str;
    /// The rule as a regular expression of JSON Schema (ECMA 262).
    #[cfg(feature = "json-schema")]
    const PATTERN: &'static str;
    /// Fewest characters.
    const MIN: usize = 1;
    /// Most characters.
    const MAX: usize;
    /// The rule on a text whose length is right.
    fn holds(text: &str) -> bool;
}

/// Reads a text under a rule.
pub(crate) fn text<'de, D: Deserializer<'de>, R: Rule>(d: D) -> Result<String, D::Error> {
    judged(String::deserialize(d)?, R::EXPECTED, R::MIN..=R::MAX, R::holds)
}

/// Reads a text that may be left out under a rule.
pub(crate) fn maybe<'de, D: Deserializer<'de>, R: Rule>(d: D) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(d)? {
        Some(found) => judged(found, R::EXPECTED, R::MIN..=R::MAX, R::holds).map(Some),
        None => Ok(None),
    }
}

fn judged<E: Error>(
    found: String,
    expected: &str,
    length: std::ops::RangeInclusive<usize>,
    holds: fn(&str) -> bool,
) -> Result<String, E> {
    if length.contains(&found.chars().count()) && holds(&found) {
        return Ok(found);
    }
    Err(E::custom(format!("found {:?}, expected {expected}", shortened(&found))))
}

/// A text under a rule, where a type is needed.
pub(crate) struct Ruled<R>(String, PhantomData<R>);

impl<R> From<Ruled<R>> for String {
    fn from(ruled: Ruled<R>) -> String {
        ruled.0
    }
}

impl<'de, R: Rule> Deserialize<'de> for Ruled<R> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        text::<D, R>(d).map(|text| Self(text, PhantomData))
    }
}

/// Reads a list of texts, each under a rule.
pub(crate) fn list<'de, D: Deserializer<'de>, R: Rule>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Ruled<R>>::deserialize(d)?.into_iter().map(String::from).collect())
}

/// Reads a text under a rule into a type with a rule of its own.
pub(crate) fn text_as<'de, D, R, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    R: Rule,
    T: TryFrom<String, Error: fmt::Display>,
{
    T::try_from(text::<D, R>(d)?).map_err(D::Error::custom)
}

/// [`text_as`] for what may be left out.
pub(crate) fn maybe_as<'de, D, R, T>(d: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    R: Rule,
    T: TryFrom<String, Error: fmt::Display>,
{
    maybe::<D, R>(d)?.map(T::try_from).transpose().map_err(D::Error::custom)
}

/// [`list`] for what may be left out.
pub(crate) fn maybe_list<'de, D: Deserializer<'de>, R: Rule>(d: D) -> Result<Option<Vec<String>>, D::Error> {
    let read = Option::<Vec<Ruled<R>>>::deserialize(d)?;
    Ok(read.map(|texts| texts.into_iter().map(String::from).collect()))
}

/// [`text_as`] for lists.
pub(crate) fn list_as<'de, D, R, T>(d: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    R: Rule,
    T: TryFrom<String, Error: fmt::Display>,
{
    list::<D, R>(d)?
        .into_iter()
        .map(|text| T::try_from(text).map_err(D::Error::custom))
        .collect()
}

/// Reads a path, or the placeholder of an example.
pub(crate) fn path_or_placeholder<'de, D: Deserializer<'de>>(d: D) -> Result<AbsPath, D::Error> {
    AbsPath::or_placeholder(String::deserialize(d)?).map_err(D::Error::custom)
}

/// Reads a service name, or the placeholder of an example.
pub(crate) fn service_or_placeholder<'de, D: Deserializer<'de>>(d: D) -> Result<ServiceName, D::Error> {
    ServiceName::or_placeholder(String::deserialize(d)?).map_err(D::Error::custom)
}

/// `T`, or the placeholder of an example, in JSON Schemas.
#[cfg(feature = "json-schema")]
pub(crate) struct OrPlaceholder<T>(PhantomData<T>);

#[cfg(feature = "json-schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for OrPlaceholder<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}OrPlaceholder", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let value = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [value, { "const": crate::text::PLACEHOLDER }] })
    }
}

/// The rule on a text, its length included.
pub(crate) fn holds<R: Rule>(text: &str) -> bool {
    (R::MIN..=R::MAX).contains(&text.chars().count()) && R::holds(text)
}

/// The rule in words.
pub(crate) fn expected<R: Rule>() -> &'static str {
    R::EXPECTED
}

struct Range {
    min: u64,
    max: u64,
}

impl Visitor<'_> for Range {
    type Value = u64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from {} to {}", self.min, self.max)
    }
    fn visit_u64<E: Error>(self, n: u64) -> Result<u64, E> {
        if (self.min..=self.max).contains(&n) {
            Ok(n)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(n), &self))
        }
    }
    fn visit_i64<E: Error>(self, n: i64) -> Result<u64, E> {
        match u64::try_from(n) {
            Ok(n) => self.visit_u64(n),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(n), &self)),
        }
    }
}

/// Reads an integer from `MIN` to `MAX`.
pub(crate) fn int<'de, D, T, const MIN: u64, const MAX: u64>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let n = d.deserialize_u64(Range { min: MIN, max: MAX })?;
    T::try_from(n).map_err(|_| D::Error::custom(format!("found {n}, expected an integer from {MIN} to {MAX}")))
}

/// Reads an integer from `MIN` to `MAX` that may be left out.
pub(crate) fn maybe_int<'de, D, T, const MIN: u64, const MAX: u64>(d: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    struct Maybe<T, const MIN: u64, const MAX: u64>(PhantomData<T>);
    impl<'de, T: TryFrom<u64>, const MIN: u64, const MAX: u64> Visitor<'de> for Maybe<T, MIN, MAX> {
        type Value = Option<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Range { min: MIN, max: MAX }.expecting(f)
        }
        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
            int::<D, T, MIN, MAX>(d).map(Some)
        }
    }
    d.deserialize_option(Maybe::<T, MIN, MAX>(PhantomData))
}

/// Declares a [`Rule`] and, with JSON Schemas, the type that stands for it there.
macro_rules! rule {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $expected:literal, $max:literal, $holds:expr) => {
        $(#[$doc])*
        pub(crate) enum $name {}
        impl Rule for $name {
            const EXPECTED: &'static str = $expected;
            #[cfg(feature = "json-schema")]
            const PATTERN: &'static str = $pattern;
            const MAX: usize = $max;
            fn holds(text: &str) -> bool {
                let holds: fn(&str) -> bool = $holds;
                holds(text)
            }
        }
        #[cfg(feature = "json-schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "pattern": $name::PATTERN, "minLength": $name::MIN, "maxLength": $max,
                })
            }
        }
    };
}

fn uci_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The first byte is a letter or digit, the others too or one of `more`.
fn word(text: &str, more: &[u8]) -> bool {
    text.bytes()
        .enumerate()
        .all(|(at, b)| b.is_ascii_alphanumeric() || (at > 0 && more.contains(&b)))
}

/// No control character, blank or quote: what may stand in an address.
fn address(text: &str) -> bool {
    !text.chars().any(|c| c <= ' ' || "\u{7f}\"<>\\^`{|}".contains(c))
}

rule!(
    /// A command line. NUL would end it early in every system call.
    Command, r"^[^\u0000]*$", "a command of 1 to 65536 characters without NUL", 65_536, |s| !s.contains('\0')
);
rule!(
    /// An address of the web.
    WebUrl, r#"^https?://[^\u0000-\u0020\u007f"<>\\^`{|}/?#@]+([/?#][^\u0000-\u0020\u007f"<>\\^`{|}]*)?$"#,
    "an address as \"http://host:port/path\", without a user name", 2048,
    |s| s.strip_prefix("http://").or_else(|| s.strip_prefix("https://")).is_some_and(authority)
);
rule!(
    /// The address of a hub: TLS only.
    HubUrl, r#"^https://[^\u0000-\u0020\u007f"<>\\^`{|}/?#@]+([/?#][^\u0000-\u0020\u007f"<>\\^`{|}]*)?$"#,
    "an address as \"https://host:port/path\", without a user name", 2048,
    |s| s.strip_prefix("https://").is_some_and(authority)
);
rule!(
    /// What a symbolic link holds.
    LinkTarget, r"^[^\u0000]+$", "a path of 1 to 4096 characters without NUL", 4096, |s| !s.contains('\0')
);
rule!(
    /// A package as its manager names it. A leading `-` would be an option.
    PackageName, r"^[A-Za-z0-9][A-Za-z0-9+._-]*$", "a package name of letters, digits and +._-", 128,
    |s| word(s, b"+._-")
);
rule!(
    /// A version as the package manager writes it (Debian Policy §5.6.12 and opkg's).
    PackageVersion, r"^[A-Za-z0-9][A-Za-z0-9.+:~_-]*$", "a version of letters, digits and .+:~_-", 128,
    |s| word(s, b".+:~_-")
);
rule!(
    /// For which devices an update bundle is: what the bundle and the device both say.
    Compatible, r"^[A-Za-z0-9][A-Za-z0-9.+:~_-]*$", "what a bundle is for, of letters, digits and .+:~_-", 256,
    |s| word(s, b".+:~_-")
);
rule!(
    /// A UCI file, section or option name.
    UciName, r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", "a UCI name of letters, digits, '_' and '-'", 64,
    |s| s.bytes().enumerate().all(|(at, b)| b.is_ascii_alphanumeric() || b == b'_' || (at > 0 && b == b'-'))
);
rule!(
    /// A section of a UCI file: by its name, or by its type and place.
    UciSection, r"^([A-Za-z0-9_]+|@[A-Za-z0-9_][A-Za-z0-9_-]*\[(0|[1-9][0-9]{0,3})\])$",
    "a section as \"lan\" (letters, digits and '_') or \"@zone[0]\"", 80, |s| match s.strip_prefix('@') {
        None => uci_name(s),
        Some(place) => place.strip_suffix(']').and_then(|p| p.split_once('[')).is_some_and(|(kind, at)| {
            let digits = !at.is_empty() && at.len() <= 4 && at.bytes().all(|b| b.is_ascii_digit());
            !kind.is_empty() && UciName::holds(kind) && digits && (at == "0" || !at.starts_with('0'))
        }),
    }
);
rule!(
    /// An option of a UCI section.
    UciOption, r"^[A-Za-z0-9_]+$", "an option of letters, digits and '_'", 64, uci_name
);
rule!(
    /// A value in a UCI file. `uci set` takes no other control characters either.
    UciText, r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f]+$",
    "1 to 65536 characters, of the control characters only tab, newline and return", 65_536,
    |s| !s.chars().any(|c| c < ' ' && !"\t\n\r".contains(c))
);
rule!(
    /// What of the UCI files is granted: a config, a section of it, an option of that.
    UciPattern, r"^[A-Za-z0-9_][A-Za-z0-9_-]*(\.(@[A-Za-z0-9_][A-Za-z0-9_-]*|[A-Za-z0-9_*]+)(\.[A-Za-z0-9_*]+)?)?$",
    "\"network\", \"network.lan\", \"firewall.@zone\" or \"network.*.ipaddr\"", 200, |s| {
        let mut parts = s.split('.');
        let glob = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_*".contains(&b));
        let name = |p: &str| !p.is_empty() && UciName::holds(p);
        parts.next().is_some_and(name)
            && parts.next().is_none_or(|p| p.strip_prefix('@').map_or_else(|| glob(p), name))
            && parts.next().is_none_or(glob)
            && parts.next().is_none()
    }
);
rule!(
    /// A kernel parameter.
    SysctlKey, r"^[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*$", "a kernel parameter as \"net.ipv4.ip_forward\"", 256,
    |s| s.split(['.', '/']).all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)))
);
rule!(
    /// One line of text.
    Line, r"^[^\u0000-\u001f\u007f]*$", "one line of 1 to 1024 characters without control characters", 1024,
    |s| !s.chars().any(|c| c < ' ' || c == '\u{7f}')
);
rule!(
    /// A host name or an address.
    Host, r"^[A-Za-z0-9_\[][A-Za-z0-9.:_\]%-]*$", "a host name or an address", 253,
    |s| s.bytes().enumerate().all(|(at, b)| {
        b.is_ascii_alphanumeric() || b == b'_' || (at == 0 && b == b'[') || (at > 0 && b".:]%-".contains(&b))
    })
);
rule!(
    /// The text of a signature. That it is 64 bytes in base64 is judged when it is verified.
    SignatureText, r"^[!-~]+$", "a signature in base64", 128, |s| s.bytes().all(|b| b.is_ascii_graphic())
);
rule!(
    /// 32 bytes in standard base64 with padding (RFC 4648 §4).
    Key32, r"^[A-Za-z0-9+/]{43}=$", "32 bytes in base64: 43 characters and '='", 44,
    |s| s.len() == 44 && s.ends_with('=') && s[..43].bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
);
rule!(
    /// Semantic version (semver.org 2.0.0).
    SemVer, r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$",
    "a semantic version as \"0.0.7\"", 64, |s| semantic(s)
);
rule!(
    /// Five fields of cron: minute, hour, day of month, month, day of week.
    CronSchedule,
    r"^((\*|[0-5]?[0-9](-[0-5]?[0-9])?)(/[1-9][0-9]?)?(,(\*|[0-5]?[0-9](-[0-5]?[0-9])?)(/[1-9][0-9]?)?)*) +((\*|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?(,(\*|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?)*) +((\*|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?(,(\*|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?)*) +((\*|(0?[1-9]|1[0-2])(-(0?[1-9]|1[0-2]))?)(/[1-9][0-9]?)?(,(\*|(0?[1-9]|1[0-2])(-(0?[1-9]|1[0-2]))?)(/[1-9][0-9]?)?)*) +((\*|0?[0-7](-0?[0-7])?)(/[1-9][0-9]?)?(,(\*|0?[0-7](-0?[0-7])?)(/[1-9][0-9]?)?)*)$",
    "five cron fields of numbers, as \"*/5 0-6 * * 1,5\"", 128, |s| cron(s)
);
rule!(
    /// A user or group.
    AccountName, r"^[a-z0-9_][a-z0-9_.-]*$", "a user or group name of a-z, 0-9 and _.-", 32,
    |s| s.bytes().enumerate().all(|(at, b)| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || (at > 0 && b".-".contains(&b))
    })
);
rule!(
    /// A word of an argv template: literal, or with typed holes.
    ArgvWord, r"^([^{}\u0000]|\{(int|word|host|ip|path)\})*$",
    "a word whose only braces are the holes {int}, {word}, {host}, {ip}, {path}", 4096, |s| {
        const HOLES: [&str; 5] = ["int", "word", "host", "ip", "path"];
        let mut parts = s.split('{');
        let first = parts.next().unwrap_or_default();
        !s.contains('\0')
            && !first.contains('}')
            && parts.all(|p| p.split_once('}').is_some_and(|(hole, rest)| HOLES.contains(&hole) && !rest.contains('}')))
    }
);
rule!(
    /// A word of a command line.
    Word, r"^[^\u0000]*$", "a word of 1 to 4096 characters without NUL", 4096, |s| !s.contains('\0')
);
rule!(
    /// A time zone of the IANA database. Whether it exists is judged where it is used.
    Zone, r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z][A-Za-z0-9_+-]*)*$", "a time zone as \"America/Mexico_City\"", 64,
    |s| s.split('/').all(|p| {
        p.bytes().enumerate().all(|(at, b)| b.is_ascii_alphabetic() || (at > 0 && (b.is_ascii_digit() || b"_+-".contains(&b))))
            && !p.is_empty()
    })
);
rule!(
    /// A time of the day.
    TimeOfDay, r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "a time of the day as \"02:30\"", 5,
    |s| matches!(*s.as_bytes(), [a, b, b':', c, d] if (matches!((a, b), (b'0' | b'1', b'0'..=b'9') | (b'2', b'0'..=b'3')))
        && matches!((c, d), (b'0'..=b'5', b'0'..=b'9')))
);
rule!(
    /// A path below the data directory, in normal form.
    RelativePath, r"^(?!\.{1,2}(/|$))[^/\u0000-\u001f\u007f]+(/(?!\.{1,2}(/|$))[^/\u0000-\u001f\u007f]+)*$",
    "a relative path without '.', '..', '//' or a leading or trailing '/'", 1024,
    |s| s.split('/').all(|c| !c.is_empty() && c != "." && c != ".." && !c.chars().any(|c| c < ' ' || c == '\u{7f}'))
);
rule!(
    /// A short token that names something in files and messages: no path can be made of it.
    Id, r"^[A-Za-z0-9][A-Za-z0-9_-]*$", "an id of letters, digits, '_' and '-'", 128, |s| word(s, b"_-")
);
rule!(
    /// A dotted word, as `state.apply`.
    DottedName, r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", "a dotted word as \"state.apply\"", 64,
    |s| s.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
);

/// Host and what follows it.
fn authority(rest: &str) -> bool {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !host.contains('@') && address(rest)
}

/// Not the `semver` crate's reading: that one refuses numbers beyond 64 bits, which the standard does not.
fn semantic(text: &str) -> bool {
    let (rest, build) = text
        .split_once('+')
        .map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest
        .split_once('-')
        .map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let ident = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let number = |s: &str| digits(s) && (s == "0" || !s.starts_with('0'));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|s| ident(s) && (!digits(s) || number(s))))
        && build.is_none_or(|build| build.split('.').all(ident))
}

fn cron(text: &str) -> bool {
    const FIELDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    let number = |s: &str, from: u32, to: u32| {
        let sound = (1..=2).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
        sound && s.parse::<u32>().is_ok_and(|n| (from..=to).contains(&n))
    };
    let term = |term: &str, from: u32, to: u32| {
        let (range, step) = term
            .split_once('/')
            .map_or((term, None), |(range, step)| (range, Some(step)));
        let sound = match range.split_once('-') {
            _ if range == "*" => true,
            Some((first, last)) => number(first, from, to) && number(last, from, to),
            None => number(range, from, to),
        };
        sound && step.is_none_or(|step| number(step, 1, 99) && !step.starts_with('0'))
    };
    let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
    !text.starts_with(' ')
        && !text.ends_with(' ')
        && fields.len() == FIELDS.len()
        && fields
            .iter()
            .zip(FIELDS)
            .all(|(field, (from, to))| field.split(',').all(|t| term(t, from, to)))
}
