//! What pages are made of.

use maud::{Markup, html};

use crate::Tone;

/// A word with the colour and the shape of how it stands.
pub fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (tone) (text) } }
}

/// Something that is said before all else.
pub fn notice(tone: Tone, inside: &Markup) -> Markup {
    let role = if tone == Tone::Bad { "alert" } else { "status" };
    html! { div class={ "notice " (tone.class()) } role=(role) { (tone) div { (inside) } } }
}

/// A part of a page under a heading. `live` names what is replaced when it changes.
pub fn card(heading: &str, live: Option<&str>, inside: &Markup) -> Markup {
    html! { section class="card" data-live=[live] { h2 { (heading) } (inside) } }
}

/// The same without room around what is inside: a table has its own.
pub fn tight(heading: &str, live: Option<&str>, inside: &Markup) -> Markup {
    html! { section class="card tight" data-live=[live] { h2 { (heading) } (inside) } }
}

/// What a page is for, under its title.
pub fn intro(inside: &Markup) -> Markup {
    html! { p class="intro" { (inside) } }
}

/// A question mark that answers when it is pointed at, focused or touched.
pub fn tip(about: &str, text: &str) -> Markup {
    html! {
        span class="tip" {
            button type="button" class="why" aria-label={ "What is " (about) "?" } { "?" }
            span class="answer" role="tooltip" { (text) }
        }
    }
}

/// A list of what to do first, each thing with whether it is done, its name, and how.
pub fn checklist(things: &[(bool, &str, Markup)]) -> Markup {
    html! {
        ol class="steps" {
            @for (done, name, how) in things {
                li class=[done.then_some("done")] {
                    h3 { (name) @if *done { span class="unseen" { " (done)" } } }
                    div class="soft" { (how) }
                }
            }
        }
    }
}

/// Names and what they stand for.
pub fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, Markup)>) -> Markup {
    html! { dl class="facts" { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

/// A table; on a narrow screen each row becomes a block whose cells have their heading beside them. An empty one says
/// `none` instead.
pub fn table(head: &[&str], rows: &[Vec<Markup>], none: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p class="none" { (none) }
        } @else {
            div class="scroll" {
                table {
                    thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                    tbody {
                        @for row in rows {
                            tr { @for (cell, name) in row.iter().zip(head) { td data-name=(name) { div { (cell) } } } }
                        }
                    }
                }
            }
        }
    }
}

/// A number that leads to what it counts.
pub fn stat(tone: Tone, value: u64, name: &str, path: &str, here: bool) -> Markup {
    html! {
        a class={ "stat " (tone.class()) @if value == 0 { " zero" } } href=(path) aria-current=[here.then_some("true")] {
            span class="name" { (tone) (name) }
            strong { (crate::words::number(value)) }
        }
    }
}

/// Text that is meant to be copied: a command, a key. It is shown whole, and copied without a slip.
pub fn copied(id: &str, text: &str) -> Markup {
    html! {
        div class="copied" {
            pre tabindex="0" { code id=(id) { (text) } }
            button type="button" data-copy=(id) { "Copy" }
        }
    }
}

/// Labels, as words beside each other.
pub fn labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Markup {
    html! { span class="labels" { @for (key, value) in labels { span class="label" { b { (key) } (value) } } } }
}

/// One page of many.
pub fn pager(page: u64, pages: u64, what: &str, path: impl Fn(u64) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav class="pager" aria-label="More of this list" {
                @if page > 1 { a rel="prev" href=(path(page - 1)) { "Newer" } } @else { span { "Newer" } }
                span { (what) }
                @if page < pages { a rel="next" href=(path(page + 1)) { "Older" } } @else { span { "Older" } }
            }
        }
    }
}

/// A form that one opens first: what it does cannot be done by a slip.
pub fn opened(summary: &str, class: &str, inside: &Markup) -> Markup {
    html! { details class={ "act " (class) } { summary { (summary) } div { (inside) } } }
}

/// The difference of two texts, line by line: the sign, the number of the line before and after, the line.
pub fn difference(lines: &[(char, Option<usize>, Option<usize>, String)]) -> Markup {
    let class = |sign: char| match sign {
        '+' => "more",
        '-' => "less",
        '…' => "skip",
        _ => "same",
    };
    html! {
        div class="difference" tabindex="0" {
            table {
                tbody {
                    @for (sign, before, after, line) in lines {
                        tr class=(class(*sign)) {
                            td { @if let Some(number) = before { (number) } }
                            td { @if let Some(number) = after { (number) } }
                            td { (sign) }
                            td { code { (line) } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_in_is_text_wherever_it_stands() {
        let evil = "\"><script>alert(1)</script>&'";
        let pairs = [(evil.to_owned(), evil.to_owned())]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>();
        let made = [
            badge(Tone::Bad, evil),
            card(evil, Some(evil), &html! {}),
            facts([(evil, html! { (evil) })]),
            table(&[evil], &[vec![html! { (evil) }]], evil),
            table(&[evil], &[], evil),
            stat(Tone::Good, 1, evil, evil, true),
            copied(evil, evil),
            intro(&html! { (evil) }),
            tip(evil, evil),
            checklist(&[(true, evil, html! { (evil) })]),
            crate::form::area(
                &crate::form::Field {
                    name: evil,
                    label: evil,
                    value: evil,
                    hint: evil,
                    ..Default::default()
                },
                3,
            ),
            labels(&pairs),
            pager(2, 3, evil, |_| evil.to_owned()),
            difference(&[('+', None, Some(1), evil.to_owned())]),
            crate::words::moment(0, 0),
        ];
        for markup in made {
            let text = markup.into_string();
            assert!(!text.contains("<script"), "{text}");
        }
    }
}
