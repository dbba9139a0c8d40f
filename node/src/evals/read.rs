//! Cases out of `evals/`: a `jos.eval` a file, or cases as jaros has them, one or a list of them in a file.

use std::fs;
use std::path::Path;

use jos_schemas::documents::runtime::{Eval, Expect};
use jos_schemas::read::{self, Format};
use jos_schemas::text::Name;
use serde_json::Value;

use super::{Verdict, jaros};

/// Bytes of one file.
const LIMIT: u64 = 1 << 20;

/// A case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Which agent.
    pub agent: Name,
    /// The job's input.
    pub input: Value,
    pub(super) wanted: Wanted,
}

/// What must come out, in either vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// Of the job as a whole.
    Ours(Expect),
    /// Of its first decision.
    Theirs(jaros::Expect),
}

impl From<Eval> for Case {
    fn from(eval: Eval) -> Self {
        Self {
            name: eval.name.to_string(),
            agent: eval.agent,
            input: eval.input,
            wanted: Wanted::Ours(eval.expect),
        }
    }
}

/// The cases of `evals/` in the order of their files; what is no case is a verdict that failed.
pub fn load(data: &Path) -> Result<(Vec<Case>, Vec<Verdict>), String> {
    let folder = data.join("evals");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && (name.ends_with(".json") || name.ends_with(".toml"))
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut cases: Vec<Case> = Vec::new();
    let mut broken = Vec::new();
    for name in names {
        let file = format!("evals/{name}");
        for read in read(&folder.join(&name), &file) {
            let read = read.and_then(|case| {
                if cases.iter().any(|other| other.name == case.name) {
                    return Err(format!("{file}: the name {} is taken by another case", case.name));
                }
                Ok(case)
            });
            match read {
                Ok(case) => cases.push(case),
                Err(why) => broken.push(Verdict {
                    name: name.rsplit_once('.').map_or(name.clone(), |(stem, _)| stem.to_owned()),
                    agent: String::new(),
                    passed: false,
                    differs: vec![why],
                }),
            }
        }
    }
    Ok((cases, broken))
}

/// The cases of a file: each by itself, so that a bad one hurts no other.
fn read(path: &Path, file: &str) -> Vec<Result<Case, String>> {
    let read = bytes(path, file).and_then(|bytes| {
        let parsed = read::parse(file, &bytes, Format::of_path(file)).map_err(|report| report.to_string())?;
        Ok((bytes, parsed.to_json()))
    });
    match read {
        Err(why) => vec![Err(why)],
        Ok((_, Value::Array(all))) if all.is_empty() => {
            vec![Err(format!(
                "{file}: found an empty list, expected a case or a list of cases"
            ))]
        }
        Ok((_, Value::Array(all))) => {
            let numbered = all.into_iter().enumerate();
            let case = |(at, value): (usize, Value)| one(&value).map_err(|why| format!("{file}: /{at}: {why}"));
            numbered.map(case).collect()
        }
        Ok((_, value)) if jaros::is_one(&value) => vec![one(&value).map_err(|why| format!("{file}: {why}"))],
        // By the reader that names the line.
        Ok((bytes, _)) => {
            let parsed = read::document::<Eval>(file, &bytes, Format::of_path(file));
            let case = parsed.map(|parsed| parsed.value.into());
            vec![case.map_err(|report| report.to_string())]
        }
    }
}

fn one(value: &Value) -> Result<Case, String> {
    if jaros::is_one(value) {
        return jaros::case(value);
    }
    let eval = read::from_json::<Eval>(value).map_err(|e| e.to_string().trim_end().to_owned())?;
    Ok(eval.into())
}

fn bytes(path: &Path, file: &str) -> Result<Vec<u8>, String> {
    let meta = fs::symlink_metadata(path).map_err(|e| format!("{file}: {e}"))?;
    if !meta.is_file() || meta.len() > LIMIT {
        return Err(format!("{file}: expected a file of at most {LIMIT} bytes"));
    }
    fs::read(path).map_err(|e| format!("{file}: {e}"))
}
