//! The texts a profile is read from, laid one after another in one address space.
//!
//! Owns: provenance. A value's span says in which file and line it was written, however many profiles were merged, so
//! errors and `explain` point at the right place, and a relative path is read from the folder of the file that names it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use jos_schemas::node::{Kind, Node, Span};
use jos_schemas::report::{Issue, Report};
use serde::Serialize;

/// One file of a profile.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As errors name it.
    pub name: String,
    /// The folder that its relative paths start from; none for a base that is built in.
    pub folder: Option<PathBuf>,
    /// SHA-256 of its bytes.
    pub sha256: String,
    start: u32,
    first_line: u32,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file as errors name it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// All files of one profile: the profile first, then what it extends.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: Vec<SourceFile>,
    text: String,
}

impl Files {
    /// Adds a file; gives what its spans are moved by.
    pub fn add(&mut self, name: String, folder: Option<PathBuf>, text: &str) -> u32 {
        let start = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        let first_line = u32::try_from(self.text.matches('\n').count()).unwrap_or(u32::MAX);
        let sha256 = crate::formats::hash::sha256(text.as_bytes());
        self.files.push(SourceFile {
            name,
            folder,
            sha256,
            start,
            first_line,
        });
        self.text.push_str(text);
        // Each file ends its line, so that the next one starts at a column of its own.
        self.text.push('\n');
        start
    }

    /// The texts in one: what spans refer to.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every file, the profile first.
    #[must_use]
    pub fn all(&self) -> &[SourceFile] {
        &self.files
    }

    /// The file in which a span lies.
    #[must_use]
    pub fn file(&self, span: &Span) -> &SourceFile {
        let at = self.files.partition_point(|f| f.start <= span.start).saturating_sub(1);
        &self.files[at]
    }

    /// Where a span starts.
    #[must_use]
    pub fn place(&self, span: &Span) -> Place {
        let issue = Issue::default().at(&self.text, span);
        let file = self.file(span);
        Place {
            file: file.name.clone(),
            line: issue.line - file.first_line,
            column: issue.column,
        }
    }

    fn by_line(&self, line: u32) -> &SourceFile {
        let at = self.files.partition_point(|f| f.first_line < line).saturating_sub(1);
        &self.files[at]
    }
}

/// Moves every span of a tree.
pub fn shift(node: &mut Node, by: u32) {
    let move_span = |span: &mut Span| *span = span.start.saturating_add(by)..span.end.saturating_add(by);
    move_span(&mut node.span);
    match &mut node.kind {
        Kind::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Kind::Object(entries) => {
            for entry in entries {
                move_span(&mut entry.key_span);
                shift(&mut entry.value, by);
            }
        }
        _ => {}
    }
}

/// Everything that is wrong with a profile, by file.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Invalid {
    /// One report a file, in the order in which the files were read.
    pub reports: Vec<Report>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, report) in self.reports.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{report}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl From<Report> for Invalid {
    fn from(report: Report) -> Self {
        Self { reports: vec![report] }
    }
}

/// Collects what is wrong, then gives it sorted by place.
#[derive(Debug)]
pub struct Problems<'a> {
    files: &'a Files,
    found: Vec<Issue>,
    foreign: Vec<Report>,
}

impl<'a> Problems<'a> {
    /// None yet.
    #[must_use]
    pub fn new(files: &'a Files) -> Self {
        Self {
            files,
            found: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// Adds one at a span.
    pub fn add(&mut self, span: &Span, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        let issue = Issue {
            pointer: pointer.to_owned(),
            ..Issue::new(message)
        }
        .help(help);
        self.found.push(issue.at(self.files.text(), span));
    }

    /// Adds one at the value at `pointer` of `node`, or at the nearest value around it.
    pub fn at(&mut self, node: &Node, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        let mut around = pointer;
        let span = loop {
            match node.pointer(around) {
                Some(found) if found.span != (0..0) || around.is_empty() => break found.span.clone(),
                _ => around = around.rfind('/').map_or("", |at| &around[..at]),
            }
        };
        self.add(&span, pointer, message, help);
    }

    /// Adds what a reader found in the joined texts.
    pub fn report(&mut self, report: Report) {
        self.found.extend(report.issues);
    }

    /// Adds what a reader found in another file.
    pub fn foreign(&mut self, report: Report) {
        self.foreign.push(report);
    }

    /// Nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.foreign.is_empty()
    }

    /// Everything found, or `Ok` for nothing.
    ///
    /// # Errors
    /// What was found, lines counted in each file.
    pub fn finish(self) -> Result<(), Invalid> {
        if self.is_empty() {
            return Ok(());
        }
        let mut by_file: BTreeMap<u32, Report> = BTreeMap::new();
        let mut found = self.found;
        found.sort_by_key(|i| (i.line, i.column));
        for mut issue in found {
            let file = self.files.by_line(issue.line.max(1));
            issue.line = issue.line.saturating_sub(file.first_line);
            let empty = || Report {
                file: file.name.clone(),
                issues: Vec::new(),
                more: false,
            };
            by_file.entry(file.first_line).or_insert_with(empty).issues.push(issue);
        }
        Err(Invalid {
            reports: by_file.into_values().chain(self.foreign).collect(),
        })
    }
}

/// A path for people: relative to the working folder where it lies below it.
#[must_use]
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|h| path.strip_prefix(h).map(Path::to_owned).ok());
    let path = below.unwrap_or_else(|| path.to_owned());
    if path.as_os_str().is_empty() {
        ".".to_owned()
    } else {
        path.display().to_string()
    }
}
