//! The one printer: results to standard output, diagnostics and progress to standard error. It looks like that of `jos`.

use std::fmt::{Display, Write as _};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bake::BakeError;
use crate::builders::{BuildError, Steps, Watch};
use crate::output::OutputError;
use crate::profile::Invalid;

/// What a command comes to.
pub(super) type Done = Result<u8, Failure>;

/// A failure with its exit code, as people and scripts see it.
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
            message: message.to_string(),
            help: None,
            details: Box::new(Value::Null),
        }
    }

    /// Failed while doing: exit code 1.
    pub(super) fn failed(message: impl Display) -> Self {
        Self {
            code: 1,
            ..Self::invalid(message)
        }
    }

    /// Adds what to do next.
    pub(super) fn help(mut self, help: impl Display) -> Self {
        self.help = Some(help.to_string());
        self
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        let details = Box::new(serde_json::to_value(&invalid).unwrap_or(Value::Null));
        Self {
            details,
            ..Self::invalid(invalid)
        }
    }
}

impl From<BuildError> for Failure {
    fn from(e: BuildError) -> Self {
        let failure = if e.is_bad_use() {
            Self::invalid(&e)
        } else {
            Self::failed(&e)
        };
        match e.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<BakeError> for Failure {
    fn from(e: BakeError) -> Self {
        Self::failed(e)
    }
}

impl From<OutputError> for Failure {
    fn from(e: OutputError) -> Self {
        let help = match e {
            OutputError::Foreign { .. } => "name another folder with --out, or move that file away",
            OutputError::Io { .. } => return Self::failed(e),
        };
        Self::invalid(e).help(help)
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ui {
    /// JSON instead of text.
    pub(super) json: bool,
    colour: bool,
}

impl Ui {
    /// Colour only for a terminal that wants it (<https://no-color.org>).
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            colour: !json && wants_colour() && std::io::stdout().is_terminal(),
        }
    }

    /// Prints a result: `value` for scripts, `text` for people. A closed pipe ends quietly.
    pub(super) fn result(&self, value: &impl Serialize, text: impl Display) {
        let mut out = if self.json {
            serde_json::to_string_pretty(value).unwrap_or_default()
        } else {
            text.to_string()
        };
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        let _ = std::io::stdout().write_all(out.as_bytes());
    }

    /// Prints a result of one line while the command goes on.
    pub(super) fn line(&self, value: &impl Serialize, text: impl Display) {
        let out = if self.json {
            serde_json::to_string(value).unwrap_or_default() + "\n"
        } else {
            text.to_string()
        };
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Says something that is no result.
    pub(super) fn note(&self, text: impl Display) {
        let _ = std::io::stderr().write_all(format!("jos-image: {text}\n").as_bytes());
    }

    /// Wraps `text` in an SGR colour where colour is on.
    pub(super) fn paint(&self, sgr: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{sgr}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Prints the failure, if any, and gives the exit code.
    pub(super) fn finish(&self, done: Done) -> ExitCode {
        let failure = match done {
            Ok(code) => return ExitCode::from(code),
            Err(failure) => failure,
        };
        let mut err = String::new();
        if self.json {
            let value = json!({ "error": failure.message, "help": failure.help, "details": failure.details });
            let _ = writeln!(err, "{value:#}");
        } else if failure.details.is_null() {
            let _ = writeln!(err, "jos-image: {}", failure.message.trim_end());
        } else {
            // Located errors start with their file, as compilers write them and editors read them.
            let _ = writeln!(err, "{}", failure.message.trim_end());
        }
        if let (false, Some(help)) = (self.json, &failure.help) {
            let _ = writeln!(err, "  help: {help}");
        }
        let _ = std::io::stderr().write_all(err.as_bytes());
        ExitCode::from(failure.code)
    }
}

fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Shows compilations: a bar each with the time left on a terminal, else a line at start and end.
pub(super) struct Progress {
    bars: Option<MultiProgress>,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let terminal = !json && std::io::stderr().is_terminal();
        Self {
            bars: terminal.then(MultiProgress::new),
        }
    }

    fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(line)),
            None => drop(std::io::stderr().write_all(format!("{line}\n").as_bytes())),
        }
    }
}

impl Watch for Progress {
    fn begin(&self, what: &str, units: Option<u64>) -> Box<dyn Steps + '_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(units.unwrap_or(0)));
            let colour = if wants_colour() { ".cyan" } else { "" };
            let template = match units {
                Some(_) => format!("{{prefix}} {{bar:28{colour}}} {{pos}}/{{len}}, {{eta}} left  {{msg}}"),
                // The first time nobody knows how many there are.
                None => format!("{{prefix}} {{spinner{colour}}} {{pos}} parts in {{elapsed}}  {{msg}}"),
            };
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            self.say(&format!("jos-image: {what}: compiling"));
        }
        Box::new(Compiling {
            progress: self,
            what: what.to_owned(),
            began: Instant::now(),
            bar,
        })
    }
}

/// One compilation under way.
struct Compiling<'a> {
    progress: &'a Progress,
    what: String,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Steps for Compiling<'_> {
    fn step(&self, item: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(item.to_owned());
            bar.inc(1);
        }
    }

    fn end(self: Box<Self>, how: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let took = self.began.elapsed().as_secs();
        self.progress
            .say(&format!("jos-image: {}: {how} in {took} s", self.what));
    }
}

/// `1.9 MB`.
pub(super) fn bytes(n: usize) -> String {
    match n {
        0..1000 => format!("{n} B"),
        1000..1_000_000 => format!("{:.0} kB", n as f64 / 1e3),
        _ => format!("{:.2} MB", n as f64 / 1e6),
    }
}
