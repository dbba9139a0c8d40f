//! The one visual language of jos' pages: the shell around every page, the parts that pages are made of, charts drawn on
//! the server, and the style and script that go with them.
//!
//! Owns: how things look and how a page that is open follows what changes. It asks nobody for anything and decides nothing:
//! whoever serves a page gathers what is on it, and says who may see it.
//!
//! Everything is written as [`maud`] functions over plain values, so that whatever a device said about itself is text by
//! construction: there is no way here to hand in markup as a string. The style and the script are files of their own, inside
//! the program: a page needs no network, no build step, and a content security policy without exceptions.

pub mod assets;
pub mod chart;
pub mod form;
pub mod parts;
pub mod shell;
pub mod tone;
pub mod words;

pub use maud::{Markup, html};
pub use tone::Tone;
