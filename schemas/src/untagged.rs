//! Readers for the few values that may take more than one JSON shape, without serde's buffering, which would lose the
//! place of an error.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads a text as `text(A)` and a table as `table(B)`.
pub(crate) fn text_or_table<'de, D, A, B, T>(
    d: D,
    expected: &'static str,
    text: fn(A) -> T,
    table: fn(B) -> T,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    A: DeserializeOwned,
    B: DeserializeOwned,
{
    d.deserialize_any(Shapes {
        expected,
        text,
        table,
        list: None::<fn(Vec<String>) -> T>,
        of: PhantomData,
    })
}

/// The same, and a list of texts as `list`.
pub(crate) fn text_list_or_table<'de, D, A, B, T>(
    d: D,
    expected: &'static str,
    text: fn(A) -> T,
    list: fn(Vec<String>) -> T,
    table: fn(B) -> T,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    A: DeserializeOwned,
    B: DeserializeOwned,
{
    d.deserialize_any(Shapes {
        expected,
        text,
        table,
        list: Some(list),
        of: PhantomData,
    })
}

struct Shapes<A, B, T> {
    expected: &'static str,
    text: fn(A) -> T,
    table: fn(B) -> T,
    list: Option<fn(Vec<String>) -> T>,
    of: PhantomData<T>,
}

impl<'de, A: DeserializeOwned, B: DeserializeOwned, T> Visitor<'de> for Shapes<A, B, T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<T, E> {
        A::deserialize(StrDeserializer::new(v)).map(self.text)
    }
    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<T, S::Error> {
        match self.list {
            Some(list) => Vec::<String>::deserialize(SeqAccessDeserializer::new(seq)).map(list),
            None => Err(Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
    }
    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
        B::deserialize(MapAccessDeserializer::new(map)).map(self.table)
    }
}
