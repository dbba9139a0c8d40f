//! The network half: `jos agent fetcher`, started by the plane and by nobody else.
//!
//! There are two of its kind, of one program: this one looks into a folder, [`net`] speaks to the hub. Descriptor 0 is the
//! folder that it may read, 1 the stream of frames (both ways), 2 the log. It hands over bytes with no verdict: it parses
//! nothing, verifies nothing, knows no key.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use jos_link::message::PROTOCOL;
use jos_link::{FromFetcher, ToFetcher, frame};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::confine::{self, Reach};
use super::net::{self, Messages, send};

/// What this process is to do.
pub(crate) enum Work<'w> {
    /// Look for a file of this name in the folder.
    File(&'w str),
    /// Speak to the hub.
    Hub,
}

/// Runs until the stream ends.
pub(crate) fn run(work: &Work<'_>, plane_is_root: bool) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(|e| format!("parent-death signal: {e}"))?;
    let wire = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| format!("the stream: {e}"))?;
    let mut wire = UnixStream::from(wire);
    let file = match work {
        Work::Hub => return net::run(wire, plane_is_root),
        Work::File(file) => file,
    };
    let stdin = std::io::stdin();
    let folder = stdin.as_fd();
    let confinement = confine::confine(&Reach::Folder(folder), plane_is_root);
    let confinement = serde_json::to_value(&confinement)
        .map_err(|e| e.to_string())?
        .to_string();
    let hello = FromFetcher::Hello {
        protocol: PROTOCOL,
        confinement,
    };
    send(&mut wire, hello)?;
    let mut messages = Messages::default();
    while let Some(message) = messages.next(&mut wire)? {
        let ToFetcher::Look { sequence } = message else {
            return Err("this half looks into a folder and does nothing else".into());
        };
        send(&mut wire, look(folder, file, sequence))?;
    }
    Ok(())
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
        Ok(count) if count > frame::MAX_DOCUMENT => {
            trouble(format!("{file}: longer than {} bytes", frame::MAX_DOCUMENT))
        }
        Ok(_) => FromFetcher::Offer { sequence, bytes },
        Err(error) => trouble(format!("{file}: {error}")),
    }
}
