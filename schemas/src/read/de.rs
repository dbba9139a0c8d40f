//! A serde deserializer over a located tree, whose errors know the node they are about.
//!
//! Some members can be passed over and some made up (see [`super::hole`]), so that [`super::collect`] can go on after an
//! error and find the next one. Every type that jos reads is compiled for this reader and, where it can be helped, for no
//! other: that is most of what reading costs in the program of a device. For the same reason each question asks its
//! visitor only for what can answer it, and whatever does not depend on the type stands in a function of its own.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::hole::made_up;
use super::wrong::{Error, Place};
use crate::node::{Entry, Kind, Node};

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
    /// Which text a value is made up of.
    candidate: Cell<usize>,
    null_is_absent: Cell<bool>,
    /// What jos wrote for itself may hold what documents may not: `null`, and variants with content.
    own: bool,
}

impl Context {
    /// For what jos wrote for itself.
    pub(super) fn own() -> Self {
        Self {
            null_is_absent: Cell::new(true),
            own: true,
            ..Self::default()
        }
    }

    fn passed_over(&self, node: &Node) -> bool {
        self.skipped.borrow().contains(&(node as *const Node))
    }
}

/// Reads one node, or makes up what it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a, 'c> {
    /// None for a value that is made up. Two words, so that a reader is passed in registers.
    node: Option<&'a Node>,
    context: &'c Context,
}

impl<'a, 'c> Reader<'a, 'c> {
    pub(super) fn new(node: &'a Node, context: &'c Context) -> Self {
        Self {
            node: Some(node),
            context,
        }
    }

    /// What stands there is not what the type wants.
    #[inline(never)]
    fn unfit(self, expected: &dyn Expected) -> Error<'a> {
        let found = match self.node {
            None => Unexpected::Str(self.made_up()),
            Some(node) => match &node.kind {
                Kind::Null => Unexpected::Unit,
                Kind::Bool(b) => Unexpected::Bool(*b),
                Kind::Int(n) => u64::try_from(*n).map_or(Unexpected::Signed(*n), Unexpected::Unsigned),
                Kind::Float(n) => Unexpected::Float(*n),
                Kind::String(text) => Unexpected::Str(text),
                Kind::Array(_) => Unexpected::Seq,
                Kind::Object(_) => Unexpected::Map,
            },
        };
        Error::invalid_type(found, expected)
    }

    fn made_up(self) -> &'static str {
        made_up(self.context.candidate.get())
    }

    fn text(self) -> Option<&'a str> {
        self.node.map_or_else(|| Some(self.made_up()), Node::as_str)
    }

    fn bool(self) -> Option<bool> {
        match self.node {
            None => Some(false),
            Some(node) => match node.kind {
                Kind::Bool(b) => Some(b),
                _ => None,
            },
        }
    }

    fn int(self) -> Option<i64> {
        match self.node {
            None => Some(1),
            Some(node) => match node.kind {
                Kind::Int(n) => Some(n),
                _ => None,
            },
        }
    }

    fn integer<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        match self.int() {
            Some(n) => match u64::try_from(n) {
                Ok(n) => visitor.visit_u64(n),
                Err(_) => visitor.visit_i64(n),
            },
            None => Err(self.unfit(&visitor)),
        }
    }

    fn items(self) -> Option<Items<'a, 'c>> {
        let items = match self.node {
            None => [].iter(),
            Some(node) => match &node.kind {
                Kind::Array(items) => items.iter(),
                _ => return None,
            },
        };
        Some(Items {
            items,
            context: self.context,
        })
    }

    /// The members of a table, that of the name `first` before all others. `fields` are those to make up for a hole.
    #[inline(never)]
    fn members(self, first: Option<&str>, fields: &'static [&'static str]) -> Option<Members<'a, 'c>> {
        let (node, entries, holes) = match self.node {
            None => {
                let candidate = self.context.candidate.get();
                (
                    None,
                    [].as_slice(),
                    fields.iter().map(|field| (*field, candidate)).collect(),
                )
            }
            Some(node) => {
                let Kind::Object(entries) = &node.kind else {
                    return None;
                };
                let holes = self.context.holes.borrow();
                let holes = holes.get(&(node as *const Node)).cloned().unwrap_or_default();
                (Some(node), entries.as_slice(), holes)
            }
        };
        let first = first.and_then(|key| entries.iter().find(|entry| entry.key == key));
        Some(Members {
            node,
            early: first,
            first,
            entries: entries.iter(),
            holes: holes.into_iter(),
            next: Next::Nothing,
            context: self.context,
        })
    }

    /// Whether there is a value at all.
    #[inline(never)]
    fn present(self) -> Result<bool, Error<'a>> {
        match self.node {
            None => Ok(false),
            Some(node) => match node.kind {
                Kind::Null if self.context.null_is_absent.get() => Ok(false),
                Kind::Null => Err(Error::custom("found null, expected a value, or the field left out")),
                _ => Ok(true),
            },
        }
    }

    /// The name of a variant, with its content where it has some.
    #[inline(never)]
    fn variant(self, variants: &[&'static str]) -> Result<Variant<'a, 'c>, Error<'a>> {
        let (name, content) = match self.node {
            None => (variants.first().copied().unwrap_or_default(), Some(self)),
            Some(node) => match &node.kind {
                Kind::String(text) => (text.as_str(), None),
                Kind::Object(entries) if self.context.own && entries.len() == 1 => (
                    entries[0].key.as_str(),
                    Some(Self::new(&entries[0].value, self.context)),
                ),
                _ => return Err(Error::custom(format!("found {}, expected text", node.describe()))),
            },
        };
        Ok(Variant { name, content })
    }
}

macro_rules! integers {
    ($($deserialize:ident)+) => { $(
        fn $deserialize<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
            self.integer(visitor)
        }
    )+ };
}

impl<'a> Deserializer<'a> for Reader<'a, '_> {
    type Error = Error<'a>;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        let Some(node) = self.node else {
            return visitor.visit_borrowed_str(self.made_up());
        };
        match &node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(b) => visitor.visit_bool(*b),
            Kind::Int(_) => self.integer(visitor),
            Kind::Float(n) => visitor.visit_f64(*n),
            Kind::String(text) => visitor.visit_borrowed_str(text),
            Kind::Array(_) => self.deserialize_seq(visitor),
            Kind::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        match self.bool() {
            Some(b) => visitor.visit_bool(b),
            None => Err(self.unfit(&visitor)),
        }
    }

    integers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        match self.text() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(self.unfit(&visitor)),
        }
    }
    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        self.deserialize_str(visitor)
    }
    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        match self.present()? {
            true => visitor.visit_some(self),
            false => visitor.visit_none(),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error<'a>> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        match self.items() {
            Some(items) => visitor.visit_seq(items),
            None => Err(self.unfit(&visitor)),
        }
    }
    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Error<'a>> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error<'a>> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error<'a>> {
        match self.members(None, &[]) {
            Some(members) => visitor.visit_map(members),
            None => Err(self.unfit(&visitor)),
        }
    }

    /// Never a list of the fields in order, which serde's derive would take: no document means that.
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error<'a>> {
        if NULL_IS_ABSENT.contains(&name) {
            self.context.null_is_absent.set(true);
        }
        match self.members((name == TAGGED).then_some("type"), fields) {
            Some(members) => visitor.visit_map(members),
            None => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error<'a>> {
        visitor.visit_enum(self.variant(variants)?)
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct ignored_any
    }
}

/// A variant by its name. Documents have none with content.
struct Variant<'a, 'c> {
    name: &'a str,
    content: Option<Reader<'a, 'c>>,
}

impl<'a, 'c> Variant<'a, 'c> {
    #[inline(never)]
    fn content(self) -> Result<Reader<'a, 'c>, Error<'a>> {
        self.content
            .ok_or_else(|| Error::custom(format!("{:?} needs content", self.name)))
    }
}

impl<'a> EnumAccess<'a> for Variant<'a, '_> {
    type Error = Error<'a>;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Error<'a>> {
        let read = seed.deserialize(BorrowedStrDeserializer::new(self.name))?;
        Ok((read, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a, '_> {
    type Error = Error<'a>;
    fn unit_variant(self) -> Result<(), Error<'a>> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Error<'a>> {
        seed.deserialize(self.content()?)
    }
    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Error<'a>> {
        self.content()?.deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error<'a>> {
        self.content()?.deserialize_struct("", fields, visitor)
    }
}

struct Items<'a, 'c> {
    items: std::slice::Iter<'a, Node>,
    context: &'c Context,
}

impl<'a> Items<'a, '_> {
    #[inline(never)]
    fn advance(&mut self) -> Option<&'a Node> {
        self.items.by_ref().find(|node| !self.context.passed_over(node))
    }
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = Error<'a>;
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error<'a>> {
        let Some(node) = self.advance() else {
            return Ok(None);
        };
        match seed.deserialize(Reader::new(node, self.context)) {
            Ok(value) => Ok(Some(value)),
            Err(mut error) => {
                error.locate(Place::Value(node));
                Err(error)
            }
        }
    }
    fn size_hint(&self) -> Option<usize> {
        // Bounded, since a visitor may allocate so much at once.
        Some(self.items.len().min(4096))
    }
}

/// What [`Members`] gives next.
#[derive(Clone, Copy)]
enum Next<'a> {
    Nothing,
    Entry(&'a Entry),
    Hole(&'static str, usize),
}

struct Members<'a, 'c> {
    /// None where the whole table is made up.
    node: Option<&'a Node>,
    early: Option<&'a Entry>,
    first: Option<&'a Entry>,
    entries: std::slice::Iter<'a, Entry>,
    holes: std::vec::IntoIter<(&'static str, usize)>,
    next: Next<'a>,
    context: &'c Context,
}

impl<'a, 'c> Members<'a, 'c> {
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
            if !self.context.passed_over(&entry.value) {
                return Some(entry);
            }
        }
    }

    /// Goes on to the next member and gives its key.
    #[inline(never)]
    fn advance(&mut self) -> Option<&'a str> {
        if let Some(entry) = self.next_entry() {
            self.next = Next::Entry(entry);
            return Some(&entry.key);
        }
        let (field, candidate) = self.holes.next()?;
        self.next = Next::Hole(field, candidate);
        Some(field)
    }

    /// The value of the member.
    #[inline(never)]
    fn value(&self) -> Result<Reader<'a, 'c>, Error<'a>> {
        let node = match self.next {
            Next::Entry(entry) => Some(&entry.value),
            Next::Hole(_, candidate) => {
                self.context.candidate.set(candidate);
                None
            }
            Next::Nothing => return Err(Error::custom("a value was asked for without its key")),
        };
        Ok(Reader {
            node,
            context: self.context,
        })
    }

    /// Says of an error that it is about the member: its key, or its value.
    #[inline(never)]
    fn locate(&self, mut error: Error<'a>, key: bool) -> Error<'a> {
        match (self.next, self.node) {
            (Next::Entry(entry), _) if key => error.locate(Place::Key(entry)),
            (Next::Entry(entry), _) => error.locate(Place::Value(&entry.value)),
            (Next::Hole(field, _), Some(node)) => error.locate(Place::Hole(node, field)),
            _ => {}
        }
        error
    }
}

impl<'a> MapAccess<'a> for Members<'a, '_> {
    type Error = Error<'a>;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error<'a>> {
        let Some(key) = self.advance() else {
            return Ok(None);
        };
        match seed.deserialize(BorrowedStrDeserializer::new(key)) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(self.locate(error, true)),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Error<'a>> {
        match seed.deserialize(self.value()?) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.locate(error, false)),
        }
    }
}
