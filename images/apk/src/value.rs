//! The tree of values that a file's first block holds.
//!
//! Owns: its bytes, both ways. Equal values are written once and shared, as apk-tools does.
//! Never: knows what a field means; [`crate::info`] and its neighbours do.

use std::collections::HashMap;

use crate::ApkError;

/// Most that a tree may unfold to, in values. Shared values count each time that they are met: a small file could
/// otherwise name the same array a thousand times over at each of a thousand levels.
const MOST_VALUES: usize = 4_000_000;
/// Most levels of a tree. A package has seven.
const MOST_LEVELS: usize = 16;
/// Largest place or direct number that a value word holds.
const REST: u32 = 0x0fff_ffff;
/// Size of what stands before the first value.
const HEAD: usize = 8;

const INT: u32 = 0x1;
const INT_32: u32 = 0x2;
const INT_64: u32 = 0x3;
const BLOB_8: u32 = 0x8;
const BLOB_16: u32 = 0x9;
const BLOB_32: u32 = 0xa;
const ARRAY: u32 = 0xd;
const OBJECT: u32 = 0xe;

/// One value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing, which is also what a field that is not there reads as.
    #[default]
    Null,
    /// A number.
    Int(u64),
    /// Bytes, never empty: no bytes are [`Value::Null`].
    Blob(Vec<u8>),
    /// Bytes that are not shared with equal ones, so that they can be filled in later.
    Own(Vec<u8>),
    /// Values of one kind, never empty.
    Array(Vec<Value>),
    /// Fields, the first of them number 1; never empty, and the last is not [`Value::Null`].
    Object(Vec<Value>),
}

impl Value {
    /// Text, or nothing where it is empty.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::bytes(text.as_bytes())
    }

    /// Bytes, or nothing where there are none.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            Self::Null
        } else {
            Self::Blob(bytes.to_vec())
        }
    }

    /// A number, or nothing for none.
    #[must_use]
    pub fn number(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::Int)
    }

    /// An array of what is not [`Value::Null`]; nothing where that is nothing.
    #[must_use]
    pub fn array(items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<_> = items.into_iter().filter(|v| *v != Self::Null).collect();
        if items.is_empty() {
            Self::Null
        } else {
            Self::Array(items)
        }
    }

    /// An object without empty fields at its end; nothing where all are empty.
    #[must_use]
    pub fn object(mut fields: Vec<Self>) -> Self {
        while fields.last() == Some(&Self::Null) {
            fields.pop();
        }
        if fields.is_empty() {
            Self::Null
        } else {
            Self::Object(fields)
        }
    }

    /// Field `number` of an object, from 1.
    #[must_use]
    pub fn field(&self, number: usize) -> &Self {
        match self {
            Self::Object(fields) => number.checked_sub(1).and_then(|n| fields.get(n)).unwrap_or(&Self::Null),
            _ => &Self::Null,
        }
    }

    /// The items of an array; none of anything that is no list. apk-tools' own `mkpkg` and `mkndx` mark the arrays of
    /// directories, files and packages as objects, so that both marks must be read.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Object(items) => items,
            _ => &[],
        }
    }

    /// The bytes; none of anything else.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Blob(bytes) | Self::Own(bytes) => bytes,
            _ => &[],
        }
    }

    /// The number, where it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<u64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, empty where there is none.
    ///
    /// # Errors
    /// [`ApkError::Damaged`] where the bytes are no UTF-8.
    pub fn as_text(&self, part: &'static str) -> Result<String, ApkError> {
        String::from_utf8(self.as_bytes().to_vec()).map_err(|_| ApkError::damaged(part, "is not UTF-8, expected text"))
    }
}

/// The bytes of a tree, and where its one [`Value::Own`] lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The first of the own value's bytes.
    pub own: Option<usize>,
}

/// The bytes of the tree with this root.
///
/// # Errors
/// [`ApkError::TooLarge`] where it outgrows the 28 bits of a place.
pub fn encode(root: &Value) -> Result<Encoded, ApkError> {
    let mut writer = Writer {
        bytes: vec![0; HEAD],
        known: HashMap::new(),
        own: None,
    };
    let word = writer.value(root)?;
    writer.bytes[4..HEAD].copy_from_slice(&word.to_le_bytes());
    Ok(Encoded {
        bytes: writer.bytes,
        own: writer.own,
    })
}

struct Writer {
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
    own: Option<usize>,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<u32, ApkError> {
        match value {
            Value::Null => Ok(0),
            Value::Int(n) => match u32::try_from(*n) {
                Ok(n) if n <= REST => Ok(INT << 28 | n),
                Ok(n) => Ok(INT_32 << 28 | self.shared(n.to_le_bytes().to_vec(), 4)?),
                Err(_) => Ok(INT_64 << 28 | self.shared(n.to_le_bytes().to_vec(), 4)?),
            },
            Value::Blob(bytes) => {
                let (kind, length) = length_of(bytes)?;
                let align = length.len();
                Ok(kind << 28 | self.shared([length, bytes.clone()].concat(), align)?)
            }
            Value::Own(bytes) => {
                let (kind, length) = length_of(bytes)?;
                let align = length.len();
                let place = self.place([length, bytes.clone()].concat(), align)?;
                self.own = Some(place as usize + align);
                Ok(kind << 28 | place)
            }
            Value::Array(items) => self.values(ARRAY, items),
            Value::Object(fields) => self.values(OBJECT, fields),
        }
    }

    fn values(&mut self, kind: u32, values: &[Value]) -> Result<u32, ApkError> {
        let count = u32::try_from(values.len() + 1).unwrap_or(u32::MAX);
        let mut words = count.to_le_bytes().to_vec();
        for value in values {
            words.extend(self.value(value)?.to_le_bytes());
        }
        Ok(kind << 28 | self.shared(words, 4)?)
    }

    fn shared(&mut self, bytes: Vec<u8>, align: usize) -> Result<u32, ApkError> {
        match self.known.get(&bytes) {
            Some(place) if (*place as usize).is_multiple_of(align) => Ok(*place),
            _ => {
                let place = self.place(bytes.clone(), align)?;
                self.known.insert(bytes, place);
                Ok(place)
            }
        }
    }

    fn place(&mut self, bytes: Vec<u8>, align: usize) -> Result<u32, ApkError> {
        self.bytes.resize(self.bytes.len().next_multiple_of(align), 0);
        let too_large = ApkError::TooLarge {
            what: "tree of a package",
            limit: u64::from(REST),
        };
        let place = u32::try_from(self.bytes.len()).ok().filter(|p| *p <= REST);
        self.bytes.extend(bytes);
        place.ok_or(too_large)
    }
}

fn length_of(bytes: &[u8]) -> Result<(u32, Vec<u8>), ApkError> {
    let length = bytes.len();
    if let Ok(short) = u8::try_from(length) {
        Ok((BLOB_8, vec![short]))
    } else if let Ok(middle) = u16::try_from(length) {
        Ok((BLOB_16, middle.to_le_bytes().to_vec()))
    } else if let Ok(long) = u32::try_from(length) {
        Ok((BLOB_32, long.to_le_bytes().to_vec()))
    } else {
        Err(ApkError::TooLarge {
            what: "value of a package",
            limit: u64::from(u32::MAX),
        })
    }
}

/// The tree that these bytes hold.
///
/// # Errors
/// [`ApkError::Damaged`] for a value outside the bytes or of an unknown kind, a compatibility number other than 0, or a tree
/// deeper than 16 levels; [`ApkError::TooLarge`] where it unfolds to more than four million values, or to more bytes
/// than sixteen times its own.
pub fn decode(bytes: &[u8]) -> Result<Value, ApkError> {
    let mut reader = Reader {
        bytes,
        values: MOST_VALUES,
        unfolded: bytes.len().saturating_mul(16),
    };
    match bytes.first() {
        Some(0) => {}
        Some(other) => {
            let problem = format!("needs a reader of generation {other}, this one knows 0");
            return Err(ApkError::damaged("tree", problem));
        }
        None => return Err(ApkError::damaged("tree", "is empty")),
    }
    let root = reader.word(4)?;
    reader.value(root, 0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    values: usize,
    unfolded: usize,
}

impl Reader<'_> {
    fn value(&mut self, word: u32, level: usize) -> Result<Value, ApkError> {
        self.values = self.values.checked_sub(1).ok_or(ApkError::TooLarge {
            what: "values in a tree",
            limit: MOST_VALUES as u64,
        })?;
        let place = (word & REST) as usize;
        match word >> 28 {
            0 => Ok(Value::number((place != 0).then_some(u64::from(place == 1)))),
            INT => Ok(Value::Int(place as u64)),
            INT_32 => Ok(Value::Int(u64::from(self.word(place)?))),
            INT_64 => {
                let (low, high) = (self.word(place)?, self.word(place + 4)?);
                Ok(Value::Int(u64::from(high) << 32 | u64::from(low)))
            }
            BLOB_8 => self.blob(place, 1),
            BLOB_16 => self.blob(place, 2),
            BLOB_32 => self.blob(place, 4),
            kind @ (ARRAY | OBJECT) => {
                if level == MOST_LEVELS {
                    return Err(ApkError::damaged(
                        "tree",
                        format!("is deeper than {MOST_LEVELS} levels"),
                    ));
                }
                let count = self.word(place)? as usize;
                if count == 0 || count > self.bytes.len() / 4 {
                    let problem = format!("{count} values at {place}, expected 1 to {}", self.bytes.len() / 4);
                    return Err(ApkError::damaged("tree", problem));
                }
                let mut values = Vec::new();
                for number in 1..count {
                    let word = self.word(place + 4 * number)?;
                    values.push(self.value(word, level + 1)?);
                }
                Ok(if kind == ARRAY {
                    Value::Array(values)
                } else {
                    Value::Object(values)
                })
            }
            kind => Err(ApkError::damaged("tree", format!("value of the unknown kind {kind:x}"))),
        }
    }

    fn blob(&mut self, place: usize, width: usize) -> Result<Value, ApkError> {
        let mut length = [0; 4];
        length[..width].copy_from_slice(self.slice(place, width)?);
        let length = u32::from_le_bytes(length) as usize;
        self.unfolded = self.unfolded.checked_sub(length).ok_or(ApkError::TooLarge {
            what: "bytes that a tree unfolds to",
            limit: self.bytes.len() as u64 * 16,
        })?;
        Ok(Value::bytes(self.slice(place + width, length)?))
    }

    fn word(&self, place: usize) -> Result<u32, ApkError> {
        let mut word = [0; 4];
        word.copy_from_slice(self.slice(place, 4)?);
        Ok(u32::from_le_bytes(word))
    }

    fn slice(&self, place: usize, length: usize) -> Result<&[u8], ApkError> {
        place
            .checked_add(length)
            .and_then(|end| self.bytes.get(place..end))
            .ok_or_else(|| {
                let size = self.bytes.len();
                ApkError::damaged("tree", format!("{length} bytes at {place} are not in its {size} bytes"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(Value::Int),
            (0..0x1000_0002u64).prop_map(Value::Int),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|b| Value::bytes(&b)),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::array),
                prop::collection::vec(inner, 0..6).prop_map(Value::object),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in any_value()) {
            prop_assert_eq!(decode(&encode(&value).expect("small").bytes), Ok(value));
        }

        #[test]
        fn junk_is_read_or_refused_and_nothing_else(mut junk in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = junk.first_mut() {
                *first = 0;
            }
            let _ = decode(&junk);
        }
    }

    #[test]
    fn equal_values_are_written_once() {
        let twice = Value::array([Value::text("same"), Value::text("same")]);
        let once = Value::array([Value::text("same"), Value::Int(1)]);
        assert_eq!(
            encode(&twice).expect("tree").bytes.len(),
            encode(&once).expect("tree").bytes.len()
        );
    }

    #[test]
    fn an_own_value_is_shared_with_no_other() {
        let value = Value::Object(vec![Value::Blob(vec![0; 20]), Value::Own(vec![0; 20])]);
        let mut tree = encode(&value).expect("tree");
        let own = tree.own.expect("a place");
        tree.bytes[own] = 7;
        let read = decode(&tree.bytes).expect("read");
        assert_eq!((read.field(1).as_bytes()[0], read.field(2).as_bytes()[0]), (0, 7));
    }

    #[test]
    fn a_tree_that_names_itself_over_and_over_is_refused() {
        // Sixteen arrays, each of 64 times the one below: 64^16 values in 4 kB.
        let mut bytes = vec![0; HEAD];
        let mut word = INT << 28;
        for _ in 0..15 {
            let place = u32::try_from(bytes.len()).expect("small");
            bytes.extend(65u32.to_le_bytes());
            (0..64).for_each(|_| bytes.extend(word.to_le_bytes()));
            word = ARRAY << 28 | place;
        }
        bytes[4..8].copy_from_slice(&word.to_le_bytes());
        assert!(matches!(decode(&bytes), Err(ApkError::TooLarge { .. })));
        // And one that holds itself.
        let place = u32::try_from(HEAD).expect("small");
        let circle = [
            vec![0; 4],
            (ARRAY << 28 | place).to_le_bytes().to_vec(),
            2u32.to_le_bytes().to_vec(),
        ]
        .concat();
        let circle = [circle, (ARRAY << 28 | place).to_le_bytes().to_vec()].concat();
        assert!(matches!(decode(&circle), Err(ApkError::Damaged { .. })));
    }
}
