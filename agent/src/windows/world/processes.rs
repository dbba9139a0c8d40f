//! Child processes on Windows: no console, no standard input, in a job object that is ended as a whole at the timeout.
#![allow(unsafe_code)]

use std::io::{self, Read};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use jos_runtime::disk::native;
use jos_runtime::world::{Invocation, Processes, Ran};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

use super::output::Output;

/// That a child ended without any output is seen within this.
const LOOK: Duration = Duration::from_millis(20);

/// Runs commands.
pub(crate) struct System;

impl Processes for System {
    fn run(&self, invocation: &Invocation) -> Result<Ran, String> {
        let (program, arguments) = invocation.argv.split_first().ok_or("no program was named")?;
        run(program, arguments, &invocation.env, invocation.timeout).map_err(|e| format!("{program}: {e}"))
    }
}

/// The system's own folder, from the system's own word for it.
fn windows() -> PathBuf {
    std::env::var_os("SystemRoot").map_or_else(|| native(Path::new("/Windows")), PathBuf::from)
}

fn command(program: &str, arguments: &[String]) -> Command {
    let system = windows().join("System32");
    let mut command = match (program, arguments) {
        // The interpreter reads its own command line and knows no quoting of arguments: /s takes what stands between the
        // first and the last quote as it is.
        ("cmd.exe", [options @ .., text]) => {
            let mut command = Command::new(system.join("cmd.exe"));
            command.args(options).raw_arg(format!("\"{text}\""));
            command
        }
        _ => {
            let mut command = Command::new(native(Path::new(program)));
            command.args(arguments);
            command
        }
    };
    let path = [
        system.clone(),
        windows(),
        system.join("Wbem"),
        system.join("WindowsPowerShell\\v1.0"),
    ];
    command
        .env_clear()
        .env("SystemRoot", windows())
        .env(
            "SystemDrive",
            native(Path::new("/")).to_string_lossy().trim_end_matches('\\'),
        )
        .env("PATH", std::env::join_paths(path).unwrap_or_default());
    command
        .current_dir(native(Path::new("/")))
        .creation_flags(CREATE_NO_WINDOW);
    command
}

fn run(program: &str, arguments: &[String], env: &[(String, String)], timeout: Duration) -> io::Result<Ran> {
    let job = Job::new()?;
    // One pipe for both streams, so that the output keeps its order.
    let (mut reader, writer) = io::pipe()?;
    let mut command = command(program, arguments);
    command.envs(env.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the pipe's writing end, and with it open the output would never end.
    drop(command);
    if let Err(e) = job.take(&child) {
        // One that has ended already needs no job.
        if child.try_wait()?.is_none() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(e);
        }
    }
    let (say, heard) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            if say.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut output = Output::default();
    let timed_out = !wait(&mut child, &heard, timeout, &mut output)?;
    if timed_out {
        job.end();
    }
    let status = child.wait()?;
    // Told to stop: what this command belongs to is neither done nor failed; the next start takes it back.
    crate::signals::leave_if_stopping();
    Ok(output.of(status.code(), None, timed_out))
}

/// Reads until the child ends (what it started may keep the pipe open: that is not waited for): false when time is up first.
fn wait(child: &mut Child, heard: &Receiver<Vec<u8>>, timeout: Duration, output: &mut Output) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    let mut open = true;
    loop {
        let ended = child.try_wait()?.is_some();
        if ended {
            // What it wrote before its end is in the pipe: it comes at once, or another process holds the pipe open.
            while let Ok(piece) = heard.recv_timeout(LOOK) {
                output.take(&piece);
            }
            return Ok(true);
        }
        if Instant::now() >= deadline || crate::signals::stop_requested() {
            return Ok(false);
        }
        if open {
            match heard.recv_timeout(LOOK) {
                Ok(piece) => output.take(&piece),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        } else {
            crate::signals::wait(LOOK);
        }
    }
}

/// All that a command started, as one: with the last handle to it, all of it ends.
struct Job(OwnedHandle);

impl Job {
    fn new() -> io::Result<Self> {
        // SAFETY: without attributes and without a name; the handle is ours from then on.
        let handle = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is open and nobody else's.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: the structure is what the class asks for, with its size.
        let set = unsafe {
            SetInformationJobObject(
                handle,
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size_of_val(&limits) as u32,
            )
        };
        if set == 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(job)
        }
    }

    fn take(&self, child: &Child) -> io::Result<()> {
        // SAFETY: both handles are open.
        let taken = unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), child.as_raw_handle()) };
        if taken == 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    fn end(&self) {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(self.0.as_raw_handle(), 1) };
    }
}
