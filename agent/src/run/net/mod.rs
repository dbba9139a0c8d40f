//! The network half that speaks to the hub: `jos agent fetcher --hub`, started by the plane and by nobody else.
//!
//! It puts one question at a time and hands over what came back, as it came: no reply is read here beyond HTTP's own
//! framing. It holds the `tls` key, in memory alone, and no other. Where it may connect to is fixed before it reads a byte
//! from outside.
//!
//! ```text
//!  plane ── Setup (addresses, CA, certificate, key) ──►  confine, Hello
//!        ── Ask(request) ──►  one connection, kept while the next question may use it  ── TLS 1.3 ──► hub
//!        ◄── Answer(reply)
//! ```

mod answer;
mod http;
pub(crate) mod setup;
pub(crate) mod tls;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use jos_link::message::PROTOCOL;
use jos_link::{Decoder, FromFetcher, Reply, ToFetcher, frame};
use jos_schemas::own;

use super::confine::{self, Reach};
use http::Lines;
use setup::Setup;

/// Runs until the stream ends.
pub(crate) fn run(mut wire: UnixStream, plane_is_root: bool) -> Result<(), String> {
    let mut messages = Messages::default();
    let Some(ToFetcher::Setup { bytes }) = messages.next(&mut wire)? else {
        return Ok(());
    };
    let setup: Setup = own::read(&bytes).map_err(|e| format!("the setup: {e}"))?;
    drop(bytes);
    let mut lines = Lines::new(&setup)?;
    let confinement = confine::confine(&Reach::Ports(setup.ports()), plane_is_root);
    let confinement = own::write(&confinement).map_err(|e| e.to_string())?;
    let hello = FromFetcher::Hello {
        protocol: PROTOCOL,
        confinement: String::from_utf8_lossy(&confinement).into_owned(),
    };
    send(&mut wire, hello)?;
    loop {
        let (sequence, reply) = match messages.next(&mut wire)? {
            None => return Ok(()),
            Some(ToFetcher::Ask { sequence, request }) => (sequence, lines.ask(&request)),
            Some(ToFetcher::Look { sequence }) => (sequence, Reply::failed("this half looks into no folder")),
            Some(ToFetcher::Setup { .. }) => return Err("a second setup".into()),
        };
        send(&mut wire, FromFetcher::Answer { sequence, reply })?;
    }
}

pub(super) fn send(wire: &mut UnixStream, message: FromFetcher) -> Result<(), String> {
    let bytes = frame::encode(&message.into_frame()).map_err(|e| e.to_string())?;
    wire.write_all(&bytes).map_err(|e| format!("the stream: {e}"))
}

/// What the plane says, one message after the other.
#[derive(Default)]
pub(super) struct Messages {
    decoder: Decoder,
    rest: Vec<u8>,
}

impl Messages {
    /// The next one; none when the stream has ended.
    pub(super) fn next(&mut self, wire: &mut UnixStream) -> Result<Option<ToFetcher>, String> {
        loop {
            let (taken, frame) = self.decoder.push(&self.rest).map_err(|e| e.to_string())?;
            self.rest.drain(..taken);
            if let Some(frame) = frame {
                return ToFetcher::from_frame(frame).map(Some).map_err(|e| e.to_string());
            }
            let mut bytes = [0; 8192];
            match wire.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(count) => self.rest.extend_from_slice(&bytes[..count]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("the stream: {e}")),
            }
        }
    }
}
