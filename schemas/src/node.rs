//! A value as it stands in its source: every part knows where it was read.
//!
//! Owns the located tree that JSON and TOML are both read into. Never reads bytes itself (see [`crate::read`]) and never
//! judges what a value means.

use std::ops::Range;

use serde_json::{Map, Number, Value};

/// Where a part stands in its source: byte offsets, end exclusive. `0..0` for values that were never text.
pub type Span = Range<u32>;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The bytes it was read from.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// JSON's `null`; TOML has none.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer; read from bytes it lies within ±(2^53−1).
    Int(i64),
    /// A finite number written with a fraction or an exponent.
    Float(f64),
    /// Unicode text. TOML's dates and times arrive here.
    String(String),
    /// Values in order.
    Array(Vec<Node>),
    /// Members in source order; keys differ from each other.
    Object(Vec<Entry>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key after unescaping.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// A value that was never text.
    pub fn new(kind: Kind) -> Self {
        Self { span: 0..0, kind }
    }

    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The member `key` of an object, with its key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The members of an object, none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Object(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of an array, none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Array(items) => items,
            _ => &[],
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The node at a JSON pointer (RFC 6901), as `/spec/apply/3`.
    pub fn pointer(&self, pointer: &str) -> Option<&Node> {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            node = match &node.kind {
                Kind::Array(items) => items.get(token.parse::<usize>().ok()?)?,
                _ => node.get(&token)?,
            };
        }
        Some(node)
    }

    /// What it is, in JSON's words.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Bool(b) => format!("boolean {b}"),
            Kind::Int(n) => format!("integer {n}"),
            Kind::Float(n) => format!("number {n}"),
            Kind::String(s) => format!("text {:?}", shortened(s)),
            Kind::Array(_) => "a list".into(),
            Kind::Object(_) => "a table".into(),
        }
    }

    /// The same value without places. A float that JSON cannot hold becomes `null`.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Int(n) => Value::from(*n),
            Kind::Float(n) => Number::from_f64(*n).map_or(Value::Null, Value::Number),
            Kind::String(s) => Value::String(s.clone()),
            Kind::Array(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Object(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.insert(entry.key.clone(), entry.value.to_json());
                }
                Value::Object(map)
            }
        }
    }

    /// A tree without places. An integer that `i64` cannot hold becomes a float, which no signed document may hold.
    pub fn from_json(value: &Value) -> Self {
        Self::new(match value {
            Value::Null => Kind::Null,
            Value::Bool(b) => Kind::Bool(*b),
            Value::Number(n) => match n.as_i64() {
                Some(n) => Kind::Int(n),
                None => Kind::Float(n.as_f64().unwrap_or(f64::MAX)),
            },
            Value::String(s) => Kind::String(s.clone()),
            Value::Array(items) => Kind::Array(items.iter().map(Node::from_json).collect()),
            Value::Object(map) => Kind::Object(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_span: 0..0,
                        value: Node::from_json(value),
                    })
                    .collect(),
            ),
        })
    }
}

/// The first 60 characters, so that an error never carries a whole file.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A key as one token of a JSON pointer.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
