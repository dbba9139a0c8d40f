//! The line to the hub: the plane's end of the network half that speaks to it.
//!
//! One question is on its way at a time. The loop's is put and waited for beside everything else ([`Line::put`],
//! [`Line::take`]); what the plane needs at once (content, whether the hub answers) is asked and waited for here
//! ([`Line::ask`]), and a question that waits for news gives way to it. A half that breaks the protocol, says what it was not
//! asked, or takes too long is ended: the next question starts another.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use jos_link::{FromFetcher, Reply, Request, ToFetcher};
use jos_runtime::world::Hub;
use jos_schemas::own;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::confine::{self, Mechanism};
use super::half::Half;
use super::net::setup::Setup;

/// What the half itself may take for any question, at most, besides what the question grants: it gives up before that.
pub(super) const PATIENCE: Duration = Duration::from_secs(330);

/// From its start to its hello.
const HELLO: Duration = Duration::from_secs(15);

/// See the module. Cheap to clone: all clones are one line.
#[derive(Clone, Default)]
pub(crate) struct Line(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    setup: Option<Setup>,
    user: Option<String>,
    /// Policy wants it confined.
    strict: bool,
    half: Option<Half>,
    confinement: Vec<Mechanism>,
    /// Bytes a second at which content comes, at most.
    rate: Option<u64>,
    sequence: u32,
    /// A question is on its way; its reply must be here by then.
    asked: Option<Instant>,
    starts: u64,
    /// What starts a half in a test.
    #[cfg(test)]
    starter: Option<Box<dyn Fn() -> Half>>,
}

/// What a half said that ends it.
type Broken = String;

impl Line {
    /// Leads to this hub from now on; a half that was set up otherwise is ended.
    pub(crate) fn lead(&self, setup: Option<Setup>, user: Option<&str>, strict: bool) {
        let mut inner = self.0.borrow_mut();
        inner.strict = strict;
        if inner.setup != setup || inner.user.as_deref() != user {
            inner.end();
            inner.setup = setup;
            inner.user = user.map(str::to_owned);
        }
    }

    /// For tests: halves come from here.
    #[cfg(test)]
    pub(crate) fn start_by(&self, starter: impl Fn() -> Half + 'static) {
        self.0.borrow_mut().starter = Some(Box::new(starter));
    }

    /// For tests: until the half says something, or a moment.
    #[cfg(test)]
    pub(crate) fn wait_a_little(&self) {
        if let Some(half) = &self.0.borrow().half {
            heed(half, Duration::from_millis(50));
        }
    }

    /// Whether it leads there.
    pub(crate) fn leads_as(&self, setup: &Setup) -> bool {
        // The floor rises with every word of the hub's; that is no reason to begin anew.
        self.0.borrow().setup.as_ref().is_some_and(|ours| {
            Setup {
                floor: setup.floor,
                ..ours.clone()
            } == *setup
        })
    }

    /// Whether it leads anywhere.
    pub(crate) fn leads(&self) -> bool {
        self.0.borrow().setup.is_some()
    }

    /// Puts a question; its reply comes by [`Line::take`].
    pub(crate) fn put(&self, request: &Request) -> Result<(), Broken> {
        let mut inner = self.0.borrow_mut();
        let put = inner.put(request, PATIENCE + Duration::from_secs(request.wait.into()));
        if put.is_err() {
            inner.end();
        }
        put
    }

    /// Whether a question is on its way.
    pub(crate) fn is_asking(&self) -> bool {
        self.0.borrow().asked.is_some()
    }

    /// Milliseconds until the reply to what was asked is late.
    pub(crate) fn patience(&self) -> u64 {
        let until = self.0.borrow().asked;
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The reply, where it is here; a failure where it will not come any more.
    pub(crate) fn take(&self) -> Option<Reply> {
        let mut inner = self.0.borrow_mut();
        inner.asked?;
        match inner.take() {
            Ok(None) if inner.asked.is_some_and(|until| Instant::now() >= until) => {
                inner.end();
                Some(Reply::failed("the network half did not answer in time"))
            }
            Ok(reply) => reply,
            Err(why) => {
                inner.end();
                Some(Reply::failed(format!("the network half: {why}")))
            }
        }
    }

    /// What to poll for its reply.
    pub(crate) fn heard(&self) -> Option<OwnedFd> {
        let inner = self.0.borrow();
        let half = inner.asked.and(inner.half.as_ref())?;
        half.as_fd().try_clone_to_owned().ok()
    }

    /// Puts a question at once and waits for its reply.
    pub(crate) fn ask(&self, request: &Request, limit: Duration) -> Reply {
        let until = Instant::now() + limit;
        if self.is_asking() {
            self.end();
        }
        let put = self.0.borrow_mut().put(request, limit);
        if let Err(why) = put {
            self.end();
            return Reply::failed(why);
        }
        loop {
            if let Some(reply) = self.take() {
                return reply;
            }
            let left = until.saturating_duration_since(Instant::now());
            if let Some(half) = &self.0.borrow().half {
                heed(half, left);
            }
            crate::signals::leave_if_stopping();
        }
    }

    /// Ends the half; the next question starts another, with the name servers and routes of then.
    pub(crate) fn end(&self) {
        self.0.borrow_mut().end();
    }

    /// How it is confined, as it said itself.
    pub(crate) fn confinement(&self) -> Vec<Mechanism> {
        self.0.borrow().confinement.clone()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.0.borrow().half.as_ref().map(Half::pid)
    }

    /// How many halves there were.
    pub(crate) fn starts(&self) -> u64 {
        self.0.borrow().starts
    }

    /// Bytes a second at which content comes, at most.
    pub(crate) fn limit(&self, rate: Option<u64>) {
        self.0.borrow_mut().rate = rate;
    }

    pub(super) fn rate(&self) -> Option<u64> {
        self.0.borrow().rate
    }

    /// How many addresses the hub has.
    pub(super) fn addresses(&self) -> u8 {
        let inner = self.0.borrow();
        let count = inner.setup.as_ref().map_or(0, |s| s.addresses.len());
        u8::try_from(count).unwrap_or(u8::MAX)
    }
}

impl Inner {
    fn start(&self) -> Result<Half, Broken> {
        #[cfg(test)]
        if let Some(starter) = &self.starter {
            return Ok(starter());
        }
        Half::start_for_hub(self.user.as_deref())
    }

    fn put(&mut self, request: &Request, limit: Duration) -> Result<(), Broken> {
        let setup = self.setup.as_ref().ok_or("no hub is known")?;
        if self.half.is_none() {
            let mut half = self.start()?;
            let bytes = own::write(setup).map_err(|e| e.to_string())?;
            half.send(&ToFetcher::Setup { bytes })?;
            self.starts += 1;
            // It is asked nothing before it has said how it is confined, and that is enough.
            self.confinement = hello(&mut half)?;
            let missing = confine::missing(&self.confinement);
            if self.strict && !missing.is_empty() {
                let missing = missing.join(", ");
                return Err(format!(
                    "it is not confined, and policy has require_confinement: {missing}"
                ));
            }
            self.half = Some(half);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let ask = ToFetcher::Ask {
            sequence: self.sequence,
            request: request.clone(),
        };
        let half = self.half.as_mut().ok_or("there is no network half")?;
        half.send(&ask)?;
        self.asked = Some(Instant::now() + limit);
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Reply>, Broken> {
        let half = self.half.as_mut().ok_or("it is gone")?;
        let mut reply = None;
        for message in half.take()? {
            match message {
                FromFetcher::Answer { sequence, reply: came } if sequence == self.sequence && reply.is_none() => {
                    reply = Some(came);
                }
                FromFetcher::Hello { .. }
                | FromFetcher::Answer { .. }
                | FromFetcher::Offer { .. }
                | FromFetcher::Nothing { .. }
                | FromFetcher::Trouble { .. } => return Err("it says what it was not asked".into()),
            }
        }
        if reply.is_some() {
            self.asked = None;
        }
        Ok(reply)
    }

    fn end(&mut self) {
        (self.half, self.asked) = (None, None);
    }
}

/// The first thing that a half says.
fn hello(half: &mut Half) -> Result<Vec<Mechanism>, Broken> {
    let until = Instant::now() + HELLO;
    loop {
        match half.take()?.pop() {
            Some(FromFetcher::Hello { protocol, confinement }) if protocol == jos_link::message::PROTOCOL => {
                return Ok(own::read(confinement.as_bytes()).unwrap_or_default());
            }
            Some(FromFetcher::Hello { protocol, .. }) => return Err(format!("it speaks protocol {protocol}")),
            Some(_) => return Err("it says what it was not asked".into()),
            None => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it does not say hello".into());
        }
        heed(half, left);
        crate::signals::leave_if_stopping();
    }
}

/// Until the half says something, or so long.
fn heed(half: &Half, left: Duration) {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let timeout = PollTimeout::try_from(millis.min(1000)).unwrap_or(PollTimeout::MAX);
    // An interrupted poll is a signal: whoever waits looks.
    let _ = poll(&mut [PollFd::new(half.as_fd(), PollFlags::POLLIN)], timeout);
}

impl Hub for Line {
    fn reachable(&self, timeout: Duration) -> Result<(), String> {
        let until = Instant::now() + timeout;
        let mut why = "the hub has no address".to_owned();
        for address in 0..self.addresses() {
            // Another process: what it may read of name servers is fixed at its start.
            self.end();
            let request = Request {
                address,
                ..Request::probe()
            };
            let left = until.saturating_duration_since(Instant::now());
            match self.ask(&request, left.max(Duration::from_secs(1))) {
                // Any word of the hub's own is an answer; a server that stands in its place and fails is none.
                Reply::Answer { status, .. } if status < 500 => return Ok(()),
                Reply::Answer { status, .. } => why = format!("it answered {status}"),
                Reply::Failed { text, .. } => why = text,
            }
        }
        Err(why)
    }
}
