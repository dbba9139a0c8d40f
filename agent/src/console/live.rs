//! Pages that follow what changes: an open page holds one stream of events, on which it is made again when the data
//! directory changed, and sent when it came out as another.
//!
//! The kernel tells of changes; nothing is looked at while nothing happens. A page that takes long to make is made less
//! often: one viewer costs at most a tenth of one thread.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jos_node::place::DataDir;
use jos_node::watch::Watch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::http;

/// Between two looks, at least.
const PACE: Duration = Duration::from_millis(150);
/// Times what a look cost, at least.
const SHARE: u32 = 10;
/// Something is sent so often: who went away without a word is noticed.
const SILENCE: Duration = Duration::from_secs(20);
/// What pages show.
const FOLDERS: [&str; 13] = [
    ".",
    "inbox",
    "claimed",
    "processed",
    "failed",
    "outbox",
    "agents",
    "tools",
    "evals",
    "schedules",
    "state/nodes",
    "state/console",
    "state/runtime/ledger",
];

/// Sends what `look` gives whenever it is another, until the browser leaves or there is nothing more to look at.
pub(super) fn follow(stream: &mut TcpStream, data: &DataDir, look: &dyn Fn() -> Option<String>) -> std::io::Result<()> {
    stream.write_all(http::stream_head().as_bytes())?;
    let (mut before, mut sent) = (None, Instant::now());
    let mut watched = Watched::start(data);
    loop {
        let began = Instant::now();
        let Some(page) = look() else {
            return stream.write_all(event("gone", "").as_bytes());
        };
        if before.as_ref() != Some(&page) {
            stream.write_all(event("page", &page).as_bytes())?;
            (before, sent) = (Some(page), Instant::now());
        }
        // Nobody is told twice in this time, however much happens.
        if left(stream, PACE.max(began.elapsed() * SHARE)) {
            return Ok(());
        }
        loop {
            if watched.renew(data) {
                break;
            }
            match watched.wait(stream) {
                Waited::Changed => break,
                Waited::Left => return Ok(()),
                Waited::Nothing if sent.elapsed() >= SILENCE => {
                    stream.write_all(b":\n\n")?;
                    sent = Instant::now();
                    // Minutes are said on pages too.
                    break;
                }
                Waited::Nothing => {}
            }
        }
    }
}

/// One event. Its data is JSON, which is one line whatever is in it: nothing that an agent said ends an event.
fn event(name: &str, text: &str) -> String {
    format!("event: {name}\ndata: {}\n\n", Value::from(text))
}

/// Whether the browser left within this time: it has nothing more to say on this connection but its end.
fn left(stream: &TcpStream, time: Duration) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout(time)).is_ok_and(|ready| ready > 0)
}

fn timeout(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_millis()).unwrap_or(PollTimeout::MAX)
}

enum Waited {
    Changed,
    Left,
    Nothing,
}

/// The folders that are there, and who tells of them.
struct Watched {
    folders: Vec<&'static str>,
    watch: Option<Watch>,
}

impl Watched {
    fn start(data: &DataDir) -> Self {
        let folders: Vec<&str> = FOLDERS
            .into_iter()
            .filter(|folder| data.path(folder).is_dir())
            .collect();
        let watch = Watch::start(data, &folders).ok();
        Self { folders, watch }
    }

    /// Begins anew when a folder came: a node makes its ledger when it runs for the first time.
    fn renew(&mut self, data: &DataDir) -> bool {
        let came = FOLDERS.into_iter().filter(|folder| data.path(folder).is_dir()).count() != self.folders.len();
        if came {
            *self = Self::start(data);
        }
        came
    }

    fn wait(&mut self, stream: &TcpStream) -> Waited {
        let mut fds = vec![PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            self.watch
                .as_ref()
                .and_then(Watch::fd)
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        // A machine that lends no more watches is looked at again and again.
        let every = self
            .watch
            .as_ref()
            .map_or(Some(Duration::from_secs(2)), |_| Watch::EVERY);
        let _ = poll(&mut fds, timeout(every.map_or(SILENCE, |every| every.min(SILENCE))));
        if fds[0].any() == Some(true) {
            return Waited::Left;
        }
        match &mut self.watch {
            None => Waited::Changed,
            Some(watch) => match watch.take() {
                Ok(seen) if seen.folders.is_empty() && !seen.lost => Waited::Nothing,
                _ => Waited::Changed,
            },
        }
    }
}
