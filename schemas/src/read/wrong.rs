//! What can be wrong with a tree, and which part of it: the errors of [`super::de`].

use std::fmt::Display;

use serde::de::{Expected, Unexpected};

use crate::node::{Entry, Node, shortened};

/// What an error is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// Not yet known.
    Unknown,
    /// A value.
    Value(&'a Node),
    /// The key of a member.
    Key(&'a Entry),
    /// A member that was made up.
    Hole(&'a Node, &'static str),
}

/// An error on its way up. Boxed, since it is rare and results are many.
#[derive(Debug)]
pub(super) struct Error<'a>(Box<Inner<'a>>);

#[derive(Debug)]
pub(super) struct Inner<'a> {
    pub(super) place: Place<'a>,
    pub(super) wrong: Wrong,
}

/// What is wrong.
#[derive(Debug)]
pub(super) enum Wrong {
    /// `found`, but `expected`.
    Expected { found: String, expected: String },
    /// A key or a variant that is not known.
    Unknown {
        what: &'static str,
        found: String,
        known: &'static [&'static str],
    },
    /// A member that is not there.
    Missing(&'static str),
    /// Anything else in words, or an encoded [`crate::check::Issues`].
    Other(String),
}

impl<'a> Error<'a> {
    fn new(wrong: Wrong) -> Self {
        Self(Box::new(Inner {
            place: Place::Unknown,
            wrong,
        }))
    }
    /// In words that may be `found …, expected …`.
    #[inline(never)]
    pub(super) fn worded(text: String) -> Self {
        Self::new(
            match text
                .strip_prefix("found ")
                .and_then(|rest| rest.rsplit_once(", expected "))
            {
                Some((found, expected)) => Wrong::Expected {
                    found: found.to_owned(),
                    expected: expected.to_owned(),
                },
                None => Wrong::Other(text),
            },
        )
    }
    /// Says where it is, if that is not known yet.
    #[inline(never)]
    pub(super) fn locate(&mut self, place: Place<'a>) {
        if let Place::Unknown = self.0.place {
            self.0.place = place;
        }
    }
    pub(super) fn into_inner(self) -> Inner<'a> {
        *self.0
    }
}

impl Display for Error<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.wrong)
    }
}
impl std::error::Error for Error<'_> {}

impl serde::de::Error for Error<'_> {
    fn custom<T: Display>(message: T) -> Self {
        Self::worded(message.to_string())
    }
    #[inline(never)]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Wrong::Expected {
            found: in_words(found),
            expected: plainly(&expected.to_string()),
        })
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    #[inline(never)]
    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(Wrong::Expected {
            found: format!("{length} elements"),
            expected: expected.to_string(),
        })
    }
    #[inline(never)]
    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(Wrong::Unknown {
            what: "value",
            found: variant.to_owned(),
            known,
        })
    }
    #[inline(never)]
    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(Wrong::Unknown {
            what: "field",
            found: field.to_owned(),
            known,
        })
    }
    #[inline(never)]
    fn missing_field(field: &'static str) -> Self {
        Self::new(Wrong::Missing(field))
    }
    #[inline(never)]
    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Wrong::Other(format!("duplicate key {field:?}")))
    }
}

fn in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("text {:?}", shortened(text)),
        Unexpected::Signed(n) => format!("integer {n}"),
        Unexpected::Unsigned(n) => format!("integer {n}"),
        Unexpected::Float(n) => format!("number {n}"),
        Unexpected::Bool(b) => format!("boolean {b}"),
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// What serde's own readers expect, in the words of documents.
fn plainly(expected: &str) -> String {
    match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer from 0 to 9007199254740991",
        "i32" | "i64" => "an integer",
        "a boolean" => "true or false",
        "a string" | "string" => "text",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("a string ") => "text",
        other => other,
    }
    .to_owned()
}
