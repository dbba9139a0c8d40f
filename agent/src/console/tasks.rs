//! What takes a while: a replay, a run of the evaluations, an installation. Each is the very command that a person would
//! type, run as a process of its own, so that a page can do nothing that a command cannot; a replay is sealed there by its
//! kernel filter. What the last replay and the last evaluations came to stays in `state/console/`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use jos_node::place::{DataDir, Durable};
use serde_json::{Value, json};

/// What a command came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    /// Its exit code.
    pub(super) code: u8,
    /// What it printed; of one that failed, `error` and `help`.
    pub(super) said: Value,
}

impl Ended {
    /// Why it failed, as a sentence; none where it did not.
    pub(super) fn why(&self) -> Option<String> {
        let error = self.said["error"].as_str()?;
        let help = self.said["help"]
            .as_str()
            .map(|help| format!(" ({help})"))
            .unwrap_or_default();
        Some(format!("{error}{help}"))
    }
}

/// Runs `jos WORDS… --json` on a data directory to its end.
pub(super) fn command(root: &Path, words: &[&str]) -> Ended {
    let failed = |why: String| Ended {
        code: 1,
        said: json!({ "error": why }),
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(e) => return failed(format!("this program cannot be found any more: {e}")),
    };
    let mut command = Command::new(&program);
    command
        .args(["--json", "--data-dir"])
        .arg(root)
        .args(words)
        .stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => return failed(format!("{}: {e}", program.display())),
    };
    let code = output
        .status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    let said = serde_json::from_slice(&output.stdout).or_else(|_| serde_json::from_slice(&output.stderr));
    match said {
        Ok(said) => Ended { code, said },
        Err(_) => {
            let words: String = String::from_utf8_lossy(&output.stderr)
                .trim()
                .chars()
                .take(2000)
                .collect();
            failed(if words.is_empty() {
                format!("ended with {}", output.status)
            } else {
                words
            })
        }
    }
}

/// One kind of task: at most one runs at a time.
pub(super) struct Task {
    name: &'static str,
    runs: Mutex<bool>,
}

impl Task {
    pub(super) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            runs: Mutex::new(false),
        })
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, bool> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is under way.
    pub(super) fn is_running(&self) -> bool {
        *self.runs()
    }

    fn place(&self) -> String {
        format!("state/console/{}.json", self.name)
    }

    /// What it came to the last time, and when.
    pub(super) fn last(&self, data: &DataDir) -> Option<(i64, Ended)> {
        let bytes = std::fs::read(data.path(&self.place())).ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let code = u8::try_from(value["code"].as_u64()?).ok()?;
        Some((
            value["time"].as_i64()?,
            Ended {
                code,
                said: value["said"].clone(),
            },
        ))
    }

    /// Begins it, unless it is under way already. Whoever looks is told by the file that is written at its end.
    pub(super) fn begin(self: &Arc<Self>, data: &DataDir, now: i64, words: Vec<String>) -> Result<(), String> {
        if std::mem::replace(&mut *self.runs(), true) {
            return Ok(());
        }
        let (task, data) = (Arc::clone(self), data.clone());
        let work = move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let ended = command(data.root(), &words);
            let bytes = json!({ "time": now, "code": ended.code, "said": ended.said }).to_string();
            *task.runs() = false;
            if let Err(e) = data.put(&task.place(), bytes.as_bytes(), Durable::Derived) {
                log::warn!("what came of it is not kept: {e}");
            }
        };
        let begun = std::thread::Builder::new().name(self.name.into()).spawn(work);
        begun.map(drop).map_err(|e| {
            *self.runs() = false;
            format!("no thread for it: {e}")
        })
    }
}
