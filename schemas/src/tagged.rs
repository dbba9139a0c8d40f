//! Tables told apart by their `type`, read without serde's buffering, which loses the place of an error and lets unknown
//! fields pass.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// Which variant the value of `type` names. Errors belong to that value, not to the whole table.
pub(crate) struct Tag(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Tag {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<usize, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Tag {
    type Value = usize;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.0.join(", "))
    }
    fn visit_str<E: Error>(self, found: &str) -> Result<usize, E> {
        let at = self.0.iter().position(|name| *name == found);
        at.ok_or_else(|| E::unknown_variant(found, self.0))
    }
}

/// A key, whatever it is.
pub(crate) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        String::deserialize(d)
    }
}

/// A table whose `type` did not come first, whole: only deserializers other than our own give it so.
pub(crate) fn buffered<'de, M: MapAccess<'de>>(
    first: Option<String>,
    mut map: M,
    variants: &'static [&'static str],
) -> Result<Value, M::Error> {
    let mut members = Map::new();
    let mut tag = None;
    let mut key = first;
    while let Some(name) = key {
        if name == "type" {
            if tag.replace(map.next_value_seed(Tag(variants))?).is_some() {
                return Err(M::Error::duplicate_field("type"));
            }
        } else {
            members.insert(name, map.next_value()?);
        }
        key = map.next_key_seed(Key)?;
    }
    let tag = tag.ok_or_else(|| M::Error::missing_field("type"))?;
    members.insert("type".into(), variants[tag].into());
    Ok(Value::Object(members))
}

/// Implements `Deserialize` for an enum of newtype variants told apart by `type`.
macro_rules! tagged {
    ($enum:ident, $expected:literal, { $($tag:literal => $variant:ident($inner:ty)),+ $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $enum {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                const VARIANTS: &[&str] = &[$($tag),+];
                struct Table;
                impl<'de> serde::de::Visitor<'de> for Table {
                    type Value = $enum;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<$enum, M::Error> {
                        use serde::de::Error as _;
                        let first = map.next_key_seed($crate::tagged::Key)?;
                        if first.as_deref() == Some("type") {
                            let at = map.next_value_seed($crate::tagged::Tag(VARIANTS))?;
                            let rest = serde::de::value::MapAccessDeserializer::new(map);
                            $(if VARIANTS[at] == $tag { return <$inner as serde::Deserialize>::deserialize(rest).map($enum::$variant); })+
                            return Err(M::Error::missing_field("type"));
                        }
                        // Our own reader gives the type first, wherever it stands.
                        let whole = $crate::tagged::buffered(first, map, VARIANTS)?;
                        $crate::own::read_value(&whole).map_err(M::Error::custom)
                    }
                }
                d.deserialize_struct($crate::read::TAGGED, &["type"], Table)
            }
        }
    };
}
pub(crate) use tagged;
