//! The frame around every page: where one is, where one can go, who is signed in.

use maud::{DOCTYPE, Markup, html};

use crate::form::{self, Guard};
use crate::{Tone, assets, parts};

/// A place in the navigation.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is called.
    pub name: &'static str,
    /// Where it is.
    pub path: String,
    /// Something to look at there, as a number; none where it is 0.
    pub alert: u64,
    /// Whether one is there.
    pub here: bool,
}

/// A group of places that one chooses among first: a tenant.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Whether one is in it.
    pub here: bool,
}

/// Who is signed in.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Their name.
    pub name: &'a str,
    /// What they may do here.
    pub role: &'a str,
    /// Their own page.
    pub account: &'a str,
    /// Where signing out is asked for.
    pub sign_out: &'a str,
    /// Goes with that.
    pub guard: Guard<'a>,
}

/// What is around a page.
#[derive(Clone, Debug)]
pub struct Shell<'a> {
    /// Which program it is.
    pub product: &'a str,
    /// Where the product's name leads.
    pub home: &'a str,
    /// Groups to choose among; shown where there are two or more.
    pub choices: &'a [Choice],
    /// Where one can go.
    pub places: &'a [Place],
    /// Who is signed in.
    pub who: Option<Who<'a>>,
}

/// A page without what is around it.
#[derive(Debug)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// Pages above it: name and path.
    pub above: Vec<(String, String)>,
    /// Something that was just done, or went wrong.
    pub said: Option<(Tone, String)>,
    /// Beside the title.
    pub aside: Option<Markup>,
    /// What it follows while it is open: a path that gives this page as it is then. Empty for its own path.
    pub live: Option<String>,
    /// What is on it.
    pub body: Markup,
}

impl Page {
    /// A page that stands still.
    pub fn new(title: impl Into<String>, body: Markup) -> Self {
        Self {
            title: title.into(),
            above: Vec::new(),
            said: None,
            aside: None,
            live: None,
            body,
        }
    }

    /// Makes it follow what changes: each element that is marked by `data-live` is replaced by its new self.
    #[must_use]
    pub fn live(self) -> Self {
        self.following("")
    }

    /// The same, by another path than its own.
    #[must_use]
    pub fn following(mut self, path: impl Into<String>) -> Self {
        self.live = Some(path.into());
        self
    }

    /// Puts it below another page.
    #[must_use]
    pub fn below(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.above.push((name.into(), path.into()));
        self
    }

    /// Puts something beside the title.
    #[must_use]
    pub fn beside(mut self, aside: Markup) -> Self {
        self.aside = Some(aside);
        self
    }

    /// Says something first.
    #[must_use]
    pub fn saying(mut self, said: Option<(Tone, String)>) -> Self {
        self.said = said;
        self
    }

    /// What is inside `main`, which is also what an open page is sent when something changed.
    pub fn inside(&self) -> Markup {
        html! {
            @if !self.above.is_empty() {
                nav class="above" aria-label="Above" {
                    @for (name, path) in &self.above { a href=(path) { (name) } span aria-hidden="true" { "/" } }
                }
            }
            div class="title" {
                h1 { (self.title) }
                @if let Some(aside) = &self.aside { div class="aside" { (aside) } }
            }
            @if let Some((tone, text)) = &self.said { (parts::notice(*tone, &html! { (text) })) }
            (self.body)
        }
    }
}

/// A whole document.
pub fn document(shell: &Shell<'_>, page: &Page) -> Markup {
    let body = html! {
        a class="skip" href="#main" { "Skip to the content" }
        header class="top" {
            a class="brand" href=(shell.home) { (logo()) span { (shell.product) } }
            @if shell.choices.len() > 1 { (choices(shell.choices)) }
            @if !shell.places.is_empty() { (places(shell.places)) }
            @if let Some(who) = &shell.who { (signed_in(who)) }
        }
        main id="main" tabindex="-1" { (page.inside()) }
    };
    framed(shell.product, &page.title, page.live.as_deref(), "app", &body)
}

/// What of a document may change while it is open.
pub fn fragment(shell: &Shell<'_>, page: &Page) -> Markup {
    html! { (places(shell.places)) (page.inside()) }
}

/// A page of its own in the middle of the window: signing in, or what comes of a wrong way.
pub fn alone(product: &str, page: &Page) -> Markup {
    let body = html! {
        main id="main" {
            p class="brand" { (logo()) span { (product) } }
            (page.inside())
        }
    };
    framed(product, &page.title, None, "alone", &body)
}

fn framed(product: &str, title: &str, live: Option<&str>, class: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (product) }
                link rel="icon" href=(assets::path(&assets::ICON));
                link rel="stylesheet" href=(assets::path(&assets::STYLE));
                script src=(assets::path(&assets::SCRIPT)) defer {}
            }
            body class=(class) data-follow=[live] { (body) }
        }
    }
}

fn logo() -> Markup {
    html! {
        svg class="logo" viewBox="0 0 32 32" aria-hidden="true" {
            rect width="32" height="32" rx="7" {}
            g { circle cx="16" cy="16" r="4.25" {} path d="M16 4.5v7M16 20.5v7M4.5 16h7M20.5 16h7" {} }
        }
    }
}

fn choices(choices: &[Choice]) -> Markup {
    let here = choices.iter().find(|choice| choice.here);
    html! {
        details class="choices" {
            summary { small { "Tenant" } (here.map_or("choose", |choice| choice.name.as_str())) }
            ul { @for choice in choices { li { a href=(choice.path) aria-current=[choice.here.then_some("true")] { (choice.name) } } } }
        }
    }
}

fn places(places: &[Place]) -> Markup {
    html! {
        nav class="places" aria-label="Pages" {
            ul data-live="places" {
                @for place in places {
                    li { a href=(place.path) aria-current=[place.here.then_some("page")] {
                        (place.name)
                        @if place.alert > 0 { span class="alert" { (crate::words::number(place.alert)) span class="unseen" { " to look at" } } }
                    } }
                }
            }
        }
    }
}

fn signed_in(who: &Who<'_>) -> Markup {
    html! {
        div class="who" {
            a href=(who.account) { strong { (who.name) } small { (who.role) } }
            (form::form(who.sign_out, who.guard, &html! { button class="plain" { "Sign out" } }))
        }
    }
}
