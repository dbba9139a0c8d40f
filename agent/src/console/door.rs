//! Who gets in.
//!
//! Other programs and other web sites can reach a port of this machine: a page of any site can send requests to it, and a
//! name of any site can be made to lead here. So a request is answered only where its `Host` is this address (no other
//! name leads in), its cookie is the token that was printed when the console began (nobody else has it), and, where it
//! changes something, its `Origin` is this very address and its form carries the guard of our pages.

use std::net::SocketAddr;

use super::form::Form;
use super::http::Request;

/// What one must know.
pub(super) struct Door {
    token: String,
    pub(super) guard: String,
    address: SocketAddr,
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Of somebody who is in.
    In,
    /// It brings the token: to be kept in a cookie.
    Token,
    /// It knows no token, or a wrong one.
    Stranger,
    /// Of a name that is not ours.
    OtherName,
}

impl Door {
    pub(super) fn new(token: String, guard: String, address: SocketAddr) -> Self {
        Self { token, guard, address }
    }

    /// The address to open, with the token in it.
    pub(super) fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            // Every address of the machine; this one is right here.
            address.set_ip(if address.is_ipv4() {
                [127, 0, 0, 1].into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}/?token={}", self.token)
    }

    /// The cookie's name. Cookies know no ports: two consoles on one machine would take each other's.
    fn cookie(&self) -> String {
        format!("jos-console-{}", self.address.port())
    }

    /// The cookie to be set by whoever brought the token.
    pub(super) fn set_cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie(), self.token)
    }

    /// What it is that asks.
    pub(super) fn entry(&self, request: &Request) -> Entry {
        if !request.header("host").is_some_and(|host| self.is_ours(host)) {
            return Entry::OtherName;
        }
        if request.query.get("token").is_some_and(|token| same(token, &self.token)) && !request.is_post {
            return Entry::Token;
        }
        match request.cookie(&self.cookie()) {
            Some(token) if same(token, &self.token) => Entry::In,
            _ => Entry::Stranger,
        }
    }

    /// Whether a form was sent from a page of ours.
    pub(super) fn is_from_here(&self, request: &Request, form: &Form) -> bool {
        let host = request.header("host").unwrap_or_default();
        request
            .header("origin")
            .and_then(|origin| origin.strip_prefix("http://"))
            == Some(host)
            && request
                .header("sec-fetch-site")
                .is_none_or(|site| site == "same-origin")
            && same(form.exact(jos_ui::form::GUARD), &self.guard)
    }

    /// Whether a `Host` is this address. Where it listens to others too, every address will do, but no name: only a name
    /// can be made to lead here by somebody else.
    fn is_ours(&self, host: &str) -> bool {
        let port = self.address.port();
        if host == format!("localhost:{port}") {
            return true;
        }
        host.parse::<SocketAddr>().is_ok_and(|found| {
            found.port() == port && (found.ip() == self.address.ip() || self.address.ip().is_unspecified())
        })
    }
}

/// Compares without telling by its time how much is right.
fn same(found: &str, expected: &str) -> bool {
    let differ = found.bytes().zip(expected.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    found.len() == expected.len() && !expected.is_empty() && std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_but_the_loopback_leads_in_and_of_others_only_addresses() {
        let here = |address: &str| Door::new("t".into(), "g".into(), address.parse().unwrap());
        let loopback = here("127.0.0.1:70");
        for host in ["127.0.0.1:70", "localhost:70"] {
            assert!(loopback.is_ours(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:71",
            "127.0.0.1.evil.example:70",
            "evil.example:70",
            "10.0.0.1:70",
            "",
            "[::1]:70",
        ] {
            assert!(!loopback.is_ours(host), "{host}");
        }
        let open = here("0.0.0.0:70");
        assert!(open.is_ours("10.0.0.1:70") && !open.is_ours("rebound.example:70"));
        assert_eq!(open.url(), "http://127.0.0.1:70/?token=t");
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(same("abc", "abc"));
        for wrong in ["", "ab", "abcd", "abd"] {
            assert!(!same(wrong, "abc"), "{wrong}");
        }
        assert!(!same("", ""), "nobody is let in by nothing");
    }
}
