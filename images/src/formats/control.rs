//! One stanza of `Name: value` fields, as in a package's `control` and in a repository's `Packages`.
//!
//! Owns: the order and escaping of fields (deb822(5), Debian Policy §5.1), the grammar checks shared by .deb and .ipk.
//! Never: knows which fields a package needs.

#[cfg(test)]
mod tests;

use std::fmt;

use super::FormatError;

/// Fields in the order they are written. Values hold their logical text: lines are separated by `\n` without the
/// leading space of continuation lines, and an empty line stands for ` .`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza {
    /// Name and value of each field.
    pub fields: Vec<(String, String)>,
}

impl Stanza {
    /// Add a field at the end.
    ///
    /// # Errors
    /// [`FormatError::Field`] for a name outside Policy §5.1, a name already there (in any letter case), or a value
    /// that could start another field.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), FormatError> {
        self.insert_at(self.fields.len(), name, value)
    }

    /// Add a field unless the value is empty.
    ///
    /// # Errors
    /// As [`Stanza::push`].
    pub fn push_some(&mut self, name: &str, value: &str) -> Result<(), FormatError> {
        if value.is_empty() {
            Ok(())
        } else {
            self.push(name, value)
        }
    }

    /// Add a field in front of `before`, or at the end when there is none: how an index adds `Filename`, `Size` and
    /// `SHA256sum` in front of `Description`.
    ///
    /// # Errors
    /// As [`Stanza::push`].
    pub fn insert_before(&mut self, before: &str, name: &str, value: &str) -> Result<(), FormatError> {
        let at = self.fields.iter().position(|(n, _)| n.eq_ignore_ascii_case(before));
        self.insert_at(at.unwrap_or(self.fields.len()), name, value)
    }

    /// The value of a field; names compare without letter case (Policy §5.1).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// Read exactly one stanza.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] with the line that is not `Name: value`, not a continuation, or repeats a field.
    pub fn parse(what: &str, text: &str) -> Result<Self, FormatError> {
        let mut stanza = Self::default();
        let text = text.trim_end_matches('\n');
        for (number, line) in text.split('\n').enumerate() {
            let bad = |problem: &str| FormatError::damaged(format!("{what}:{}", number + 1), problem);
            if let Some(more) = line.strip_prefix([' ', '\t']) {
                let (_, value) = stanza
                    .fields
                    .last_mut()
                    .ok_or_else(|| bad("starts with a continuation line"))?;
                value.push('\n');
                value.push_str(if more == "." { "" } else { more });
                continue;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| bad("expected `Name: value` or a line that starts with a space"))?;
            if !is_field_name(name) {
                return Err(bad("the field's name is not printable ASCII without `:` and blanks"));
            }
            if stanza.get(name).is_some() {
                return Err(bad("the field is there twice"));
            }
            stanza.fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(stanza)
    }

    fn insert_at(&mut self, at: usize, name: &str, value: &str) -> Result<(), FormatError> {
        if !is_field_name(name) || self.get(name).is_some() {
            let expected = "a new field name of printable ASCII without `:`, `#` or `-` first (Debian Policy §5.1)";
            return Err(FormatError::field("field name", name, expected));
        }
        let control = |c: char| c.is_control() && c != '\n' && c != '\t';
        if value.trim() != value || value.is_empty() || value.contains(control) {
            let expected = "text without control characters and blanks around it (Debian Policy §5.1)";
            return Err(FormatError::field(name, value, expected));
        }
        self.fields.insert(at, (name.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// An object of the fields in their order.
impl serde::Serialize for Stanza {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)))
    }
}

/// The stanza as text: one field a line, continuation lines escaped, a line feed at the end.
impl fmt::Display for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.fields {
            let mut lines = value.split('\n');
            writeln!(f, "{name}: {}", lines.next().unwrap_or(""))?;
            for line in lines {
                match line {
                    blank if blank.trim().is_empty() => writeln!(f, " .")?,
                    // Policy §5.6.13 reserves lines that start with a dot; one more space shows it as it is.
                    dotted if dotted.starts_with('.') => writeln!(f, "  {dotted}")?,
                    plain => writeln!(f, " {plain}")?,
                }
            }
        }
        Ok(())
    }
}

/// Policy §5.1: printable ASCII, no blanks, no `:`; not starting with `#` or `-`.
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '-']) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// A package's description: Debian Policy §5.6.13.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// One line, at most 80 characters, no full stop.
    pub synopsis: String,
    /// The longer text; lines stand as they are, an empty line separates paragraphs.
    pub extended: String,
}

impl Description {
    /// Both parts as one field value.
    ///
    /// # Errors
    /// [`FormatError::Field`] when the synopsis is empty, has a line break or is longer than 80 characters.
    pub(crate) fn value(&self) -> Result<String, FormatError> {
        let synopsis = self.synopsis.trim();
        if synopsis.is_empty() || synopsis.contains('\n') || synopsis.chars().count() > 80 {
            let expected = "one line of 1 to 80 characters (Debian Policy §3.4.1)";
            return Err(FormatError::field("Description", &self.synopsis, expected));
        }
        let extended = self.extended.trim_end().trim_start_matches('\n');
        Ok(if extended.is_empty() {
            synopsis.to_owned()
        } else {
            format!("{synopsis}\n{extended}")
        })
    }
}

/// Policy §5.6.1: at least two of `a-z0-9+-.`, the first a letter or digit.
pub(crate) fn check_package(name: &str) -> Result<(), FormatError> {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !first || name.len() < 2 || !name.bytes().all(ok) {
        let expected = "two or more of a-z 0-9 + - . that start with a letter or digit (Debian Policy §5.6.1)";
        return Err(FormatError::field("Package", name, expected));
    }
    Ok(())
}

/// Policy §5.6.12: `[epoch:]upstream[-revision]`.
pub(crate) fn check_version(version: &str) -> Result<(), FormatError> {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let upstream = rest.rsplit_once('-').map_or(rest, |(upstream, _)| upstream);
    let ok = |b: u8| b.is_ascii_alphanumeric() || b".+-~".contains(&b);
    let epoch_ok = !epoch.is_empty() && epoch.len() <= 9 && epoch.bytes().all(|b| b.is_ascii_digit());
    let upstream_ok = upstream.bytes().next().is_some_and(|b| b.is_ascii_digit());
    if !epoch_ok || !upstream_ok || !rest.bytes().all(ok) || rest.ends_with('-') {
        let expected = "[epoch:]upstream[-revision] of A-Za-z0-9 . + ~ with a digit first (Debian Policy §5.6.12)";
        return Err(FormatError::field("Version", version, expected));
    }
    Ok(())
}

/// One relation such as `libc6 (>= 2.31) | musl`: Policy §7.1. `comma` lists are made by us from the items.
pub(crate) fn relations(field: &str, items: &[String]) -> Result<String, FormatError> {
    for item in items {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"+-.~:()<>=!| ${}[]_".contains(&b);
        if item.trim().is_empty() || item.trim() != item || !item.bytes().all(ok) {
            let expected = "one relation `package (>= version) | other`, without commas (Debian Policy §7.1)";
            return Err(FormatError::field(field, item, expected));
        }
    }
    Ok(items.join(", "))
}

/// A field that must be there and stay on one line.
pub(crate) fn one_line<'a>(field: &str, value: &'a str) -> Result<&'a str, FormatError> {
    if value.trim() != value || value.is_empty() || value.chars().any(char::is_control) {
        return Err(FormatError::field(field, value, "one line of text"));
    }
    Ok(value)
}

/// `package_version_architecture.suffix`; a version's epoch is no part of a file name.
pub(crate) fn file_name(package: &str, version: &str, architecture: &str, suffix: &str) -> String {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    format!("{package}_{version}_{architecture}.{suffix}")
}
