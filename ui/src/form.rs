//! Forms. None is made without its guard, the token that shows that the form was on a page of ours.

use maud::{Markup, html};

/// The field that the guard is sent in.
pub const GUARD: &str = "guard";

/// The token of whoever the page is for.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a>(pub &'a str);

/// A form that changes something.
pub fn form(action: &str, guard: Guard<'_>, inside: &Markup) -> Markup {
    html! {
        form method="post" action=(action) {
            input type="hidden" name=(GUARD) value=(guard.0);
            (inside)
        }
    }
}

/// The same with files in it.
pub fn upload(action: &str, guard: Guard<'_>, inside: &Markup) -> Markup {
    html! {
        form method="post" action=(action) enctype="multipart/form-data" {
            input type="hidden" name=(GUARD) value=(guard.0);
            (inside)
        }
    }
}

/// One field with its label.
#[derive(Clone, Copy, Debug, Default)]
pub struct Field<'a> {
    /// Its name in the form.
    pub name: &'a str,
    /// What stands above it.
    pub label: &'a str,
    /// `text` where it is empty.
    pub kind: &'a str,
    /// What is in it at first.
    pub value: &'a str,
    /// What stands below it.
    pub hint: &'a str,
    /// What is meant to be in it, for a password manager.
    pub autocomplete: &'a str,
    /// Whether it may be left empty.
    pub optional: bool,
    /// Whether one may write at once.
    pub first: bool,
}

/// A field. The label is around it, so that a page may have several of one name.
pub fn field(field: &Field<'_>) -> Markup {
    let Field {
        name,
        label,
        value,
        hint,
        optional,
        first,
        ..
    } = *field;
    let kind = if field.kind.is_empty() { "text" } else { field.kind };
    let autocomplete = if field.autocomplete.is_empty() {
        "off"
    } else {
        field.autocomplete
    };
    html! {
        div class="field" {
            label {
                span { (label) @if optional { small { " optional" } } }
                input name=(name) type=(kind) value=(value) required[!optional] autofocus[first]
                    min=[(kind == "number").then_some("1")] autocomplete=(autocomplete) autocapitalize="none" spellcheck="false"
                    aria-description=[(!hint.is_empty()).then_some(hint)];
            }
            @if !hint.is_empty() { small class="hint" aria-hidden="true" { (hint) } }
        }
    }
}

/// A field for more than a line. What is in it is shown as it is, in letters of one width.
pub fn area(field: &Field<'_>, rows: u8) -> Markup {
    let Field {
        name,
        label,
        value,
        hint,
        optional,
        ..
    } = *field;
    html! {
        div class="field" {
            label {
                span { (label) @if optional { small { " optional" } } }
                textarea class="mono" name=(name) rows=(rows) required[!optional] autocapitalize="none" spellcheck="false"
                    aria-description=[(!hint.is_empty()).then_some(hint)] {
                    // The first line's end would not count.
                    "\n" (value)
                }
            }
            @if !hint.is_empty() { small class="hint" aria-hidden="true" { (hint) } }
        }
    }
}

/// One of several, by value and words.
pub fn select(name: &str, label: &str, options: &[(&str, &str)], chosen: &str) -> Markup {
    html! {
        div class="field" {
            label {
                span { (label) }
                select name=(name) {
                    @for (value, words) in options { option value=(value) selected[*value == chosen] { (words) } }
                }
            }
        }
    }
}
