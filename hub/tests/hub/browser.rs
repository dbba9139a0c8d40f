//! A browser as far as these tests need one: it keeps the cookie, sends it, and finds the guard on the page.

use std::sync::{Mutex, PoisonError};

use jos_hub::actor::Actor;
use jos_hub::store::users::{EVERY_TENANT, Role};
use jos_hub::users;

use crate::common::{Running, agent};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The guard of the forms on it.
    pub(crate) fn guard(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"guard\" value=\"").unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    /// What is between two texts.
    pub(crate) fn between(&self, before: &str, after: &str) -> &str {
        let (_, rest) = self
            .text
            .split_once(before)
            .unwrap_or_else(|| panic!("no {before} on {}", self.text));
        rest.split_once(after).map_or(rest, |(text, _)| text)
    }
}

pub(crate) struct Browser {
    agent: ureq::Agent,
    url: String,
    cookie: Mutex<String>,
}

impl Browser {
    pub(crate) fn new(running: &Running) -> Self {
        Self {
            agent: agent(running.hub.authorities().ca().certificate(), None),
            url: format!("https://{}", running.admins()),
            cookie: Mutex::default(),
        }
    }

    /// Somebody with this role who is signed in.
    pub(crate) fn of(running: &Running, name: &str, role: Role, tenant: &str) -> Self {
        add_user(running, name, role, tenant);
        let browser = Self::new(running);
        let page = browser.sign_in(name, PASSWORD);
        assert_eq!((page.status, page.header("location")), (303, "/"), "{}", page.text);
        browser
    }

    pub(crate) fn admin(running: &Running) -> Self {
        Self::of(running, "ana", Role::Admin, EVERY_TENANT)
    }

    pub(crate) fn cookie(&self) -> String {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_cookie(&self, cookie: &str) {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = cookie.to_owned();
    }

    pub(crate) fn get(&self, path: &str) -> Page {
        self.ask("GET", path, &[], None)
    }

    /// A page that has to be there.
    pub(crate) fn page(&self, path: &str) -> String {
        let page = self.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        page.text
    }

    /// Sends the form of a page.
    pub(crate) fn send(&self, from: &str, to: &str, fields: &[(&str, &str)]) -> Page {
        let guard = self.get(from).guard();
        assert!(!guard.is_empty(), "no form on {from}");
        let fields = [fields, &[("guard", guard.as_str())]].concat();
        self.post(to, &[], &fields)
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Page {
        let escape = |text: &str| -> String { text.bytes().map(|b| format!("%{b:02X}")).collect() };
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let kind = ("content-type", "application/x-www-form-urlencoded");
        self.ask("POST", path, &[headers, &[kind]].concat(), Some(body))
    }

    pub(crate) fn sign_in(&self, name: &str, password: &str) -> Page {
        self.send("/login", "/login", &[("name", name), ("password", password)])
    }

    /// Asks, without following where it leads.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Page {
        let mut reply = self.stream(method, path, headers, body);
        let text = reply.body_mut().read_to_string().expect("text");
        Page {
            status: reply.status().as_u16(),
            headers: reply.headers().clone(),
            text,
        }
    }

    /// The same with the body still to be read.
    pub(crate) fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> ureq::http::Response<ureq::Body> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        let cookie = self.cookie();
        if !cookie.is_empty() {
            request = request.header("cookie", cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = match body {
            Some(body) => self.agent.run(request.body(body).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let reply = reply.expect("the hub answers");
        if let Some(set) = reply.headers().get("set-cookie").and_then(|set| set.to_str().ok()) {
            let pair = set.split(';').next().unwrap_or_default();
            self.set_cookie(if pair.ends_with('=') { "" } else { pair });
        }
        reply
    }
}

pub(crate) fn add_user(running: &Running, name: &str, role: Role, tenant: &str) {
    let actor = Actor("test".to_owned());
    let added = users::add(&running.hub, &actor, name, PASSWORD, tenant, role);
    running.runtime.block_on(added).expect("the user is added");
}
