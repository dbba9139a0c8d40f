//! The plane's end of the network half: starting it with nothing but what it needs, and its stream.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jos_link::{Decoder, FromFetcher, ToFetcher, frame};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, User};

/// A running network half.
pub(crate) struct Half {
    child: Child,
    wire: UnixStream,
    decoder: Decoder,
}

impl Half {
    /// Starts it over `folder/file`, as `user` when this process is root.
    pub(crate) fn start(folder: &Path, file: &str, user: Option<&str>) -> Result<Self, String> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder: OwnedFd = open(folder, flags, Mode::empty()).map_err(|e| format!("{}: {e}", folder.display()))?;
        Self::spawn(Stdio::from(folder), &["--file", file], user)
    }

    /// Starts the one that speaks to the hub; its setup is the first that is sent to it.
    pub(crate) fn start_for_hub(user: Option<&str>) -> Result<Self, String> {
        Self::spawn(Stdio::null(), &["--hub"], user)
    }

    fn spawn(input: Stdio, words: &[&str], user: Option<&str>) -> Result<Self, String> {
        let failed = |what: &str, e: io::Error| format!("{what}: {e}");
        let (ours, theirs) = UnixStream::pair().map_err(|e| failed("a stream", e))?;
        ours.set_nonblocking(true).map_err(|e| failed("a stream", e))?;
        let mut command = Command::new(program()?);
        let root = Uid::effective().is_root();
        command
            .arg0("jos")
            .args(["agent", "fetcher"])
            .args(words)
            .env_clear()
            .current_dir("/");
        if root {
            command.arg("--of-root");
        }
        command
            .stdin(input)
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::inherit());
        if let Some(user) = network_user(user)?.filter(|_| root) {
            // std drops the supplementary groups as well when root changes the user.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let child = command
            .spawn()
            .map_err(|e| failed("cannot start the network half", e))?;
        Ok(Self {
            child,
            wire: ours,
            decoder: Decoder::default(),
        })
    }

    /// For tests: somebody else's end of a stream in its place.
    #[cfg(test)]
    pub(crate) fn of(wire: UnixStream) -> Self {
        wire.set_nonblocking(true).expect("a stream");
        let child = Command::new("true").spawn().expect("a process");
        Self {
            child,
            wire,
            decoder: Decoder::default(),
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a message. A stream that is full is as good as a hanging peer.
    pub(crate) fn send(&mut self, message: &ToFetcher) -> Result<(), String> {
        let bytes = frame::encode(&message.to_frame()).map_err(|e| e.to_string())?;
        self.wire.write_all(&bytes).map_err(|e| e.to_string())
    }

    /// Takes what it sent. An error is the end of it: no frame after a broken one can be found.
    pub(crate) fn take(&mut self) -> Result<Vec<FromFetcher>, String> {
        let mut all = Vec::new();
        let mut bytes = [0; 8192];
        loop {
            let count = match self.wire.read(&mut bytes) {
                Ok(0) => {
                    return Err(if self.decoder.is_torn() {
                        "it ended within a frame"
                    } else {
                        "it ended"
                    }
                    .into());
                }
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(all),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.to_string()),
            };
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let (taken, frame) = self.decoder.push(rest).map_err(|e| e.to_string())?;
                rest = &rest[taken..];
                if let Some(frame) = frame {
                    all.push(FromFetcher::from_frame(frame).map_err(|e| e.to_string())?);
                    if all.len() > 8 {
                        return Err("it says more than it was asked".into());
                    }
                }
            }
        }
    }
}

impl AsFd for Half {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This very program, also when a package upgrade has replaced the file meanwhile.
pub(super) fn program() -> Result<std::path::PathBuf, String> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))
}

/// The user of the network half: the configured one must exist; else `jos`, else `nobody`, else none.
fn network_user(configured: Option<&str>) -> Result<Option<User>, String> {
    let find = |name: &str| User::from_name(name).ok().flatten();
    match configured {
        Some(name) => match find(name) {
            Some(user) => Ok(Some(user)),
            None => Err(format!("network_user: no user is called {name:?}")),
        },
        None => Ok(find("jos").or_else(|| find("nobody"))),
    }
}
