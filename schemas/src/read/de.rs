//! A serde deserializer over a located tree, whose errors know the node they are about.
//!
//! Some members can be passed over and some made up, so that [`super::collect`] can go on after an error and find the
//! next one.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::hole::Hole;
use crate::node::{Entry, Kind, Node, shortened};

/// The name under which a table asks for its `type` first, see [`crate::tagged`].
pub(crate) const TAGGED: &str = "$tagged";

/// Documents whose standard lets tools write `null` for a field left out. Elsewhere `null` is refused.
const NULL_IS_ABSENT: [&str; 1] = ["Artifact"];

/// What one reading shares.
#[derive(Default)]
pub(super) struct Context {
    /// Nodes passed over: reported already.
    pub(super) skipped: RefCell<HashSet<*const Node>>,
    /// Members made up because they are missing, reported already: the candidate tried for each.
    pub(super) holes: RefCell<HashMap<*const Node, Vec<(&'static str, usize)>>>,
    null_is_absent: Cell<bool>,
}

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
    fn or_at(mut self, place: Place<'a>) -> Self {
        if let Place::Unknown = self.0.place {
            self.0.place = place;
        }
        self
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
        let text = message.to_string();
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
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Wrong::Expected {
            found: in_words(found),
            expected: plainly(&expected.to_string()),
        })
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(Wrong::Expected {
            found: format!("{length} elements"),
            expected: expected.to_string(),
        })
    }
    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(Wrong::Unknown {
            what: "value",
            found: variant.to_owned(),
            known,
        })
    }
    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(Wrong::Unknown {
            what: "field",
            found: field.to_owned(),
            known,
        })
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(Wrong::Missing(field))
    }
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

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a, 'c> {
    pub(super) node: &'a Node,
    pub(super) context: &'c Context,
}

impl<'a, 'c> Reader<'a, 'c> {
    fn located<T>(self, read: Result<T, Error<'a>>) -> Result<T, Error<'a>> {
        read.map_err(|error| error.or_at(Place::Value(self.node)))
    }

    fn any<V: Visitor<'a>>(self, visitor: V, first: Option<&str>) -> Result<V::Value, Error<'a>> {
        let read = match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(b) => visitor.visit_bool(*b),
            Kind::Int(n) => match u64::try_from(*n) {
                Ok(n) => visitor.visit_u64(n),
                Err(_) => visitor.visit_i64(*n),
            },
            Kind::Float(n) => visitor.visit_f64(*n),
            Kind::String(text) => visitor.visit_borrowed_str(text),
            Kind::Array(items) => visitor.visit_seq(Items {
                items: items.iter(),
                context: self.context,
            }),
            Kind::Object(entries) => {
                let early = first.and_then(|key| entries.iter().find(|entry| entry.key == key));
                let holes = self
                    .context
                    .holes
                    .borrow()
                    .get(&(self.node as *const Node))
                    .cloned()
                    .unwrap_or_default();
                let holes = holes.into_iter();
                visitor.visit_map(Members {
                    node: self.node,
                    early,
                    first: early,
                    entries: entries.iter(),
                    holes,
                    next: Next::Nothing,
                    context: self.context,
                })
            }
        };
        self.located(read)
    }
}

impl<'a> Deserializer<'a> for Reader<'a, '_> {
    type Error = Error<'a>;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        self.any(visitor, None)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        let read = match self.node.kind {
            Kind::Null if self.context.null_is_absent.get() => visitor.visit_none(),
            Kind::Null => Err(Error::custom("found null, expected a value, or the field left out")),
            _ => visitor.visit_some(self),
        };
        self.located(read)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error<'a>> {
        let read = visitor.visit_newtype_struct(self);
        self.located(read)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error<'a>> {
        if NULL_IS_ABSENT.contains(&name) {
            self.context.null_is_absent.set(true);
        }
        if let Kind::Array(_) = self.node.kind {
            // serde's derive would take a list as the fields in order; no document means that.
            return self.located(Err(Error::invalid_type(Unexpected::Seq, &"a table")));
        }
        self.any(visitor, (name == TAGGED).then_some("type"))
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error<'a>> {
        let read = match &self.node.kind {
            Kind::String(text) => visitor.visit_enum(Word(text)),
            _ => Err(Error::custom(format!("found {}, expected text", self.node.describe()))),
        };
        self.located(read)
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

/// A text that names a variant without content.
struct Word<'a>(&'a str);

impl<'a> EnumAccess<'a> for Word<'a> {
    type Error = Error<'a>;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Error<'a>> {
        let read = seed.deserialize(self.0.into_deserializer() as StrDeserializer<'_, Error<'a>>)?;
        Ok((read, self))
    }
}

impl<'a> VariantAccess<'a> for Word<'a> {
    type Error = Error<'a>;
    fn unit_variant(self) -> Result<(), Error<'a>> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, _: T) -> Result<T::Value, Error<'a>> {
        Err(Error::custom(format!("{:?} needs content", self.0)))
    }
    fn tuple_variant<V: Visitor<'a>>(self, _: usize, _: V) -> Result<V::Value, Error<'a>> {
        Err(Error::custom(format!("{:?} needs content", self.0)))
    }
    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error<'a>> {
        Err(Error::custom(format!("{:?} needs content", self.0)))
    }
}

struct Items<'a, 'c> {
    items: std::slice::Iter<'a, Node>,
    context: &'c Context,
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = Error<'a>;
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error<'a>> {
        for node in self.items.by_ref() {
            if !self.context.skipped.borrow().contains(&(node as *const Node)) {
                // A rule of a newtype is judged after its text was read, so that its error has no place yet.
                let read = seed.deserialize(Reader {
                    node,
                    context: self.context,
                });
                return read.map(Some).map_err(|error| error.or_at(Place::Value(node)));
            }
        }
        Ok(None)
    }
    fn size_hint(&self) -> Option<usize> {
        // Bounded, since a visitor may allocate so much at once.
        Some(self.items.len().min(4096))
    }
}

/// What [`Members`] gives next.
enum Next<'a> {
    Nothing,
    Entry(&'a Entry),
    Hole(&'static str, usize),
}

struct Members<'a, 'c> {
    node: &'a Node,
    early: Option<&'a Entry>,
    first: Option<&'a Entry>,
    entries: std::slice::Iter<'a, Entry>,
    holes: std::vec::IntoIter<(&'static str, usize)>,
    next: Next<'a>,
    context: &'c Context,
}

impl<'a> Members<'a, '_> {
    fn next_entry(&mut self) -> Option<&'a Entry> {
        loop {
            let entry = match self.early.take() {
                Some(entry) => entry,
                None => loop {
                    let entry = self.entries.next()?;
                    if !self.first.is_some_and(|first| std::ptr::eq(first, entry)) {
                        break entry;
                    }
                },
            };
            if !self.context.skipped.borrow().contains(&(&entry.value as *const Node)) {
                return Some(entry);
            }
        }
    }
}

impl<'a> MapAccess<'a> for Members<'a, '_> {
    type Error = Error<'a>;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error<'a>> {
        if let Some(entry) = self.next_entry() {
            self.next = Next::Entry(entry);
            let key = serde::de::value::BorrowedStrDeserializer::new(&entry.key);
            return seed
                .deserialize(key)
                .map(Some)
                .map_err(|error: Error<'a>| error.or_at(Place::Key(entry)));
        }
        let Some((field, candidate)) = self.holes.next() else {
            return Ok(None);
        };
        self.next = Next::Hole(field, candidate);
        let read = seed.deserialize(field.into_deserializer() as StrDeserializer<'_, Error<'a>>);
        read.map(Some)
            .map_err(|error| error.or_at(Place::Hole(self.node, field)))
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Error<'a>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Entry(entry) => {
                let read = seed.deserialize(Reader {
                    node: &entry.value,
                    context: self.context,
                });
                read.map_err(|error| error.or_at(Place::Value(&entry.value)))
            }
            Next::Hole(field, candidate) => seed
                .deserialize(Hole::new(candidate))
                .map_err(|error: Error<'a>| error.or_at(Place::Hole(self.node, field))),
            Next::Nothing => Err(Error::custom("a value was asked for without its key")),
        }
    }
}
