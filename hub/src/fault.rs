//! What a request comes to when it is not done: one shape, one map to HTTP.
//!
//! The message says what was found and what was expected. What went wrong inside the hub is logged, not sent.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jos_link::wire::{Problem, code};
use jos_schemas::report::Report;
use serde_json::Value;

use crate::ca::CaError;
use crate::random;
use crate::store::StoreError;

/// Seconds after which a hub that had too much to do is asked again, at least.
const BUSY: u32 = 5;
/// And so many more, by lot.
const BUSY_SPREAD: u32 = 15;

/// A refusal or a failure.
#[derive(Clone, Debug)]
pub struct Fault {
    status: StatusCode,
    problem: Box<Problem>,
    retry_after: Option<u32>,
    /// For the log.
    cause: Option<String>,
    /// The database had no room for it.
    no_room: bool,
}

/// What an operation comes to.
pub type Done<T> = Result<T, Fault>;

impl Fault {
    /// A refusal of this status under a stable code.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            problem: Box::new(Problem {
                code: code.to_owned(),
                message: message.into(),
                help: None,
                details: Value::Null,
            }),
            retry_after: None,
            cause: None,
            no_room: false,
        }
    }

    /// 400: the request is not what this path takes.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::MALFORMED, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code::NOT_FOUND, message)
    }

    /// 409: it does not fit what is there.
    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 403.
    pub fn forbidden(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 422: signed content that is not accepted.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 503: not now, again in some seconds; each reply says another number of them.
    pub fn busy() -> Self {
        let fault = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            code::BUSY,
            "the hub has more to do than it can",
        );
        fault.retry_after(BUSY)
    }

    /// 500: something broke inside; `cause` goes to the log.
    pub fn inside(cause: impl Into<String>) -> Self {
        let mut fault = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the hub could not do it; its log says why",
        );
        fault.cause = Some(cause.into());
        fault
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.problem.help = Some(help.into());
        self
    }

    /// Adds what scripts read.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.problem.details = details;
        self
    }

    /// Says when to come again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// In how many seconds to come again.
    pub fn retry_in(&self) -> Option<u32> {
        self.retry_after
    }

    /// Its stable code.
    pub fn code(&self) -> &str {
        &self.problem.code
    }

    /// What is sent.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Whether it was not done for want of room on the database's disk.
    pub fn is_no_room(&self) -> bool {
        self.no_room
    }

    /// What is logged only.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.cause.as_deref().unwrap_or(&self.problem.message))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        // Full, locked and away pass; the device comes again and nothing of its own is lost.
        if error.passes() {
            let mut fault = Self::busy();
            fault.cause = Some(text);
            fault.no_room = error.has_no_room();
            if fault.no_room {
                "the hub has no room to write; nothing of this was kept".clone_into(&mut fault.problem.message);
            }
            return fault;
        }
        if error.is_no_text() {
            return Self::malformed("found a text with a zero byte in it, expected none");
        }
        Self::inside(text)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<CaError> for Fault {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Request(_) => Self::malformed(error.to_string()),
            CaError::Own { .. } => Self::inside(error.to_string()),
        }
    }
}

impl From<Report> for Fault {
    fn from(report: Report) -> Self {
        // What stood in the body may be a secret: it is not sent back.
        Self::malformed(report.without_content().to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(code = self.problem.code, cause, "a request failed");
        }
        let mut response = (self.status, Json(&*self.problem)).into_response();
        if let Some(seconds) = self.retry_after {
            // Many are told so in the same moment, some of them by one fault: they do not come back in one.
            let more = if self.problem.code == code::BUSY {
                random::up_to(BUSY_SPREAD)
            } else {
                0
            };
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds + more));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn told(fault: &Fault) -> u32 {
        let reply = fault.clone().into_response();
        let after = reply.headers()[header::RETRY_AFTER].to_str().expect("digits");
        after.parse().expect("a number")
    }

    #[test]
    fn a_crowd_that_one_fault_refuses_is_told_to_come_back_one_after_the_other() {
        let fault = Fault::busy();
        let all: BTreeSet<u32> = (0..400).map(|_| told(&fault)).collect();
        assert_eq!(all, (BUSY..=BUSY + BUSY_SPREAD).collect());
        // What names its own time is told that time.
        let own = Fault::conflict("x", "y").retry_after(7);
        assert_eq!(told(&own), 7);
    }
}
