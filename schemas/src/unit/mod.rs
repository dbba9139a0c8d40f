//! The text of a service: systemd unit, launchd job, procd script.
//!
//! Owns the templates under `profiles/units/` (and the OpenWrt script of the feed), their placeholders and all escaping,
//! so that `jos agent install` and the packages of `jos-image` write the same bytes. Pure: looks at no disk; whether a
//! folder exists is asked of the caller. Never starts or installs anything.

mod launchd;
mod procd;
mod systemd;
#[cfg(test)]
mod tests;
pub mod writable;

pub use launchd::Launchd;
pub use procd::{Procd, ProcdRecover};
pub use systemd::{Scope, Systemd, guardian};

/// The command that puts the files of an interrupted change back, and does nothing else.
#[must_use]
pub fn recover(program: &str, config: &str) -> Vec<String> {
    [program, "agent", "recover", "--files", "--config", config]
        .map(str::to_owned)
        .into()
}

/// What an agent's early recovery is called, by the name of its service.
#[must_use]
pub fn recovery_service(service: &str) -> String {
    format!("{service}-recover")
}

/// Every service that is an agent's own, by the name of its first: no state may touch their units.
#[must_use]
pub fn own_services(service: String) -> Vec<String> {
    vec![recovery_service(&service), service]
}

/// Why no text can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// A value that the format cannot carry safely.
    Unfit {
        /// Which value.
        field: &'static str,
        /// What it was.
        found: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// The template has a placeholder that nobody fills.
    Unfilled {
        /// Its name.
        placeholder: String,
    },
}

impl std::fmt::Display for UnitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UnitError::Unfit { field, found, expected } => write!(f, "{field}: found {found:?}, expected {expected}"),
            UnitError::Unfilled { placeholder } => write!(f, "the template's @{placeholder}@ was not filled"),
        }
    }
}

impl std::error::Error for UnitError {}

/// Fills `@NAME@` placeholders in one pass: a value that looks like a placeholder stays as it is. A line that holds nothing
/// but a placeholder with an empty value goes away.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> Result<String, UnitError> {
    let mut out = String::with_capacity(template.len() + 512);
    for line in template.split_inclusive('\n') {
        let start = out.len();
        let mut rest = line;
        let mut filled = false;
        while let Some((before, name, after)) = placeholder(rest) {
            out.push_str(before);
            let Some((_, value)) = values.iter().find(|(known, _)| *known == name) else {
                return Err(UnitError::Unfilled {
                    placeholder: name.to_owned(),
                });
            };
            out.push_str(value);
            filled = true;
            rest = after;
        }
        out.push_str(rest);
        if filled && out[start..].trim().is_empty() {
            out.truncate(start);
        }
    }
    Ok(out)
}

/// Splits at the first `@NAME@`, NAME of capitals and underscores.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find('@').map(|i| i + from) {
        let name_at = at + 1;
        let end = text[name_at..]
            .find(|c: char| !(c.is_ascii_uppercase() || c == '_'))
            .map(|i| i + name_at)?;
        if end > name_at && text.as_bytes()[end] == b'@' {
            return Some((&text[..at], &text[name_at..end], &text[end + 1..]));
        }
        from = name_at;
    }
    None
}

/// Refuses line breaks and other control characters, which no unit format carries.
pub(crate) fn printable(field: &'static str, text: &str) -> Result<(), UnitError> {
    if text.chars().any(char::is_control) {
        let expected = "text without control characters or line breaks";
        return Err(UnitError::Unfit {
            field,
            found: text.to_owned(),
            expected,
        });
    }
    Ok(())
}

/// Refuses what is no login name (`useradd`'s rule, which is also systemd's strict one).
pub(crate) fn login_name(text: &str) -> Result<(), UnitError> {
    let bytes = text.as_bytes();
    let fits = (1..=31).contains(&bytes.len())
        && (bytes[0].is_ascii_alphabetic() || bytes[0] == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(b));
    if fits {
        return Ok(());
    }
    let expected = "a login name of letters, digits, '_' and '-', 31 at most";
    Err(UnitError::Unfit {
        field: "user",
        found: text.to_owned(),
        expected,
    })
}
