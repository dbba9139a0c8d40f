//! The committed corpus, and mutations of it: the types that devices read by and the published JSON Schemas agree.
//!
//! `accept/KIND/…` both take; `reject/KIND/…` both refuse; `reject/parse/…` no reader takes (a JSON Schema never sees such
//! bytes); `reject/beyond/KIND/…` holds rules that JSON Schema cannot say, refused by the types alone.
#![cfg(feature = "json-schema")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jos_schemas::catalogue::{Document, catalogue, detect, find};
use jos_schemas::{Format, Node, read};
use jsonschema::Validator;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    all.sort();
    all
}

struct Both(BTreeMap<&'static str, (Document, Validator)>);

impl Both {
    fn new() -> Self {
        let of = |d: Document| {
            (
                d.name,
                (
                    d,
                    jsonschema::draft202012::new(&(d.schema)(&d)).expect("a valid schema"),
                ),
            )
        };
        Self(catalogue().into_iter().map(of).collect())
    }

    /// What the types say, and what the schema says.
    fn verdicts(&self, kind: &str, name: &str, text: &str, node: &Node) -> (Result<(), String>, Result<(), String>) {
        let (document, schema) = self.0.get(kind).unwrap_or_else(|| panic!("{kind} is no document"));
        let types = (document.check)(name, text, node).map_err(|report| report.to_string());
        (
            types,
            schema
                .validate(&node.to_json())
                .map_err(|error| format!("{}: {error}", error.instance_path())),
        )
    }
}

fn each(folder: &str, mut check: impl FnMut(&str, &str, &str, &Node)) -> usize {
    let mut count = 0;
    for kind in files(&fixtures().join(folder)) {
        let name = kind.file_name().expect("a name").to_string_lossy().into_owned();
        if ["parse", "beyond"].contains(&name.as_str()) {
            continue;
        }
        for path in files(&kind) {
            let shown = path.strip_prefix(fixtures()).expect("below").display().to_string();
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{shown}: {e}"));
            let node = read::parse(&shown, text.as_bytes(), Format::of_path(&path)).unwrap_or_else(|e| panic!("{e}"));
            check(&name, &shown, &text, &node);
            count += 1;
        }
    }
    count
}

#[test]
fn both_take_every_accepted_fixture_and_it_is_told_by_its_content() {
    let both = Both::new();
    let mut kinds = std::collections::BTreeSet::new();
    each("accept", |kind, shown, text, node| {
        let (types, schema) = both.verdicts(kind, shown, text, node);
        types.unwrap_or_else(|e| panic!("the types refuse {e}"));
        schema.unwrap_or_else(|e| panic!("the schema refuses {shown}: {e}"));
        assert_eq!(detect(node).map(|d| d.name), Some(kind), "{shown}");
        kinds.insert(kind.to_owned());
    });
    let all: std::collections::BTreeSet<String> = catalogue().iter().map(|d| d.name.to_owned()).collect();
    assert_eq!(kinds, all, "each document has an accepted fixture");
}

#[test]
fn both_refuse_every_rejected_fixture_with_its_place() {
    let both = Both::new();
    let mut wrong = Vec::new();
    let count = each("reject", |kind, shown, text, node| {
        let (types, schema) = both.verdicts(kind, shown, text, node);
        match types {
            Ok(()) => wrong.push(format!("the types take {shown}")),
            Err(report) if !report.contains(&format!("{shown}:")) => wrong.push(format!("no place: {report}")),
            Err(_) => {}
        }
        if schema.is_ok() {
            wrong.push(format!("the schema takes {shown}"));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "{count} rejected fixtures");
}

#[test]
fn rules_that_a_schema_cannot_say_are_held_by_the_types() {
    let both = Both::new();
    each("reject/beyond", |kind, shown, text, node| {
        let (types, schema) = both.verdicts(kind, shown, text, node);
        assert!(types.is_err(), "the types take {shown}");
        assert!(schema.is_ok(), "{shown} belongs into reject/{kind}");
    });
}

#[test]
fn what_is_not_strict_json_or_toml_is_refused_before_any_type_is_looked_at() {
    for path in files(&fixtures().join("reject/parse")) {
        let shown = path.file_name().expect("a name").to_string_lossy().into_owned();
        let report =
            read::parse(&shown, &fs::read(&path).expect("readable"), Format::of_path(&path)).expect_err(&shown);
        assert!(report.issues[0].line > 0, "{report}");
    }
}

/// Values that a field's own value is replaced by, one at a time.
fn replacements() -> Vec<Value> {
    let long = "a".repeat(300);
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(64),
        json!(65),
        json!(100),
        json!(101),
        json!(86_400),
        json!(86_401),
        json!(65_535),
        json!(65_536),
        json!(4_294_967_295_u64),
        json!(4_294_967_296_u64),
        json!(9_007_199_254_740_991_u64),
        json!(""),
        json!(" "),
        json!("a"),
        json!("A"),
        json!("-a"),
        json!("a-"),
        json!("_a"),
        json!("a:b"),
        json!("a.b"),
        json!("a/b"),
        json!("/a"),
        json!("/a/"),
        json!("/a/../b"),
        json!("..."),
        json!("a\nb"),
        json!("a\n"),
        json!("\u{0}"),
        json!("\u{1f}"),
        json!("\u{7f}"),
        json!("é"),
        json!("0644"),
        json!("0844"),
        json!("1.0.0"),
        json!("1.0.0-a.01"),
        json!("1.0.0+b"),
        json!("2027-02-30T00:00:00Z"),
        json!("2027-02-30T24:00:00Z"),
        json!("http://x"),
        json!("https://x/y?z#w"),
        json!("https://"),
        json!("http://[::1]:80/"),
        json!("* * * * *"),
        json!("*/5 1-3,4 1 12 7"),
        json!("0 0 32 1 0"),
        json!("60 0 1 1 0"),
        json!("{int}"),
        json!("{x}"),
        json!("a{"),
        json!("}"),
        json!(long),
        json!([]),
        json!(["a"]),
        json!(["/a"]),
        json!([1]),
        json!([[]]),
        json!({}),
        json!({"a": "b"}),
        json!({"secret": "a"}),
    ]
}

/// Every pointer into a value.
fn pointers(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, item)| pointers(item, format!("{at}/{i}"), out)),
        Value::Object(map) => map
            .iter()
            .for_each(|(key, item)| pointers(item, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out)),
        _ => {}
    }
    out.push(at);
}

#[test]
fn types_and_schemas_agree_on_every_mutation_of_every_accepted_fixture() {
    let both = Both::new();
    let mut wrong = Vec::new();
    let mut judge = |kind: &str, shown: &str, what: String, value: &Value| {
        let (types, schema) = both.verdicts(kind, "mutant", "", &Node::from_json(value));
        if types.is_ok() != schema.is_ok() && wrong.len() < 40 {
            wrong.push(format!("{shown}: {what}: types {types:?}, schema {schema:?}"));
        }
    };
    each("accept", |kind, shown, _, node| {
        let value = node.to_json();
        let mut all = Vec::new();
        pointers(&value, String::new(), &mut all);
        for pointer in all {
            for replacement in replacements() {
                let mut mutant = value.clone();
                *mutant.pointer_mut(&pointer).expect("a pointer into it") = replacement.clone();
                judge(kind, shown, format!("{pointer} = {replacement}"), &mutant);
            }
            let mut mutant = value.clone();
            if let Some(Value::Object(map)) = mutant.pointer_mut(&pointer) {
                map.insert("unheard_of".into(), json!(1));
                judge(kind, shown, format!("{pointer} + unheard_of"), &mutant);
            }
            let keys: Vec<String> = match value.pointer(&pointer) {
                Some(Value::Object(map)) => map.keys().cloned().collect(),
                _ => Vec::new(),
            };
            for key in keys {
                let mut mutant = value.clone();
                if let Some(Value::Object(map)) = mutant.pointer_mut(&pointer) {
                    map.remove(&key);
                }
                judge(kind, shown, format!("{pointer} - {key}"), &mutant);
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_catalogue_finds_documents_and_suggests_the_nearest() {
    assert_eq!(find("desired-state").map(|d| d.name).ok(), Some("desired-state"));
    assert_eq!(find("jos.trust").map(|d| d.name).ok(), Some("trust"));
    assert_eq!(find("polcy").map(|d| d.name), Err(Some("policy")));
}
