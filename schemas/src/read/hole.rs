//! Values made up for a required field that is missing, so that reading goes on and finds the next error. What was made
//! up is never seen by anybody: a document with an error is not given out.

use std::marker::PhantomData;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Texts that between them satisfy the rules of [`crate::text`].
const TEXTS: [&str; 9] = [
    "a",
    "/a",
    "0644",
    "2027-01-01T00:00:00Z",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "http://a.example/",
    "https://a.example/",
    "1.0.0",
    "0 0 * * *",
];

/// How many different values [`Hole::new`] can make up.
pub(super) const CANDIDATES: usize = TEXTS.len();

/// Gives whatever it is asked for.
pub(super) struct Hole<E> {
    candidate: usize,
    error: PhantomData<E>,
}

impl<E> Hole<E> {
    pub(super) fn new(candidate: usize) -> Self {
        Self {
            candidate,
            error: PhantomData,
        }
    }
}

impl<'de, E: Error> IntoDeserializer<'de, E> for Hole<E> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de, E: Error> Deserializer<'de> for Hole<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_str(TEXTS[self.candidate % CANDIDATES])
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_bool(false)
    }
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_u64(1)
    }
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_u64(1)
    }
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_u64(1)
    }
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_u64(1)
    }
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_i64(1)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_f64(1.0)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_seq(serde::de::value::SeqDeserializer::new(std::iter::empty::<Hole<E>>()))
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, Hole<E>)>()))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        let candidate = self.candidate;
        visitor.visit_map(MapDeserializer::new(
            fields.iter().map(move |field| (*field, Hole::new(candidate))),
        ))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_enum(First {
            variant: variants.first().copied().unwrap_or_default(),
            hole: self,
        })
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The first variant of an enum.
struct First<E> {
    variant: &'static str,
    hole: Hole<E>,
}

impl<'de, E: Error> EnumAccess<'de> for First<E> {
    type Error = E;
    type Variant = Hole<E>;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Hole<E>), E> {
        let variant = self.variant.into_deserializer() as StrDeserializer<'_, E>;
        Ok((seed.deserialize(variant)?, self.hole))
    }
}

impl<'de, E: Error> VariantAccess<'de> for Hole<E> {
    type Error = E;
    fn unit_variant(self) -> Result<(), E> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, E> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, E> {
        self.deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, E> {
        self.deserialize_map(visitor)
    }
}
