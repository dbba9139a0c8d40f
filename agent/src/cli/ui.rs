//! The one printer: results to standard output, diagnostics to standard error, for people or as JSON.

use std::fmt::{self, Display, Write as _};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use jos_schemas::own;
use serde::Serialize;
use serde_json::{Value, json};

/// What a command comes to: an exit code (0 or 1), or a failure.
pub(crate) type Done = Result<u8, Failure>;

/// A failure with its exit code, as people and scripts see it. Boxed, since it is rare and results are many.
#[derive(Debug)]
pub(crate) struct Failure(Box<Said>);

#[derive(Debug)]
struct Said {
    /// 1 refused or failed, 2 bad use or invalid input.
    code: u8,
    /// What was found and what was expected.
    message: String,
    /// What to do next.
    help: Option<String>,
    /// More for scripts.
    details: Value,
}

impl Failure {
    fn new(code: u8, message: String) -> Self {
        Self(Box::new(Said {
            code,
            message,
            help: None,
            details: Value::Null,
        }))
    }
    /// The input or the use is wrong: exit code 2.
    pub(crate) fn invalid(message: impl Display) -> Self {
        Self::new(2, message.to_string())
    }
    /// Refused, or failed while doing: exit code 1.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::new(1, message.to_string())
    }
    /// Adds what to do next.
    pub(crate) fn help(mut self, help: impl Display) -> Self {
        self.0.help = Some(help.to_string());
        self
    }
    /// Adds what went wrong besides.
    pub(crate) fn and(mut self, more: impl Display) -> Self {
        self.0.message = format!("{}; {more}", self.0.message);
        self
    }
    /// The input or the use is wrong, rather than work that failed.
    pub(crate) fn is_bad_use(&self) -> bool {
        self.0.code == 2
    }
    /// Adds details for scripts.
    pub(crate) fn details(mut self, details: impl Serialize) -> Self {
        self.0.details = serde_json::to_value(details).unwrap_or(Value::Null);
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Colour on standard output.
    pub(crate) colour: bool,
}

impl Ui {
    /// Colour only for a terminal that wants it (<https://no-color.org>).
    pub(crate) fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self {
            json,
            colour: !json && wanted && std::io::stdout().is_terminal(),
        }
    }

    /// Prints a result: `value` for scripts, `text` for people. A closed pipe ends quietly.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl Display) {
        print(match self.json {
            true => own::write_pretty(value).unwrap_or_default(),
            false => text.to_string(),
        });
    }

    /// Prints one of many results, each on a line of its own.
    #[cfg(feature = "runtime")]
    pub(crate) fn line(&self, (value, text): &(Value, String)) {
        print(if self.json { value.to_string() } else { text.clone() });
    }

    /// Wraps `text` in an SGR colour where colour is on.
    pub(crate) fn paint(&self, sgr: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{sgr}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Prints the failure, if any, and gives the exit code.
    pub(crate) fn finish(&self, done: Done) -> ExitCode {
        match done {
            Ok(code) => ExitCode::from(code),
            Err(Failure(failure)) => {
                let mut err = String::new();
                if self.json {
                    let value = json!({ "error": failure.message, "help": failure.help, "details": failure.details });
                    let _ = writeln!(err, "{value:#}");
                } else {
                    let _ = writeln!(err, "jos: {}", failure.message.trim_end());
                    if let Some(help) = &failure.help {
                        let _ = writeln!(err, "  help: {help}");
                    }
                }
                let _ = std::io::stderr().write_all(err.as_bytes());
                ExitCode::from(failure.code)
            }
        }
    }
}

fn print(mut out: String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    let _ = std::io::stdout().write_all(out.as_bytes());
}
