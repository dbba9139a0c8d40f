//! A folder of its own and the built program, run as from a shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The built program.
pub(crate) const JOS: &str = env!("CARGO_BIN_EXE_jos");

/// A folder to work in.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ran {
    /// Must have exited with `code`, a result on standard output only where it is 0, else a diagnostic only.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let (wanted, other) = if code == 0 {
            (&self.out, &self.err)
        } else {
            (&self.err, &self.out)
        };
        assert!(!wanted.is_empty() && other.is_empty(), "{self:#?}");
        self
    }

    /// Must have said each of `words`, on either stream.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.out.contains(word) || self.err.contains(word),
                "expected {word:?}: {self:#?}"
            );
        }
        self
    }

    /// The result, or the error, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let text = if self.out.is_empty() { &self.err } else { &self.out };
        serde_json::from_str(text).unwrap_or_else(|e| panic!("no JSON: {e}: {self:#?}"))
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        // Beside the program, so that it can be linked into this folder.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self { dir: dir.unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// `program` in this folder, with nothing of the caller's environment but PATH.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn jos(&self, arguments: &[&str]) -> Ran {
        self.command(JOS).args(arguments).output().unwrap().into()
    }
}
