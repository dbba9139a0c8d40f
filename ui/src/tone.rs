//! What a colour means. There are five, and each has a shape as well: whoever does not see the colour sees the shape.

use maud::{Markup, Render, html};

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody should look, soon.
    Warn,
    /// Somebody should look now.
    Bad,
    /// Nothing to say.
    Quiet,
}

impl Tone {
    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

impl Render for Tone {
    /// The mark: a full disc, a half one, a triangle, a square, a ring.
    fn render(&self) -> Markup {
        html! {
            svg class={ "mark " (self.class()) } viewBox="0 0 12 12" aria-hidden="true" {
                @match self {
                    Self::Good => circle cx="6" cy="6" r="5" {},
                    Self::Busy => {
                        circle class="ring" cx="6" cy="6" r="4.25" {}
                        path d="M6 1.75a4.25 4.25 0 0 1 0 8.5z" {}
                    }
                    Self::Warn => path d="M6 .8 11.6 11H.4z" {},
                    Self::Bad => rect x="1.2" y="1.2" width="9.6" height="9.6" rx="1.5" {},
                    Self::Quiet => circle class="ring" cx="6" cy="6" r="4.25" {},
                }
            }
        }
    }
}
