//! The way out came back: heard from the kernel while the hub is out of reach, so that nobody waits for the end of a pause.
//!
//! ```text
//!  trouble with the hub ──► a netlink socket is open: links, addresses, routes ──► something came ──► try now
//!  well ──► it is closed: a router's routes come and go all day, and none of that is to wake an agent
//! ```
//! On OpenWrt a hotplug script does the same (`wake`); elsewhere than on Linux nothing does, and pauses end by themselves.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// From one such try to the next, at least; it doubles while the trouble lasts, so that a network that is never still does
/// not end every pause.
const FIRST: u64 = 1000;
const LONGEST: u64 = 64_000;

/// Listens while there is trouble.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    socket: Option<OwnedFd>,
    /// Something came, and was not acted upon.
    came: bool,
    /// Not before.
    next: u64,
    pause: u64,
}

impl Uplink {
    /// Opens it where there is trouble and closes it where there is none.
    pub(super) fn fit(&mut self, trouble: bool) {
        if !trouble {
            *self = Self::default();
        } else if self.socket.is_none() {
            self.pause = FIRST;
            self.socket = open()
                .inspect_err(|e| log::debug!("the kernel does not tell of links: {e}"))
                .ok();
        }
    }

    /// What to poll.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        // What has come is known: until it may be acted upon, nothing more is of interest.
        self.socket.as_ref().filter(|_| !self.came).map(AsFd::as_fd)
    }

    /// Whether to try now, because something came. `now` is any monotonic count of milliseconds.
    pub(super) fn take(&mut self, now: u64) -> bool {
        let Some(socket) = &self.socket else { return false };
        self.came |= drain(socket);
        if !self.came || now < self.next {
            return false;
        }
        self.came = false;
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }

    /// When [`Uplink::take`] has to be called again by itself.
    pub(super) fn due(&self) -> u64 {
        if self.came { self.next } else { u64::MAX }
    }
}

fn open() -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain system calls; the descriptor is new and has no other owner.
    let socket = unsafe {
        let fd = Errno::result(libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE))?;
        OwnedFd::from_raw_fd(fd)
    };
    let groups = libc::RTMGRP_LINK
        | libc::RTMGRP_IPV4_IFADDR
        | libc::RTMGRP_IPV6_IFADDR
        | libc::RTMGRP_IPV4_ROUTE
        | libc::RTMGRP_IPV6_ROUTE;
    // SAFETY: all zero is a sockaddr_nl; its length is its own.
    unsafe {
        let mut address: libc::sockaddr_nl = std::mem::zeroed();
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = groups as u32;
        let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        Errno::result(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length))?;
    }
    Ok(socket)
}

/// Takes everything that is there: whether any of it may lead out.
fn drain(socket: &OwnedFd) -> bool {
    let (mut came, mut bytes) = (false, [0; 4096]);
    loop {
        match nix::unistd::read(socket, &mut bytes) {
            Ok(count) => came |= leads_out(bytes.get(..count).unwrap_or_default()),
            Err(Errno::EINTR) => {}
            // There was more than there was room for: any of it may have been it.
            Err(Errno::ENOBUFS) => came = true,
            Err(_) => return came,
        }
    }
}

/// Whether one of these messages says that an address or a route came, or that a link has its carrier (rtnetlink(7)).
fn leads_out(mut bytes: &[u8]) -> bool {
    const HEADER: usize = 16;
    const FLAGS: usize = HEADER + 8;
    let word = |bytes: &[u8], at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    while let Some(length) = word(bytes, 0).map(u32::from_ne_bytes) {
        let kind = word(bytes, 4).map_or(0, |[a, b, ..]| u16::from_ne_bytes([a, b]));
        let flags = word(bytes, FLAGS).map_or(0, u32::from_ne_bytes);
        match kind {
            libc::RTM_NEWADDR | libc::RTM_NEWROUTE => return true,
            libc::RTM_NEWLINK if flags & libc::IFF_RUNNING as u32 != 0 && flags & libc::IFF_LOOPBACK as u32 == 0 => {
                return true;
            }
            _ => {}
        }
        // Each begins at a multiple of four.
        let next = (length as usize).next_multiple_of(4).max(HEADER);
        bytes = bytes.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: i32) -> Vec<u8> {
        let mut bytes = [32_u32.to_ne_bytes().as_slice(), &kind.to_ne_bytes(), &[0; 18]].concat();
        bytes.extend((flags as u32).to_ne_bytes());
        bytes.resize(32, 0);
        bytes
    }

    #[test]
    fn an_address_a_route_or_a_carrier_leads_out_and_their_going_does_not() {
        let up = libc::IFF_UP | libc::IFF_RUNNING;
        assert!(leads_out(&message(libc::RTM_NEWROUTE, 0)));
        assert!(leads_out(&message(libc::RTM_NEWADDR, 0)));
        assert!(leads_out(&message(libc::RTM_NEWLINK, up)));
        assert!(!leads_out(&message(libc::RTM_NEWLINK, libc::IFF_UP)), "no carrier");
        assert!(!leads_out(&message(libc::RTM_NEWLINK, up | libc::IFF_LOOPBACK)));
        for gone in [libc::RTM_DELLINK, libc::RTM_DELADDR, libc::RTM_DELROUTE] {
            assert!(!leads_out(&message(gone, up)), "{gone}");
        }
        let second = [message(libc::RTM_DELROUTE, 0), message(libc::RTM_NEWROUTE, 0)].concat();
        assert!(leads_out(&second));
    }

    #[test]
    fn what_is_no_message_of_the_kernels_ends_the_reading_and_nothing_else() {
        for length in [0_u32, 1, 15, u32::MAX] {
            let mut bytes = message(libc::RTM_DELROUTE, 0);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(!leads_out(&bytes), "{length}");
        }
        assert!(!leads_out(&[1, 2, 3]));
    }

    #[test]
    fn tries_come_at_once_and_then_further_and_further_apart_and_none_is_forgotten() {
        let mut uplink = Uplink::default();
        uplink.fit(true);
        let mut tries = Vec::new();
        for now in (0..300_000).step_by(100) {
            uplink.came = true;
            if uplink.take(now) {
                tries.push(now);
            }
        }
        assert_eq!(
            tries,
            [0, 1000, 3000, 7000, 15_000, 31_000, 63_000, 127_000, 191_000, 255_000]
        );
        assert_eq!(uplink.due(), 319_000, "what came meanwhile is acted upon then");
        uplink.fit(false);
        assert!(!uplink.take(300_000) && uplink.fd().is_none() && uplink.due() == u64::MAX);
    }
}
