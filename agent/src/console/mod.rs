//! The console: what a node is at, and what can be asked of it, in a browser on this machine.
//!
//! Owns the listening socket of `jos console`, who is let in ([`door`]), the pages and how they follow what happens. It is
//! beside a node, not in one: what it shows it reads from the data directory, and what it changes goes the way of the
//! commands, a file in `inbox/`, in `agents/`, in `schedules/`, or the very command itself ([`tasks`]). It listens to this
//! machine alone unless it is told otherwise, and answers nobody who does not have its token.
//!
//! A thread for each connection, each connection for one request: a browser on this machine needs no more, and the program
//! needs no runtime for it. The look is the hub's (`jos_ui`).

mod door;
mod form;
mod frame;
mod http;
mod index;
mod install;
mod live;
mod log;
mod pages;
mod tasks;

use std::io::{self, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jos_node::join::Outside;
use jos_node::models::Echo;
use jos_node::place::DataDir;
use jos_node::queue::Queue;
use jos_node::registry::{Means, Registry};
use jos_ui::shell::Page;
use jos_ui::{Tone, assets, html, parts};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use door::{Door, Entry};
use frame::Wrong;
use http::{Reply, Request, Unread};

/// Connections at a time.
const MOST: usize = 128;
/// What is still coming of a request that was refused is taken for this long, so that the reply arrives.
const DRAIN: Duration = Duration::from_secs(1);

/// What the pages share.
pub(crate) struct Console {
    data: DataDir,
    queue: Queue,
    outside: Outside,
    registry: Registry,
    door: Door,
    log: log::Log,
    replay: Arc<tasks::Task>,
    evals: Arc<tasks::Task>,
    /// What was just done, for the next page.
    said: std::sync::Mutex<Option<(Tone, String)>>,
    connections: AtomicUsize,
}

/// A socket that listens, and who answers on it.
pub(crate) struct Server {
    listener: TcpListener,
    console: Arc<Console>,
}

impl Server {
    /// Listens on an address. `means` say how the agents and tools that it lists are read.
    pub(crate) fn bind(
        address: SocketAddr,
        data: DataDir,
        queue: Queue,
        outside: Outside,
        means: Means,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        std::fs::create_dir_all(data.path("state/console"))?;
        let door = Door::new(outside.hex(32), outside.hex(32), listener.local_addr()?);
        let console = Console {
            // Nothing is asked of a model here.
            registry: Registry::new(
                data.root(),
                Means {
                    model: Arc::new(Echo),
                    ..means
                },
            ),
            data,
            queue,
            outside,
            door,
            log: log::Log::default(),
            replay: tasks::Task::new("replay"),
            evals: tasks::Task::new("evals"),
            said: std::sync::Mutex::default(),
            connections: AtomicUsize::new(0),
        };
        Ok(Self {
            listener,
            console: Arc::new(console),
        })
    }

    /// The address to open, with its token.
    pub(crate) fn url(&self) -> String {
        self.console.door.url()
    }

    /// Answers until `signal` can be read and `stopping` says so.
    pub(crate) fn serve(&self, signal: BorrowedFd<'_>, stopping: &dyn Fn() -> bool) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(signal, PollFlags::POLLIN),
                PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            ];
            let _ = poll(&mut fds, PollTimeout::NONE);
            if stopping() {
                return Ok(());
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.answer(stream),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => {
                    // Out of descriptors, say: whoever holds them lets them go.
                    ::log::warn!("a connection was not taken: {e}");
                    let _ = poll(&mut fds[..1], PollTimeout::from(200_u8));
                }
            }
        }
    }

    fn answer(&self, mut stream: TcpStream) {
        if stream.set_nonblocking(false).is_err() {
            return;
        }
        let console = Arc::clone(&self.console);
        if console.connections.fetch_add(1, Ordering::Relaxed) >= MOST {
            console.connections.fetch_sub(1, Ordering::Relaxed);
            let _ = Reply::plain(503).send(&mut stream);
            return;
        }
        let counted = Counted(console);
        let thread = std::thread::Builder::new().name("console".into());
        if let Err(e) = thread.spawn(move || counted.0.connection(stream)) {
            ::log::warn!("no thread for a connection: {e}");
        }
    }
}

/// A connection, counted while it lasts.
struct Counted(Arc<Console>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Console {
    fn now(&self) -> i64 {
        (self.outside.now)()
    }

    /// The agents and tools as they are now.
    fn registry(&self) -> &Registry {
        if let Err(e) = self.registry.refresh() {
            ::log::warn!("{e}");
        }
        &self.registry
    }

    fn say(&self, tone: Tone, text: impl Into<String>) {
        *self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((tone, text.into()));
    }

    fn connection(&self, mut stream: TcpStream) {
        let reply = match http::read(&mut stream) {
            Err(Unread::Gone) => return,
            Err(Unread::Refused(status)) => Reply::plain(status),
            Ok(request) => match self.reply(&request) {
                Some(reply) => reply,
                None => {
                    let look = || {
                        let page = pages::show(self, &request).ok()?;
                        Some(frame::fragment(self, &request, &page))
                    };
                    // An end is a browser that left.
                    let _ = live::follow(&mut stream, &self.data, &look);
                    return;
                }
            },
        };
        if reply.send(&mut stream).is_ok() {
            finish(&mut stream);
        }
    }

    /// The reply to a request; none where it is a page that follows itself.
    fn reply(&self, request: &Request) -> Option<Reply> {
        match self.door.entry(request) {
            Entry::OtherName => return Some(Reply::plain(421)),
            Entry::Token => {
                // The token leaves the address at once: what is copied or kept from there on does not hold it.
                return Some(Reply::see("/").with("set-cookie", self.door.set_cookie()));
            }
            Entry::Stranger if !is_asset(request) => return Some(stranger()),
            Entry::Stranger | Entry::In => {}
        }
        if let ["assets", name] = words(request)[..] {
            return Some(asset(name));
        }
        if request.is_post {
            return Some(self.post(request));
        }
        match request.header("accept") {
            Some("text/event-stream") => pages::show(self, request)
                .err()
                .map(|wrong| frame::wrong(self, request, &wrong)),
            _ => Some(match pages::show(self, request) {
                Ok(page) => {
                    let said = self
                        .said
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .take();
                    frame::document(self, request, page.saying(said), 200)
                }
                Err(wrong) => frame::wrong(self, request, &wrong),
            }),
        }
    }

    fn post(&self, request: &Request) -> Reply {
        let kind = request.header("content-type").unwrap_or_default();
        let Some(form) = form::Form::read(kind, &request.body) else {
            return frame::wrong(
                self,
                request,
                &Wrong::refused("This is no form that a page here sends."),
            );
        };
        if !self.door.is_from_here(request, &form) {
            let message = "This form is not from a page of this console; nothing was changed. Open the page again, and send it from there.";
            return frame::wrong(
                self,
                request,
                &Wrong {
                    status: 403,
                    message: message.into(),
                },
            );
        }
        if words(request) == ["tour"] {
            return Reply::see("/").with("set-cookie", frame::ended());
        }
        match pages::change(self, request, &form) {
            Ok(path) => Reply::see(&path),
            // The page again, as it was filled in, with why not.
            Err(wrong) => match pages::again(self, request, &form) {
                Some(page) => frame::document(
                    self,
                    request,
                    page.saying(Some((Tone::Bad, wrong.message))),
                    wrong.status,
                ),
                None => frame::wrong(self, request, &wrong),
            },
        }
    }
}

/// A request's path as words.
fn words(request: &Request) -> Vec<&str> {
    request.path.iter().map(String::as_str).collect()
}

/// Whether it asks for what is the same in every copy of this program.
fn is_asset(request: &Request) -> bool {
    !request.is_post && matches!(words(request)[..], ["assets", _])
}

fn asset(name: &str) -> Reply {
    let Some(asset) = assets::find(name) else {
        return Reply::plain(404);
    };
    Reply {
        status: 200,
        headers: vec![
            ("content-type", asset.kind.into()),
            // Its name changes with its content.
            ("cache-control", "public, max-age=31536000, immutable".into()),
        ],
        body: asset.content.as_bytes().to_vec(),
    }
}

/// What somebody without the token sees.
fn stranger() -> Reply {
    let body = html! {
        (parts::notice(Tone::Warn, &html! { "This console does not know this browser." }))
        p { "Open the address that " code { "jos console" } " printed when it began: it has a token in it, which nobody else knows." }
        p { "Is that window gone? End it and start " code { "jos console" } " again." }
    };
    frame::alone(401, "Who is there?", body)
}

/// Ends a connection so that its reply arrives: bytes that nobody read would reset it.
fn finish(stream: &mut TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let deadline = Instant::now() + DRAIN;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}

/// A page under its introduction.
fn page(title: &str, intro: &str, body: jos_ui::Markup) -> Page {
    Page::new(title, html! { (parts::intro(&html! { (intro) })) (body) }).live()
}
