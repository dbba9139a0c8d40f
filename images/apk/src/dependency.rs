//! One name in `depends`, `provides`, `replaces` and the like: `[!]name[<|<=|=|>=|>|~version]`.

use std::fmt;
use std::str::FromStr;

use crate::value::Value;
use crate::version::Version;
use crate::{ApkError, info};

const EQUAL: u64 = 1;
const LESS: u64 = 2;
const GREATER: u64 = 4;
const FUZZY: u64 = 8;
const CONFLICT: u64 = 16;

/// A relation to a version, as apk-tools writes and numbers it.
const RELATIONS: [(&str, u64); 9] = [
    ("><", LESS | GREATER),
    ("<=", LESS | EQUAL),
    (">=", GREATER | EQUAL),
    ("<~", LESS | EQUAL | FUZZY),
    (">~", GREATER | EQUAL | FUZZY),
    ("<", LESS),
    (">", GREATER),
    ("~", EQUAL | FUZZY),
    ("=", EQUAL),
];

/// A package, or what one provides, that is wanted or (with `!`) not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    name: String,
    version: String,
    /// The relation's number, 0 for none and for `=`, which is how the format keeps them.
    relation: u64,
}

impl Dependency {
    /// The name without `!` and version.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::object(vec![
            Value::text(&self.name),
            Value::text(&self.version),
            Value::number((self.relation != 0).then_some(self.relation)),
        ])
    }

    pub(crate) fn from_value(value: &Value) -> Result<Self, ApkError> {
        let read = Self {
            name: value.field(1).as_text("name of a dependency")?,
            version: value.field(2).as_text("version of a dependency")?,
            relation: value.field(3).as_number().unwrap_or(0),
        };
        // Read back through its text: what was not written by a rule of the grammar is not a dependency.
        read.to_string().parse()
    }

    /// An array of them: sorted, each once.
    pub(crate) fn to_array(all: &[Self]) -> Value {
        let mut sorted: Vec<_> = all.iter().collect();
        sorted.sort();
        sorted.dedup();
        Value::array(sorted.into_iter().map(Self::to_value))
    }

    pub(crate) fn from_array(value: &Value) -> Result<Vec<Self>, ApkError> {
        value.items().iter().map(Self::from_value).collect()
    }
}

impl FromStr for Dependency {
    type Err = ApkError;

    fn from_str(text: &str) -> Result<Self, ApkError> {
        const EXPECTED: &str = "[!]NAME or [!]NAME and one of < <= = >= > ~ and a version, such as libc>=1.2.3-r1";
        let refused = || ApkError::field("dependency", text, EXPECTED);
        let (conflict, rest) = match text.strip_prefix('!') {
            Some(rest) => (CONFLICT, rest),
            None => (0, text),
        };
        let end = rest.find(['<', '>', '=', '~']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        if !info::is_dependency_name(name) {
            return Err(refused());
        }
        if rest.is_empty() {
            return Ok(Self {
                name: name.to_owned(),
                version: String::new(),
                relation: if conflict == 0 {
                    0
                } else {
                    CONFLICT | EQUAL | LESS | GREATER
                },
            });
        }
        let (sign, relation) = RELATIONS
            .iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(refused)?;
        let version = &rest[sign.len()..];
        // `><` is followed by a checksum.
        let known = if *sign == "><" {
            !version.is_empty()
        } else {
            Version::new(version).is_ok()
        };
        if !known {
            return Err(refused());
        }
        let relation = relation | conflict;
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            relation: if relation == EQUAL { 0 } else { relation },
        })
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.relation & CONFLICT != 0 {
            f.write_str("!")?;
        }
        f.write_str(&self.name)?;
        if self.version.is_empty() {
            return Ok(());
        }
        let plain = match self.relation & !CONFLICT {
            0 => EQUAL,
            FUZZY => EQUAL | FUZZY,
            plain => plain,
        };
        let sign = RELATIONS
            .iter()
            .find(|(_, relation)| *relation == plain)
            .map_or("?", |r| r.0);
        write!(f, "{sign}{}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_written_as_it_was_read_and_kept_through_a_tree() {
        for text in [
            "libc",
            "!jos-agent",
            "a=1",
            "a>=1.2-r3",
            "a<2_rc1",
            "a~1.2",
            "!a<1",
            "a>~1",
            "cmd:jos=0.1.0-r1",
            "so:libc.so.6",
            "a><Q1abc=",
        ] {
            let read: Dependency = text.parse().expect(text);
            assert_eq!(read.to_string(), text);
            assert_eq!(Dependency::from_value(&read.to_value()), Ok(read));
        }
    }

    #[test]
    fn what_is_no_dependency_is_refused() {
        for text in ["", "!", "a=", "a<<1", "a b", "a>=x", "=1", "a=1 ", "(a)", "a\n"] {
            assert!(text.parse::<Dependency>().is_err(), "{text:?}");
        }
    }
}
