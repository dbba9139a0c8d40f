//! Running a program within a time limit. Its whole process group is ended at the limit, and when the test's own process
//! dies the machines it started die with it (see [`crate::nspawn`]).

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long a command may take where nothing else is said.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What a program did.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its result.
    pub stdout: String,
    /// Its diagnostics.
    pub stderr: String,
    /// Wall time.
    pub took: Duration,
}

impl Ran {
    /// Exited 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Must have exited 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Must have exited with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}:\n{self}");
        self
    }

    /// Standard output without white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}\n{self}"))
    }

    /// Must have said `words` on either stream.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(
            self.stdout.contains(words) || self.stderr.contains(words),
            "expected the words {words:?}:\n{self}"
        );
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no status".to_owned(),
        };
        write!(
            out,
            "$ {}\n{end} after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.took, self.stdout, self.stderr
        )
    }
}

/// Runs `command` within [`LIMIT`], with no standard input.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    run_within(command, LIMIT, &[])
}

/// `program` with `arguments`, within [`LIMIT`].
#[track_caller]
pub fn sh(program: &str, arguments: &[&str]) -> Ran {
    run(Command::new(program).args(arguments))
}

/// Runs `command` with `input` on its standard input. At `limit` its process group is killed.
///
/// # Panics
/// If it cannot be started, or does not end within the limit.
#[track_caller]
pub fn run_within(command: &mut Command, limit: Duration, input: &[u8]) -> Ran {
    let line = shown(command);
    let begin = Instant::now();
    command.stdin(if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
    let group = Pid::from_raw(i32::try_from(child.id()).expect("a process id fits"));
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program may end without reading its input; what it says then is the result, not our broken pipe.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let stdout = collect(child.stdout.take().expect("piped"));
    let stderr = collect(child.stderr.take().expect("piped"));
    let (ended, status) = mpsc::channel::<std::io::Result<ExitStatus>>();
    std::thread::spawn(move || drop(ended.send(child.wait())));
    let status = match status.recv_timeout(limit) {
        Ok(status) => status.unwrap_or_else(|error| panic!("cannot wait for `{line}`: {error}")),
        Err(_) => {
            let _ = killpg(group, Signal::SIGKILL);
            panic!(
                "`{line}` did not end within {limit:?}\n--- stdout\n{}\n--- stderr\n{}",
                stdout.so_far(),
                stderr.so_far()
            );
        }
    };
    Ran {
        command: line,
        code: status.code(),
        signal: status.signal(),
        stdout: stdout.whole(),
        stderr: stderr.whole(),
        took: begin.elapsed(),
    }
}

/// The command line as a person would type it, roughly.
pub fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: mpsc::Receiver<()>,
}

impl Collected {
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no reader panics")).into_owned()
    }

    /// A process left behind may keep the pipe open; what the program itself wrote is there by then.
    fn whole(self) -> String {
        let _ = self.end.recv_timeout(Duration::from_secs(2));
        self.so_far()
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (done, end) = mpsc::channel();
    let into = Arc::clone(&bytes);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count) = pipe.read(&mut buffer) {
            if count == 0 {
                break;
            }
            into.lock()
                .expect("no reader panics")
                .extend_from_slice(&buffer[..count]);
        }
        let _ = done.send(());
    });
    Collected { bytes, end }
}
