//! What a `uci` step makes of a file.

use jos_schemas::documents::desired_state::{UciStep, UciValue};
use jos_schemas::text::Name;
use zeroize::Zeroizing;

use super::{Config, EditError, Section, Value};

/// The secret of a name, as its bytes.
pub(crate) type SecretOf<'s> = &'s dyn Fn(&Name) -> Result<Zeroizing<Vec<u8>>, String>;

/// What a step came to.
pub(crate) struct Applied {
    /// The whole file.
    pub(crate) text: Vec<u8>,
    /// What changed, in words. Never a value.
    pub(crate) details: Vec<String>,
}

/// Names under which people keep what others may not know: a file that holds one is not shown.
const SECRETIVE: &[&str] = &[
    "key",
    "password",
    "passwd",
    "passphrase",
    "psk",
    "secret",
    "token",
    "private",
    "credential",
    "pincode",
    "auth",
    "pass",
    "community",
];

/// Whether a file holds an option that looks like a secret.
pub(crate) fn holds_secrets(config: &Config) -> bool {
    let secretive = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRETIVE.iter().any(|part| name.contains(part))
    };
    config
        .sections()
        .iter()
        .flat_map(|s| &s.options)
        .any(|(name, _)| secretive(name))
}

/// Makes a file say what the step says. `None` when it does already. With `tidy` a section that the
/// step may have made goes too when nothing is left in it.
pub(crate) fn apply(
    text: Option<&[u8]>,
    step: &UciStep,
    secret: SecretOf<'_>,
    tidy: bool,
) -> Result<Option<Applied>, String> {
    let name = &step.config;
    let mut config = Config::read(text.unwrap_or_default())
        .map_err(|e| format!("/etc/config/{name}: {e}; uci does not read this file either"))?;
    let mut details = Vec::new();
    let failed = |e: EditError| format!("/etc/config/{name}: {e}");
    let Some(at) = find(&mut config, step, &mut details)? else {
        return Ok(None);
    };
    let shown = {
        let Section {
            name: section,
            anonymous,
            ..
        } = &config.sections()[at];
        let by_place = if *anonymous {
            place(&config, at)
        } else {
            section.clone()
        };
        format!("{name}.{by_place}")
    };
    if step.absent {
        config.remove(at).map_err(failed)?;
        details.push(format!("{shown} removed"));
        return Ok(Some(Applied {
            text: config.to_bytes(),
            details,
        }));
    }
    for (option, wanted) in &step.options {
        let value = value(wanted, secret).map_err(|e| format!("{shown}.{option}: {e}"))?;
        if config.set(at, option, &value).map_err(failed)? {
            let of = match wanted {
                UciValue::Secret(s) => format!(" (secret {})", s.secret),
                _ => String::new(),
            };
            details.push(format!("{shown}.{option}{of}"));
        }
    }
    for option in &step.remove {
        if config.unset(at, option).map_err(failed)? {
            details.push(format!("{shown}.{option} removed"));
        }
    }
    let left = &config.sections()[at].options;
    if tidy && step.section_type.is_some() && left.iter().all(|(name, _)| step.matching.contains_key(name)) {
        config.remove(at).map_err(failed)?;
        details.push(format!("{shown} removed: nothing is left in it"));
    }
    Ok((!details.is_empty()).then(|| Applied {
        text: config.to_bytes(),
        details,
    }))
}

/// `@type[n]` of a section.
fn place(config: &Config, at: usize) -> String {
    let kind = &config.sections()[at].kind;
    let n = config.of_type(kind).position(|s| s == at).unwrap_or_default();
    format!("@{kind}[{n}]")
}

/// The section that the step names; made where it is wanted and not there. `None` when it is not there and need not be.
fn find(config: &mut Config, step: &UciStep, details: &mut Vec<String>) -> Result<Option<usize>, String> {
    let name = &step.config;
    let failed = |e: EditError| format!("/etc/config/{name}: {e}");
    let creates = !step.absent && (!step.options.is_empty() || step.section_type.is_some() && step.remove.is_empty());
    if step.section.is_empty() {
        let kind = step.section_type.as_deref().unwrap_or_default();
        let wanted = |at: &usize| {
            step.matching
                .iter()
                .all(|(option, value)| says(&config.sections()[*at], option, value))
        };
        let found: Vec<usize> = config.of_type(kind).filter(wanted).collect();
        return match (found.as_slice(), creates) {
            ([at], _) => Ok(Some(*at)),
            ([], false) => Ok(None),
            ([], true) => {
                let at = config.add(kind, None).map_err(failed)?;
                details.push(format!("{name}.{} added", place(config, at)));
                for (option, value) in &step.matching {
                    config
                        .set(at, option, &Value::One(value.clone().into_bytes()))
                        .map_err(failed)?;
                }
                Ok(Some(at))
            }
            (many, _) => Err(format!(
                "{} sections of type {kind} match, expected one; match by more options",
                many.len()
            )),
        };
    }
    if let Some((kind, index)) = step
        .section
        .strip_prefix('@')
        .and_then(|s| s.strip_suffix(']')?.split_once('['))
    {
        if step.section_type.as_ref().is_some_and(|t| t != kind) {
            return Err(format!("section_type differs from the type in {}", step.section));
        }
        let index: usize = index.parse().unwrap_or(usize::MAX);
        let there = config.of_type(kind).count();
        return match config.indexed(kind, index) {
            Some(at) => Ok(Some(at)),
            None if !creates => Ok(None),
            None if index == there => {
                let at = config.add(kind, None).map_err(failed)?;
                details.push(format!("{name}.@{kind}[{index}] added"));
                Ok(Some(at))
            }
            None => Err(format!(
                "{name} has {there} sections of type {kind}, so {} cannot be the next one",
                step.section
            )),
        };
    }
    match (config.named(&step.section), &step.section_type) {
        (Some(at), _) if config.sections()[at].anonymous => Err(format!(
            "{name}.{} is a name that uci makes up, and it changes with the sections before it; name it {} or use `match`",
            step.section,
            place(config, at)
        )),
        (Some(at), Some(kind)) if !step.absent => {
            if config.retype(at, kind).map_err(failed)? {
                details.push(format!("{name}.{} is of type {kind}", step.section));
            }
            Ok(Some(at))
        }
        (Some(at), _) => Ok(Some(at)),
        (None, _) if !creates => Ok(None),
        (None, Some(kind)) => {
            let at = config.add(kind, Some(&step.section)).map_err(failed)?;
            details.push(format!("{name}.{} added", step.section));
            Ok(Some(at))
        }
        (None, None) => Err(format!(
            "{name} has no section {}; say its section_type to have it made",
            step.section
        )),
    }
}

/// Whether an option has this one value, as `uci get` would show it.
fn says(section: &Section, option: &str, value: &str) -> bool {
    match section.get(option) {
        Some(Value::One(v)) => v == value.as_bytes(),
        Some(Value::Many(v)) => v.len() == 1 && v[0] == value.as_bytes(),
        None => false,
    }
}

fn value(wanted: &UciValue, secret: SecretOf<'_>) -> Result<Value, String> {
    Ok(match wanted {
        UciValue::One(text) => Value::One(text.clone().into_bytes()),
        UciValue::Many(texts) => Value::Many(texts.iter().map(|t| t.clone().into_bytes()).collect()),
        UciValue::Secret(s) => {
            let bytes = secret(&s.secret)?;
            // Editors end a file with a newline; no passphrase does.
            let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            if bytes.is_empty() || bytes.iter().any(|b| *b < b' ' && !b"\t\n\r".contains(b)) {
                return Err(format!(
                    "the secret {} is empty or has control characters, which UCI cannot hold",
                    s.secret
                ));
            }
            Value::One(bytes.to_vec())
        }
    })
}
