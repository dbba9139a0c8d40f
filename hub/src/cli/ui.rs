//! The one printer: results to standard output, diagnostics to standard error. It looks like that of `jos`.

use std::fmt::{Display, Write as _};
use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::fault::Fault;
use jos_link::wire::Problem;

/// What a command comes to.
pub(super) type Done = Result<(), Failure>;

/// A failure with its exit code.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    message: String,
    help: Option<String>,
    details: Box<Value>,
}

impl Failure {
    /// The input or the use is wrong: exit code 2.
    pub(super) fn invalid(message: impl Display) -> Self {
        Self {
            code: 2,
            ..Self::failed(message)
        }
    }

    /// Failed while doing: exit code 1.
    pub(super) fn failed(message: impl Display) -> Self {
        Self {
            code: 1,
            message: message.to_string(),
            help: None,
            details: Box::new(Value::Null),
        }
    }

    /// Adds what to do next.
    pub(super) fn help(mut self, help: impl Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// Names the file that it is about.
    pub(super) fn of_file(mut self, path: &std::path::Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    /// Adds what to do next, where there is something.
    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let mut details = problem.details;
        if details.is_null() {
            details = json!({});
        }
        if let Value::Object(members) = &mut details {
            members.insert("code".to_owned(), problem.code.into());
        }
        Self {
            code: 1,
            message: problem.message,
            help: problem.help,
            details: Box::new(details),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let failure = Self::from(fault.problem().clone());
        match fault.cause() {
            // Here the person at the command is the one who would read the log.
            Some(cause) => Self {
                message: cause.to_owned(),
                ..failure
            },
            None => failure,
        }
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ui {
    /// JSON instead of text.
    pub(super) json: bool,
}

impl Ui {
    /// Prints a result: `value` for scripts, `text` for people. A closed pipe ends quietly.
    pub(super) fn result(&self, value: &Value, text: impl Display) {
        let out = if self.json {
            format!("{value:#}")
        } else {
            text.to_string()
        };
        let _ = std::io::stdout().write_all(format!("{}\n", out.trim_end()).as_bytes());
    }

    /// Prints bytes as they are.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let _ = std::io::stdout().write_all(bytes);
    }

    /// Says something that is no result.
    pub(super) fn note(&self, text: impl Display) {
        let _ = std::io::stderr().write_all(format!("jos-hub: {text}\n").as_bytes());
    }

    /// Prints the failure, if any, and gives the exit code.
    pub(super) fn finish(&self, done: Done) -> ExitCode {
        let Err(failure) = done else {
            return ExitCode::SUCCESS;
        };
        let mut err = String::new();
        if self.json {
            let value = json!({ "error": failure.message, "help": failure.help, "details": failure.details });
            let _ = writeln!(err, "{value:#}");
        } else {
            let _ = writeln!(err, "jos-hub: {}", failure.message.trim_end());
            if let Some(help) = &failure.help {
                let _ = writeln!(err, "  help: {help}");
            }
        }
        let _ = std::io::stderr().write_all(err.as_bytes());
        ExitCode::from(failure.code)
    }
}

/// A table with a head; columns as wide as they need to be. What devices sent cannot move the cursor.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "none".to_owned();
    }
    let plain = |text: &str| -> String { text.chars().map(|c| if c.is_control() { '?' } else { c }).collect() };
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let head: Vec<String> = head.iter().map(|cell| cell.to_uppercase()).collect();
    let width = |at: usize| {
        let cells = rows.iter().chain(std::iter::once(&head)).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let line: String = row.iter().zip(&widths).fold(String::new(), |mut line, (cell, width)| {
            let _ = write!(line, "{cell:width$}  ");
            line
        });
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// A text member of a reply.
pub(super) fn text(value: &Value, member: &str) -> String {
    match &value[member] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(labels) => {
            let pairs = labels
                .iter()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
            let joined = pairs.collect::<Vec<_>>().join(",");
            if joined.is_empty() { "-".to_owned() } else { joined }
        }
        other => other.to_string(),
    }
}

/// A moment of a reply, in UTC.
pub(super) fn moment(value: &Value, member: &str) -> String {
    match value[member].as_i64() {
        Some(seconds) => jos_schemas::text::Utc::from_unix(seconds).to_string(),
        None => "never".to_owned(),
    }
}
