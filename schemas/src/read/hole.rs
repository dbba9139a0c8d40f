//! Values made up for a required field that is missing, so that reading goes on and finds the next error. What was made
//! up is never seen by anybody: a document with an error is not given out.

/// Texts that between them satisfy the rules of [`crate::text`]. Numbers are 1, flags false, lists and maps empty, tables
/// have every field made up, and of variants it is the first.
const TEXTS: [&str; 9] = [
    "a",
    "/a",
    "0644",
    "2027-01-01T00:00:00Z",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "http://a.example/",
    "https://a.example/",
    "1.0.0",
    "0 0 * * *",
];

/// How many different texts can be made up.
pub(super) const CANDIDATES: usize = TEXTS.len();

/// One of them.
pub(super) fn made_up(candidate: usize) -> &'static str {
    TEXTS[candidate % CANDIDATES]
}
