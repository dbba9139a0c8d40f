//! The network half: `jos agent fetcher`, started by the plane and by nobody else.
//!
//! Descriptor 0 is the folder it may read, 1 the stream of frames (both ways), 2 the log. It hands over bytes with no
//! verdict: it parses nothing, verifies nothing, knows no key. In this build it has no network client, so its sandbox has no
//! network either; the hub's client joins here.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use jos_link::message::PROTOCOL;
use jos_link::{Decoder, FromFetcher, ToFetcher, frame};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::confine;

/// Runs until the stream ends. `file` is a name in the folder.
pub(crate) fn run(file: &str, plane_is_root: bool) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(|e| format!("parent-death signal: {e}"))?;
    // The folder is checked before anything is given up, for a clear error.
    let stdin = std::io::stdin();
    let folder = stdin.as_fd();
    let wire = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| format!("the stream: {e}"))?;
    let mut wire = UnixStream::from(wire);
    let confinement = confine::confine(folder, plane_is_root);
    let confinement = serde_json::to_value(&confinement)
        .map_err(|e| e.to_string())?
        .to_string();
    send(
        &mut wire,
        FromFetcher::Hello {
            protocol: PROTOCOL,
            confinement,
        },
    )?;
    let mut decoder = Decoder::default();
    let mut bytes = [0; 512];
    loop {
        let count = match wire.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(format!("the stream: {e}")),
        };
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let (taken, frame) = decoder.push(rest).map_err(|e| e.to_string())?;
            rest = &rest[taken..];
            if let Some(frame) = frame {
                let ToFetcher::Look { sequence } = ToFetcher::from_frame(frame).map_err(|e| e.to_string())?;
                send(&mut wire, look(folder, file, sequence))?;
            }
        }
    }
}

fn send(wire: &mut UnixStream, message: FromFetcher) -> Result<(), String> {
    let bytes = frame::encode(&message.into_frame()).map_err(|e| e.to_string())?;
    wire.write_all(&bytes).map_err(|e| format!("the stream: {e}"))
}

fn look(folder: BorrowedFd<'_>, file: &str, sequence: u32) -> FromFetcher {
    let trouble = |text: String| FromFetcher::Trouble { sequence, text };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = match openat(folder, file, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(nix::errno::Errno::ENOENT) => return FromFetcher::Nothing { sequence },
        Err(errno) => return trouble(format!("{file}: {errno}")),
    };
    match opened.metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return trouble(format!("{file}: not a regular file")),
        Err(error) => return trouble(format!("{file}: {error}")),
    }
    let mut bytes = Vec::new();
    match opened.take(frame::MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes) {
        Ok(count) if count > frame::MAX_DOCUMENT => trouble(format!("{file}: longer than {} bytes", frame::MAX_DOCUMENT)),
        Ok(_) => FromFetcher::Offer { sequence, bytes },
        Err(error) => trouble(format!("{file}: {error}")),
    }
}
