//! The canonical form of a record: RFC 8785 as it stands, numbers with a fraction included.
//!
//! Owns both directions: writing a value canonically, and telling in one pass over the bytes whether they are the
//! canonical bytes of some value. The second makes no tree: it is what reading a ledger costs beside its SHA-256. What
//! is signed has a stricter form (`jos_trust::canonical`), of which this is a superset.

use serde_json::{Map, Value};

use super::scan::plain_end;

/// Deeper values have no canonical bytes here; every reader of JSON that is used stops later.
const MAX_DEPTH: usize = 96;
/// The largest integer that every reader holds exactly: 2^53−1.
const MAX_INT: u64 = 9_007_199_254_740_991;
/// An integer of so few digits is in range whatever the digits are.
const SAFE_DIGITS: usize = 15;

/// Appends the canonical bytes of `value`, or says why there are none.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    write_at(value, out, 0)
}

fn write_at(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "found more than {MAX_DEPTH} lists and tables within each other"
        ));
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let text = match (number.as_i64(), number.as_u64()) {
                (Some(n), _) if n.unsigned_abs() <= MAX_INT => n.to_string(),
                (None, None) => float(number.as_f64().unwrap_or(f64::NAN)).ok_or("found no finite number")?,
                _ => return Err(format!("found {number}, expected an integer within ±(2^53−1)")),
            };
            out.extend_from_slice(text.as_bytes());
        }
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_at(item, out, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(map) => object(map, out, depth)?,
    }
    Ok(())
}

/// RFC 8785 §3.2.3: members in the order of their keys' UTF-16 code units.
fn object(map: &Map<String, Value>, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    members.sort_by(|a, b| utf16_order(a.0, b.0));
    out.push(b'{');
    for (at, (key, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(key, out);
        out.push(b':');
        write_at(value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn utf16_order(a: &str, b: &str) -> std::cmp::Ordering {
    if a.is_ascii() && b.is_ascii() {
        a.cmp(b)
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

/// RFC 8785 §3.2.2.2: the shortest escapes, and only where JSON needs one.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x00..=0x1f => match short_escape(byte) {
                Some(letter) => out.extend_from_slice(&[b'\\', letter]),
                None => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            },
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The letter of a control character that has a short escape.
fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => return None,
    })
}

/// A number as ECMAScript writes it (ECMA-262 §6.1.6.1.20, RFC 8785 §3.2.2.3). `None` for what is not finite.
fn float(n: f64) -> Option<String> {
    if !n.is_finite() {
        return None;
    }
    if n == 0.0 {
        return Some("0".into());
    }
    // The shortest digits that read back as the same number, as "d.ddde±x". Of several that are as short ECMAScript wants
    // the closest, and of two the even one: that is rounding to so many digits.
    let shortest = format!("{:e}", n.abs());
    let places = shortest.find('e')?.saturating_sub(2);
    let rounded = format!("{:.places$e}", n.abs());
    let text = if rounded.parse() == Ok(n.abs()) {
        rounded
    } else {
        shortest
    };
    let (mantissa, exponent) = text.split_once('e')?;
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let (k, point) = (i32::try_from(digits.len()).ok()?, exponent.parse::<i32>().ok()? + 1);
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or(0));
    let shown = if k <= point && point <= 21 {
        format!("{digits}{}", zeros(point - k))
    } else if 0 < point && point <= 21 {
        let (whole, rest) = split(point);
        format!("{whole}.{rest}")
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", zeros(-point))
    } else {
        let (first, rest) = split(1);
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!(".{rest}")
        };
        format!("{first}{rest}e{:+}", point - 1)
    };
    Some(if n < 0.0 { format!("-{shown}") } else { shown })
}

/// The end of the canonical value that starts at `at`, or `None` where there is none. The bytes are valid UTF-8.
pub(super) fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    Reader { bytes, at }.value(0)
}

/// One pass over canonical bytes. Every function gives the place behind what it read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What stands between the quotes of a string, escapes and all.
#[derive(Clone, Copy)]
struct Quoted<'a> {
    bytes: &'a [u8],
    /// ASCII without escapes: such keys are in the order of their bytes.
    simple: bool,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn literal(&mut self, text: &[u8]) -> Option<usize> {
        self.bytes[self.at..].starts_with(text).then(|| {
            self.at += text.len();
            self.at
        })
    }

    fn value(&mut self, depth: usize) -> Option<usize> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'"' => self.string().map(|_| self.at),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<usize> {
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(self.at);
        }
        loop {
            self.value(depth + 1)?;
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b']' => return Some(self.at),
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<usize> {
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(self.at);
        }
        let mut before: Option<Quoted<'a>> = None;
        loop {
            let key = self.string()?;
            if before.is_some_and(|before| !ascends(before, key)) {
                return None;
            }
            before = Some(key);
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            self.value(depth + 1)?;
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b'}' => return Some(self.at),
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<Quoted<'a>> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let (mut at, mut simple) = plain_end(self.bytes, start)?;
        while self.bytes[at] == b'\\' {
            let behind = at + escape(&self.bytes[at + 1..])?;
            (at, simple) = (plain_end(self.bytes, behind)?.0, false);
        }
        if self.bytes[at] != b'"' {
            return None;
        }
        self.at = at + 1;
        let bytes = &self.bytes[start..at];
        Some(Quoted { bytes, simple })
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        let token = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e');
        let length = self.bytes[start..].iter().take_while(|b| token(b)).count();
        let text = &self.bytes[start..start + length];
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let plain = (1..=SAFE_DIGITS).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit)
            && (digits[0] != b'0' || text == b"0");
        if !plain {
            let text = std::str::from_utf8(text).ok()?;
            if float(text.parse().ok()?)? != text {
                return None;
            }
        }
        self.at += length;
        Some(self.at)
    }
}

/// Length of the escape behind a backslash, the backslash counted; only the spellings that [`string`] writes.
fn escape(rest: &[u8]) -> Option<usize> {
    match rest.first()? {
        b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r' => Some(2),
        b'u' => {
            let hex = rest.get(1..5)?;
            let byte = u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
            let written = byte < 0x20 && short_escape(byte).is_none() && format!("{byte:04x}").as_bytes() == hex;
            written.then_some(6)
        }
        _ => None,
    }
}

/// Whether `next` comes behind `before`.
fn ascends(before: Quoted<'_>, next: Quoted<'_>) -> bool {
    if before.simple && next.simple {
        return before.bytes < next.bytes;
    }
    let plain = |key: Quoted<'_>| serde_json::from_slice::<String>(&[b"\"", key.bytes, b"\""].concat()).ok();
    match (plain(before), plain(next)) {
        (Some(before), Some(next)) => utf16_order(&before, &next).is_lt(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn canonical(value: &Value) -> String {
        let mut out = Vec::new();
        write(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn reads(text: &str) -> bool {
        value_end(text.as_bytes(), 0) == Some(text.len())
    }

    #[test]
    fn numbers_are_written_as_the_rfc_lists_them() {
        // RFC 8785, appendix B.
        for (bits, text) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let n = f64::from_bits(bits);
            assert_eq!(float(n).unwrap(), text);
            assert!(reads(text), "{text}");
        }
        assert_eq!((float(f64::NAN), float(f64::INFINITY)), (None, None));
    }

    #[test]
    fn only_one_spelling_is_read() {
        for good in [
            "{}",
            "[]",
            "-1",
            "1.5",
            "9007199254740991",
            r#"{"a":1,"b":[true,null,"\u001f\n\"\\é"]}"#,
            "{\"\\r\":1,\"1\":1,\"\u{80}\":1,\"ö\":1,\"\u{20ac}\":1,\"\u{1f600}\":1,\"\u{fb33}\":1}",
        ] {
            assert!(reads(good), "{good}");
        }
        for bad in [
            "",
            " 1",
            "01",
            "-0",
            "1.0",
            "1e3",
            "+1",
            "9007199254740993",
            "1e999",
            "nul",
            "\"\t\"",
            r#""\u0041""#,
            r#""\u000A""#,
            r#""\u000a""#,
            r#""\/""#,
            "\"open",
            r#"{"b":1,"a":1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,}"#,
            "[1,]",
            "[1 ]",
            "{\"\u{fb33}\":1,\"\u{1f600}\":1}",
        ] {
            assert!(!reads(bad), "{bad}");
        }
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(reads(&deep(MAX_DEPTH)) && !reads(&deep(MAX_DEPTH + 2)) && !reads(&"[".repeat(100_000)));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            any::<f64>().prop_map(|n| json!(n)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().rev().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(8), ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_and_nothing_near_it(value in values(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let text = canonical(&value);
            prop_assert!(reads(&text), "{}", text);
            let mut near = text.into_bytes();
            let at = at.index(near.len());
            near[at] = byte;
            if let Ok(near) = String::from_utf8(near) && reads(&near) {
                // Another value, then, whose own canonical bytes these are.
                let other: Value = serde_json::from_str(&near).unwrap();
                let mut again = Vec::new();
                // A float that the reader of JSON rounded on its own is not held against the form.
                if write(&other, &mut again).is_ok() && !near.contains(['.', 'e']) {
                    prop_assert_eq!(String::from_utf8(again).unwrap(), near);
                }
            }
        }

        #[test]
        fn a_value_without_fractions_has_the_bytes_that_are_signed(value in values()) {
            let node = jos_schemas::node::Node::from_json(&value);
            if let Ok(signed) = jos_trust::canonical::to_bytes(&node) {
                prop_assert_eq!(canonical(&value).into_bytes(), signed);
            }
        }
    }
}
