//! No init system: jos supervises by itself.
//!
//! Owns a small supervisor process: it holds a lock, restarts the agent with growing pauses, and writes its log with one
//! rotation. It does not start at boot; a line in the machine's own start script does (`jos agent supervise --config FILE`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Service, ServiceError, State, log_path};
use crate::lock::{Lock, LockError};
use crate::place::run_dir;
use crate::signals::{self, Signals};

/// The pause before the second start; it doubles up to [`LONGEST`] and starts anew after [`LONGEST`] of running.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// A log is turned over at this size; one old one is kept.
const LOG_LIMIT: u64 = 1 << 20;

fn supervisor_lock(service: &Service<'_>) -> PathBuf {
    run_dir(service.state_dir, service.name.as_str()).join("supervisor.lock")
}

fn agent_lock(service: &Service<'_>) -> PathBuf {
    run_dir(service.state_dir, service.name.as_str()).join("lock")
}

/// Starts the supervisor, apart from this terminal, and waits until the agent is ready.
pub(super) fn start(service: &Service<'_>) -> Result<(), ServiceError> {
    if !service.place.is_live() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|e| ServiceError::Other(format!("cannot find this program: {e}")))?;
    let config = service.folder.join("agent.toml");
    let mut command = Command::new(&program);
    command
        .args(["agent", "supervise", "--must-start", "--config"])
        .arg(&config)
        .arg("--log")
        .arg(log_path(service));
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if nix::unistd::Uid::effective().is_root() && service.owner.uid != 0 {
        std::os::unix::process::CommandExt::uid(&mut command, service.owner.uid);
        std::os::unix::process::CommandExt::gid(&mut command, service.owner.gid);
        command.env("HOME", &service.owner.home);
    }
    let failed = |said: String| ServiceError::Command {
        command: format!("{} agent supervise", program.display()),
        said,
    };
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let mut pipe = child.stdout.take().ok_or_else(|| failed("no pipe".into()))?;
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let _ = stop(service);
            return Err(failed(format!(
                "not ready after {} s; see {}",
                PATIENCE.as_secs(),
                log_path(service).display()
            )));
        }
        if !readable(pipe.as_fd(), left) {
            continue;
        }
        let mut bytes = [0; 512];
        match pipe.read(&mut bytes) {
            Ok(n) if n > 0 => said.extend_from_slice(&bytes[..n]),
            _ => {
                let _ = child.wait();
                return Err(failed(String::from_utf8_lossy(&said).trim().to_owned()));
            }
        }
        if said.starts_with(b"READY=1\n") {
            return Ok(());
        }
        if said.contains(&b'\n') {
            let _ = stop(service);
            return Err(failed(String::from_utf8_lossy(&said).trim().to_owned()));
        }
    }
}

/// Ends the supervisor and the agent, and waits until both are gone.
pub(super) fn stop(service: &Service<'_>) -> Result<(), ServiceError> {
    if !service.place.is_live() {
        return Ok(());
    }
    let locks = [supervisor_lock(service), agent_lock(service)];
    let deadline = Instant::now() + PATIENCE;
    let mut told = [0; 2];
    loop {
        let mut held = false;
        for (lock, told) in locks.iter().zip(&mut told) {
            let holder = Lock::look(lock);
            held |= holder.is_held();
            if let Some(pid) = holder.pid().filter(|pid| *pid > 1 && *told != *pid) {
                *told = pid;
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
            }
        }
        if !held {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(ServiceError::Other(format!(
                "processes {told:?} did not end within {} s",
                PATIENCE.as_secs()
            )));
        }
        // The kernel tells nobody when a lock is released.
        let _ = poll(&mut [], 10u8);
    }
}

pub(super) fn state(service: &Service<'_>) -> Option<State> {
    let supervisor = Lock::look(&supervisor_lock(service));
    let agent = Lock::look(&agent_lock(service));
    let state = match (supervisor.is_held(), agent.is_held()) {
        (_, true) => "running",
        (true, false) => "restarting",
        (false, false) => "stopped",
    };
    Some(State {
        state: state.to_owned(),
        since: None,
        pid: agent.pid(),
        enabled: Some(false),
        restarts: None,
    })
}

fn readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let timeout = PollTimeout::try_from(within.as_millis().min(60_000)).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, timeout), Ok(n) if n > 0)
}

/// The supervisor itself: `jos agent supervise`. Returns when it is told to stop; with `must_start` also when the first
/// start fails, so that an install sees why.
pub(crate) fn supervise(config: &Path, log: &Path, run_dir: &Path, must_start: bool) -> Result<(), ServiceError> {
    let other = |what: String| move |e: io::Error| ServiceError::Other(format!("{what}: {e}"));
    // A session of its own: the terminal of the install takes nothing with it. Fails where it leads one already: as well.
    let _ = nix::unistd::setsid();
    let mut folders = std::fs::DirBuilder::new();
    folders
        .recursive(true)
        .mode(0o755)
        .create(run_dir)
        .map_err(other(run_dir.display().to_string()))?;
    let _lock = Lock::take(&run_dir.join("supervisor.lock")).map_err(|e| match e {
        LockError::Held(by) => ServiceError::Other(format!("it is already supervised by {by}")),
        file => ServiceError::Other(file.to_string()),
    })?;
    let signals = Signals::install(true).map_err(other("signals".into()))?;
    let program = std::env::current_exe().map_err(other("cannot find this program".into()))?;
    let mut log = Log::open(log)?;
    let mut announced = false;
    let mut pause = SHORTEST;
    while !signals::stop_requested() {
        let started = Instant::now();
        let mut command = Command::new(&program);
        command
            .args(["agent", "run", "--config"])
            .arg(config)
            .env("JOS_SUPERVISED", "1");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ending = match command.spawn() {
            Ok(child) => attend(child, &signals, &mut log, &mut announced),
            Err(e) => format!("did not start: {e}"),
        };
        if signals::stop_requested() {
            break;
        }
        if started.elapsed() >= LONGEST {
            pause = SHORTEST;
        }
        log.line(&format!(
            "supervisor: the agent ended: {ending}; it is started again in {} s",
            pause.as_secs()
        ));
        if must_start && !announced {
            // Whoever waits for the first start learns why; the supervisor goes on only once it ran.
            let _ = writeln!(io::stdout(), "the agent ended: {ending}: {}", log.last.trim());
            return Err(ServiceError::Other(ending));
        }
        wait(&signals, pause);
        pause = (pause * 2).min(LONGEST);
    }
    Ok(())
}

/// Lets time pass; a stop ends it early, a reload too.
fn wait(signals: &Signals, pause: Duration) {
    let end = Instant::now() + pause;
    while !signals::stop_requested() && !signals::take_reload() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if readable(signals.as_fd(), left) {
            signals.drain();
        }
    }
}

/// Until the agent ends: takes its log, hands it the signals.
fn attend(mut child: Child, signals: &Signals, log: &mut Log, announced: &mut bool) -> String {
    let pid = Pid::from_raw(child.id() as i32);
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let mut told = false;
    loop {
        if signals::take_reload() {
            let _ = kill(pid, Signal::SIGHUP);
        }
        if signals::stop_requested() && !told {
            told = true;
            let _ = kill(pid, Signal::SIGTERM);
        }
        if let Ok(Some(status)) = child.try_wait() {
            if let Some(err) = &mut err {
                drain(err, log);
            }
            return status.to_string();
        }
        let ready = {
            let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(err.as_ref().map(|e| PollFd::new(e.as_fd(), PollFlags::POLLIN)));
            fds.extend(out.as_ref().map(|o| PollFd::new(o.as_fd(), PollFlags::POLLIN)));
            let _ = poll(&mut fds, PollTimeout::NONE);
            let mut hot = fds.iter().map(|f| f.any().unwrap_or(false));
            (
                hot.next(),
                err.is_some().then(|| hot.next()).flatten(),
                out.is_some().then(|| hot.next()).flatten(),
            )
        };
        if ready.0 == Some(true) {
            signals.drain();
        }
        let mut bytes = [0; 4096];
        if ready.1 == Some(true)
            && let Some(stream) = &mut err
        {
            match stream.read(&mut bytes) {
                Ok(n) if n > 0 => log.write(&bytes[..n]),
                _ => err = None,
            }
        }
        if ready.2 == Some(true)
            && let Some(stream) = &mut out
        {
            match stream.read(&mut bytes) {
                Ok(n) if n > 0 => {
                    if !*announced && bytes[..n].starts_with(b"READY=1\n") {
                        *announced = true;
                        let _ = io::stdout().write_all(b"READY=1\n").and_then(|()| io::stdout().flush());
                    }
                }
                _ => out = None,
            }
        }
    }
}

fn drain(stream: &mut (impl Read + AsFd), log: &mut Log) {
    // What the agent wrote before it ended is in the pipe. A grandchild may hold the other end open: no waiting for its end.
    let mut bytes = [0; 4096];
    while readable(stream.as_fd(), Duration::ZERO) {
        match stream.read(&mut bytes) {
            Ok(n) if n > 0 => log.write(&bytes[..n]),
            _ => return,
        }
    }
}

struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    last: String,
}

impl Log {
    fn open(path: &Path) -> Result<Self, ServiceError> {
        let failed = |e: io::Error| ServiceError::Other(format!("{}: {e}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)
                .map_err(failed)?;
        }
        let file = append(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            last: String::new(),
        })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.size + bytes.len() as u64 > LOG_LIMIT {
            let _ = std::fs::rename(&self.path, self.path.with_extension("log.1"));
            if let Ok(file) = append(&self.path) {
                self.file = file;
                self.size = 0;
            }
        }
        let _ = self.file.write_all(bytes);
        self.size += bytes.len() as u64;
        let text = String::from_utf8_lossy(bytes);
        if let Some(line) = text
            .lines()
            .rfind(|l| !l.trim().is_empty() && !l.starts_with("  help:"))
        {
            self.last = line.to_owned();
        }
    }

    fn line(&mut self, text: &str) {
        let before = self.last.clone();
        self.write(format!("{text}\n").as_bytes());
        self.last = before;
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o640).open(path)
}
