//! The pipes to a program: lines out, lines in, each with its limits; what it writes to standard error is kept for a message.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use jos_node::agents::program::Talk;
use jos_node::contract::AgentError;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes of a line: a file's content as JSON, at its longest.
const LINE: usize = 8 << 20;
/// Bytes in all.
const FLOOD: usize = 32 << 20;
/// Bytes of standard error that are kept.
const KEPT: usize = 2000;

/// A program that was started.
pub(super) struct Started {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: Option<ChildStderr>,
    time: Duration,
    left: Duration,
    heard: Vec<u8>,
    /// Of `heard`, how many bytes hold no newline.
    searched: usize,
    total: usize,
    complaint: Vec<u8>,
    ended: bool,
}

impl Started {
    pub(super) fn new(mut child: Child, time: Duration) -> Result<Self, AgentError> {
        let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = taken else {
            return Err(AgentError::Failed("it has no streams".into()));
        };
        for stream in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            fcntl(stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| failed(&e.into()))?;
        }
        Ok(Self {
            child,
            input,
            output,
            errors: Some(errors),
            time,
            left: time,
            heard: Vec::new(),
            searched: 0,
            total: 0,
            complaint: Vec::new(),
            ended: false,
        })
    }

    /// Waits until something can be read, or written where that is wanted; takes the time from what is left.
    fn wait(&mut self, writes: bool) -> Result<(), AgentError> {
        if self.left.is_zero() {
            return Err(AgentError::Limit(format!(
                "it did not answer within {} s",
                self.time.as_secs()
            )));
        }
        let begun = Instant::now();
        let timeout = PollTimeout::try_from(self.left).unwrap_or(PollTimeout::MAX);
        let mut all = Vec::with_capacity(3);
        if !self.ended {
            all.push(PollFd::new(self.output.as_fd(), PollFlags::POLLIN));
        }
        if let Some(errors) = &self.errors {
            all.push(PollFd::new(errors.as_fd(), PollFlags::POLLIN));
        }
        if writes {
            all.push(PollFd::new(self.input.as_fd(), PollFlags::POLLOUT));
        }
        let polled = poll(&mut all, timeout);
        self.left = self.left.saturating_sub(begun.elapsed().max(Duration::from_micros(1)));
        match polled {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(e) => Err(failed(&e.into())),
        }
    }

    /// Takes what is there, of both streams.
    fn take(&mut self) -> Result<(), AgentError> {
        let mut bytes = [0; 16 * 1024];
        if let Some(errors) = &mut self.errors {
            match errors.read(&mut bytes) {
                Ok(0) => self.errors = None,
                Ok(count) => {
                    self.total += count;
                    let room = KEPT.saturating_sub(self.complaint.len());
                    self.complaint.extend_from_slice(&bytes[..count.min(room)]);
                }
                Err(e) if is_not_yet(&e) => {}
                Err(e) => return Err(failed(&e)),
            }
        }
        if !self.ended {
            match self.output.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.total += count;
                    self.heard.extend_from_slice(&bytes[..count]);
                }
                Err(e) if is_not_yet(&e) => {}
                Err(e) => return Err(failed(&e)),
            }
        }
        if self.total > FLOOD {
            return Err(AgentError::Limit(format!("it wrote more than {FLOOD} bytes")));
        }
        Ok(())
    }

    /// A line that was heard whole already.
    fn line(&mut self) -> Result<Option<String>, AgentError> {
        let Some(at) = self.heard[self.searched..].iter().position(|b| *b == b'\n') else {
            self.searched = self.heard.len();
            if self.searched > LINE {
                return Err(AgentError::Limit(format!("a line of more than {LINE} bytes")));
            }
            return Ok(None);
        };
        let end = self.searched + at;
        let line = String::from_utf8(self.heard[..end].to_vec());
        self.heard.drain(..=end);
        self.searched = 0;
        line.map(Some)
            .map_err(|_| AgentError::Failed("it said something that is not UTF-8".into()))
    }
}

impl Talk for Started {
    fn say(&mut self, line: &str) -> Result<(), AgentError> {
        let bytes = [line.as_bytes(), b"\n"].concat();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.input.write(rest) {
                Ok(count) => rest = &rest[count..],
                // It talks while it is talked to: what it says is taken meanwhile, or both would wait for ever.
                Err(e) if is_not_yet(&e) => {
                    self.wait(true)?;
                    self.take()?;
                }
                // It ended. What it said before may still be heard.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(e) => return Err(failed(&e)),
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<Option<String>, AgentError> {
        loop {
            if let Some(line) = self.line()? {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            self.wait(false)?;
            self.take()?;
        }
    }

    fn ending(&mut self) -> String {
        // What it complained of comes with its end; a program that closed its output and lives on is not waited for.
        while self.errors.is_some() && self.wait(false).is_ok() && self.take().is_ok() {}
        let _ = self.child.kill();
        let status = self
            .child
            .wait()
            .map_or_else(|e| e.to_string(), |status| status.to_string());
        let complaint = String::from_utf8_lossy(&self.complaint);
        match complaint.trim() {
            "" => status,
            complaint => format!("{status}: {complaint}"),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn failed(error: &io::Error) -> AgentError {
    AgentError::Failed(format!("its streams: {error}"))
}
