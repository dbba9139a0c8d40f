//! Rules that hold between fields, checked whenever the type is read, by whatever deserializer.

use std::fmt;

/// A rule that serde's derive cannot say.
pub trait Check {
    /// Adds an issue for every rule that is broken.
    fn check(&self, issues: &mut Issues);
}

/// What a [`Check`] found.
#[derive(Debug, Default)]
pub struct Issues(Vec<Found>);

/// One thing found, with its place below the checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// JSON pointer from the checked value; empty for the value itself.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}

/// Opens each issue in the text that carries them through serde's error type, which knows only text. No document's own
/// text reaches an error message unescaped, so that it cannot be forged.
const OPEN: char = '\u{1}';
const NEXT: char = '\u{2}';

impl Issues {
    /// Adds an issue at `pointer` (`""`, `/mode`, `/argv/0`).
    pub fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) -> &mut Self {
        self.0.push(Found {
            pointer: pointer.into(),
            message: message.into(),
            help: String::new(),
        });
        self
    }

    /// Adds what to do to the issue added last.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        if let Some(last) = self.0.last_mut() {
            last.help = help.into();
        }
        self
    }

    /// None was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The inverse of `Display`; none for any other text.
    pub(crate) fn decode(text: &str) -> Option<Vec<Found>> {
        let mut found = Vec::new();
        for part in text.strip_prefix(OPEN)?.split(OPEN) {
            let mut fields = part.split(NEXT).map(str::trim_end).map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            found.push(Found {
                pointer: next(),
                message: next(),
                help: next(),
            });
        }
        Some(found)
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Found { pointer, message, help } in &self.0 {
            writeln!(f, "{OPEN}{pointer}{NEXT}{message}{NEXT}{help}")?;
        }
        Ok(())
    }
}

/// Implements `Serialize` and `Deserialize` for a type with a [`Check`], from the functions that serde derives under
/// `#[serde(remote = "Self")]`.
macro_rules! checked {
    ($($type:ty),+ $(,)?) => { $(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                <$type>::serialize(self, s)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let value = <$type>::deserialize(d)?;
                let mut issues = $crate::check::Issues::default();
                $crate::check::Check::check(&value, &mut issues);
                if issues.is_empty() { Ok(value) } else { Err(serde::de::Error::custom(issues)) }
            }
        }
    )+ };
}
pub(crate) use checked;
