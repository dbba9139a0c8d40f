//! Child processes: no terminal, no standard input, a process group of their own that is killed at the timeout.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jos_runtime::world::{Invocation, Processes, Ran};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::output::Output;

/// What a child finds programs by.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs commands by fork and exec.
pub(crate) struct System;

impl Processes for System {
    fn run(&self, invocation: &Invocation) -> Result<Ran, String> {
        let (program, arguments) = invocation.argv.split_first().ok_or("no program was named")?;
        run(program, arguments, &invocation.env, invocation.timeout, None).map_err(|e| format!("{program}: {e}"))
    }
}

/// As [`System`] runs it, its output in `file`: whoever goes on writing after this process has ended finds no closed pipe.
pub(crate) fn run_into(mut file: File, invocation: &Invocation) -> io::Result<Ran> {
    let [program, arguments @ ..] = invocation.argv.as_slice() else {
        return Err(io::Error::other("no program was named"));
    };
    let to = file.try_clone()?;
    let ran = run(program, arguments, &invocation.env, invocation.timeout, Some(to))?;
    file.seek(io::SeekFrom::Start(0))?;
    let mut output = Output::default();
    let mut buffer = [0; 4096];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => output.take(&buffer[..n]),
        }
    }
    Ok(output.of(ran.code, ran.signal, ran.timed_out))
}

fn run(
    program: &str,
    arguments: &[String],
    env: &[(String, String)],
    timeout: Duration,
    into: Option<File>,
) -> io::Result<Ran> {
    // One pipe for both streams, so that the output keeps its order.
    let (reader, writer) = io::pipe()?;
    let writer: OwnedFd = into.map_or_else(|| writer.into(), Into::into);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(env.iter().map(|(k, v)| (k, v)));
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    let mut child = command.spawn()?;
    // The command holds the pipe's writing end, and with it open the output would never end.
    drop(command);
    let mut output = Output::default();
    crate::signals::child_started(i32::try_from(child.id()).unwrap_or(0));
    let end = wait(&mut child, reader, timeout, &mut output);
    if end.is_err() || matches!(end, Ok(None)) {
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let _ = killpg(group, Signal::SIGKILL);
    }
    let timed_out = matches!(end, Ok(None));
    // Waited for in any case: a child that nobody waits for stays a zombie.
    let status = child.wait();
    crate::signals::child_ended();
    // Told to stop: what this command belongs to is neither done nor failed; the next start takes it back.
    crate::signals::leave_if_stopping();
    end?;
    let status = status?;
    Ok(output.of(status.code(), status.signal(), timed_out))
}

/// Reads until the child ends (a grandchild may keep the pipe open: that is not waited for) or time is up: `None`.
fn wait(child: &mut Child, mut pipe: io::PipeReader, timeout: Duration, output: &mut Output) -> io::Result<Option<()>> {
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let deadline = Instant::now() + timeout;
    let (mut open, mut pause) = (true, 1_u16);
    loop {
        let ended = child.try_wait()?.is_some();
        while open {
            let mut buffer = [0; 4096];
            match pipe.read(&mut buffer) {
                Ok(0) => open = false,
                Ok(n) => output.take(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        if ended {
            return Ok(Some(()));
        }
        if Instant::now() >= deadline || crate::signals::stop_requested() {
            return Ok(None);
        }
        // Output wakes at once; that a child ended without any is seen within 20 ms.
        pause = (pause * 2).min(20);
        wake(pipe.as_fd(), open, pause);
    }
}

fn wake(pipe: BorrowedFd<'_>, open: bool, milliseconds: u16) {
    let mut fds = [PollFd::new(pipe, PollFlags::POLLIN)];
    let watched = if open { &mut fds[..] } else { &mut [] };
    let _ = poll(watched, PollTimeout::from(milliseconds));
}

#[cfg(test)]
mod tests {
    use super::super::output::KEPT;
    use super::*;

    fn sh(text: &str, timeout: Duration) -> Ran {
        let argv = vec!["/bin/sh".into(), "-c".into(), text.into()];
        System
            .run(&Invocation {
                argv,
                env: vec![("X".into(), "y".into())],
                timeout,
            })
            .unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_is_captured_with_its_code_and_the_hash_of_all_its_output() {
        let ran = sh("echo out; echo err >&2; echo $X; exit 3", LONG);
        assert_eq!((ran.code, ran.timed_out), (Some(3), false));
        assert_eq!(ran.output, b"out\nerr\ny\n");
        assert_eq!(ran.output_sha256, jos_trust::sha256(b"out\nerr\ny\n").to_string());
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let started = Instant::now();
        let ran = sh("(while :; do sleep 1; done) & wait", Duration::from_millis(200));
        assert!(ran.timed_out && !ran.ok());
        assert_eq!(ran.signal, Some(9));
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn a_grandchild_that_keeps_the_output_open_is_not_waited_for() {
        let started = Instant::now();
        let ran = sh("sleep 30 & echo done", LONG);
        assert_eq!(ran.code, Some(0));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn endless_output_ends_at_the_timeout_and_takes_little_memory() {
        let ran = sh(
            "while :; do echo 0123456789012345678901234567890123456789; done",
            Duration::from_millis(300),
        );
        assert!(ran.timed_out && ran.output.len() <= 2 * KEPT + 4096);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let argv = vec!["/no/such/program".to_owned()];
        let error = System
            .run(&Invocation {
                argv,
                env: Vec::new(),
                timeout: LONG,
            })
            .unwrap_err();
        assert!(error.contains("/no/such/program"), "{error}");
    }
}
