//! Runs cargo and listens to it.
//!
//! Owns: the child's output: one message per finished unit on standard output (cargo's JSON messages), diagnostics on
//! standard error, of which the end is kept for the report.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BuildError, Flavour, Steps, cache};

/// Lines of a failed compilation that are worth showing.
const TAIL: usize = 60;

/// What cargo is asked to build, the same for every builder.
pub(super) const fn program(flavour: Flavour) -> [&'static str; 10] {
    [
        "--profile",
        "device",
        "--locked",
        "-p",
        "jos-agent",
        "--bin",
        "jos",
        "--no-default-features",
        "--features",
        flavour.features(),
    ]
}

/// Runs `command` and gives the path of the program it made.
pub(super) fn run(command: &mut Command, what: &str, triple: &str, steps: &dyn Steps) -> Result<PathBuf, BuildError> {
    command.arg("--message-format=json-render-diagnostics");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let program = PathBuf::from(command.get_program());
    let mut child = command.spawn().map_err(|e| BuildError::io(&program, e))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (units, made, tail) = std::thread::scope(|scope| {
        let tail = scope.spawn(move || err.map(last_lines).unwrap_or_default());
        let (units, made) = out.map(|out| listen(out, steps)).unwrap_or_default();
        (units, made, tail.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|e| BuildError::io(&program, e))?;
    match made {
        Some(made) if status.success() => {
            cache::remember_units(&cache::default_dir(), triple, units);
            Ok(made)
        }
        _ => Err(BuildError::Failed {
            what: what.to_owned(),
            status: status.to_string(),
            tail,
        }),
    }
}

fn listen(out: impl Read, steps: &dyn Steps) -> (u64, Option<PathBuf>) {
    let (mut units, mut made) = (0, None);
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(&line) else {
            continue;
        };
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        units += 1;
        let name = message["target"]["name"].as_str().unwrap_or("");
        steps.step(name);
        if let Some(path) = message["executable"].as_str().filter(|_| name == "jos") {
            made = Some(Path::new(path).to_owned());
        }
    }
    (units, made)
}

fn last_lines(err: impl Read) -> String {
    let mut last = VecDeque::with_capacity(TAIL);
    for line in BufReader::new(err).split(b'\n').map_while(Result::ok) {
        if last.len() == TAIL {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    Vec::from(last).join("\n")
}
