//! What comes in by a form: limited before it is read, and taken only where it carries the guard of its session.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use jos_ui::form::GUARD;

use crate::api::body;
use crate::fault::{Done, Fault};

/// Bytes of a form, at most.
const MOST: usize = 64 << 10;

/// The fields of a form whose guard was right.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field without the white space around it; empty where it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// A field as it was typed.
    pub(super) fn exact(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A number, or what stands for an empty field.
    pub(super) fn number(&self, name: &str, otherwise: u32) -> Done<u32> {
        match self.get(name) {
            "" => Ok(otherwise),
            text => text
                .parse()
                .map_err(|_| Fault::malformed(format!("{name}: found {text:?}, expected a number"))),
        }
    }
}

/// Reads a form that was sent with `guard`.
pub(super) async fn read(headers: &HeaderMap, sent: Body, guard: &str) -> Done<Fields> {
    let bytes = body::bytes(sent, MOST).await?;
    let fields: BTreeMap<String, String> = form_urlencoded::parse(&bytes).into_owned().collect();
    if !is_from_here(headers) || !same(fields.get(GUARD).map_or("", String::as_str), guard) {
        return Err(Fault::forbidden(
            "guard",
            "this form is not from a page of your session; nothing was changed",
        )
        .help("open the page again, and send the form from there"));
    }
    Ok(Fields(fields))
}

/// Whether the browser says that the form stood on a page of ours. One that says nothing is judged by the guard alone.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    // With `Referrer-Policy: no-referrer` browsers write `null`.
    match (
        text("origin"),
        headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    ) {
        (Some("null") | None, _) => true,
        (Some(origin), Some(host)) => origin.strip_prefix("https://") == Some(host),
        (Some(_), None) => false,
    }
}

/// Compares without telling by its time how much is right.
fn same(found: &str, expected: &str) -> bool {
    let differ = |(a, b): (u8, u8)| a ^ b;
    found.len() == expected.len()
        && found
            .bytes()
            .zip(expected.bytes())
            .map(differ)
            .fold(0, |all, one| all | one)
            == 0
}
