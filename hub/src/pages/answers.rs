//! What a device told when somebody asked: its last records, why a path is so, the end of its log. Each part says when it
//! was told, and that it is a device's word.

use axum::body::Body;
use jos_link::wire::about;
use jos_schemas::documents::answer::{Answer, Blame, BriefRecord, Deed};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::KeyIdText;
use jos_ui::form::{self as forms, Field, Guard};
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::Value;

use super::form::Fields;
use super::standing;
use crate::api::admin::devices::Shown as Known;
use crate::store::devices::Status;
use crate::store::questions::Asked;

/// Paths whose answers are shown at once.
const PATHS: usize = 3;

/// What the page knows of a device's answers.
pub(super) struct Answers<'a> {
    /// All questions, the newest first.
    pub(super) asked: &'a [Asked],
    /// The device.
    pub(super) known: &'a Known,
    /// Whoever looks may ask, with this guard.
    pub(super) guard: Option<Guard<'a>>,
    /// Now.
    pub(super) now: i64,
}

/// What a form of this page asks, as the API takes it.
pub(super) fn asked(fields: &Fields) -> Body {
    // What was left empty is not there.
    let given = ["about", "name", "path"].map(|name| (name.to_owned(), fields.get(name).into()));
    let given: serde_json::Map<String, Value> = given.into_iter().filter(|(_, text)| text != "").collect();
    Body::from(Value::from(given).to_string())
}

impl Answers<'_> {
    /// Ledger and log.
    pub(super) fn cards(&self) -> Markup {
        let path = forms::field(&Field {
            name: "path",
            label: "Path",
            hint: "As the device knows it: /etc/cups/cupsd.conf",
            ..Field::default()
        });
        let ledger = html! {
            div data-live="ledger" {
                (self.last(about::LEDGER))
                (self.ask(about::LEDGER, "Ask for its last records", &html! {}))
            }
            h3 { "Why is this file so?" }
            div data-live="blame" { (self.paths()) }
            // Apart: while somebody writes in it, what is above goes on.
            div data-live="blame-of" {
                @if self.may_ask().is_some() { (parts::opened("Ask about a path", "", &self.ask(about::BLAME, "Ask its ledger", &path))) }
            }
        };
        let log = html! {
            div data-live="log" {
                (self.last(about::LOGS))
                (self.ask(about::LOGS, "Ask for its log", &html! {}))
            }
        };
        html! {
            (parts::card("Ledger", None, &ledger))
            (parts::card("Log", None, &log))
        }
    }

    /// How it stands with questions of this kind, and the last answer.
    fn last(&self, about: &str) -> Markup {
        let mut of_kind = self.asked.iter().filter(|asked| asked.about == about);
        let Some(newest) = of_kind.next() else {
            return html! { p class="none" { "Nobody has asked for it yet." } };
        };
        // While one is open, the answer before stays.
        let told = std::iter::once(newest)
            .chain(of_kind)
            .find(|asked| asked.answer.is_some());
        html! {
            @if newest.answer.is_none() { (self.waits(newest)) }
            @if let Some(told) = told { (self.told(told)) }
        }
    }

    /// The last paths that somebody asked about.
    fn paths(&self) -> Markup {
        let mut seen: Vec<&Asked> = Vec::new();
        for asked in self.asked.iter().filter(|asked| asked.about == about::BLAME) {
            if seen.len() < PATHS && !seen.iter().any(|one| one.is_like(asked)) {
                seen.push(asked);
            }
        }
        html! {
            @for asked in seen {
                h4 class="mono" { (asked.path.as_deref().unwrap_or_default()) }
                @if asked.answer.is_some() { (self.told(asked)) } @else { (self.waits(asked)) }
            }
        }
    }

    fn waits(&self, asked: &Asked) -> Markup {
        let who = html! { (asked.name) ", by " (asked.asked_by) " " (words::moment(asked.asked, self.now)) };
        html! {
            p {
                @if asked.is_open(self.now) {
                    (parts::badge(Tone::Busy, "asked")) " comes with its next call "
                } @else {
                    (parts::badge(Tone::Warn, "no answer")) " it did not answer within the hour "
                }
                small class="soft" { "(" (who) ")" }
            }
        }
    }

    fn told(&self, asked: &Asked) -> Markup {
        let Some(answer) = &asked.answer else { return html! {} };
        html! {
            p class="soft" { small { (asked.name) " said so " (words::moment(asked.answered.unwrap_or(0), self.now)) "; nobody vouches for it but the device." } }
            (self.content(answer))
        }
    }

    fn content(&self, answer: &Answer) -> Markup {
        html! {
            @if let Some(why) = &answer.refused { (parts::notice(Tone::Quiet, &html! { "It does not tell: " (why) })) }
            @if let Some(lines) = &answer.logs {
                @if lines.is_empty() { p class="none" { "Its log is empty." } } @else { pre class="code" tabindex="0" { (newest_first(lines)) } }
            }
            @if let Some(records) = &answer.ledger {
                (parts::table(
                    &["Record", "What", "By", "When"],
                    &records.iter().rev().map(|record| self.record(record)).collect::<Vec<_>>(),
                    "Its ledger has no record yet.",
                ))
            }
            @if let Some(blame) = &answer.blame { (self.blame(blame)) }
        }
    }

    fn record(&self, record: &BriefRecord) -> Vec<Markup> {
        let what = html! {
            @match (&record.decision, record.outcome) {
                (Some(decision), _) => { (record.kind) " " code { (decision) } }
                (None, Some(outcome)) => {
                    @let (tone, text) = standing::ending(outcome);
                    (parts::badge(tone, text))
                    span class="sub" {
                        @if let Some(of) = record.of { "of record " (of) ", " }
                        (words::counted(u64::from(record.changed), "change"))
                    }
                }
                (None, None) => { (record.kind) }
            }
        };
        vec![
            html! { (record.index) },
            what,
            by(record.source, record.version, &record.signers),
            words::moment(record.time.unix(), self.now),
        ]
    }

    fn blame(&self, blame: &Blame) -> Markup {
        let stands = blame
            .stands_by
            .iter()
            .map(|deed| (Tone::Good, "stands".to_owned(), deed));
        let history = blame.history.iter().rev().map(|deed| {
            let word = deed.event.as_deref().unwrap_or("changed").replace('_', " ");
            (Tone::Quiet, word, deed)
        });
        let row = |(tone, word, deed): (Tone, String, &Deed)| {
            vec![
                html! { (parts::badge(tone, &word)) },
                html! { "decision " (deed.decision) },
                by(deed.source, deed.version, &deed.signers),
                words::moment(deed.time.unix(), self.now),
            ]
        };
        let rows: Vec<Vec<Markup>> = stands.chain(history).map(row).collect();
        html! {
            (parts::table(&["What", "Why", "By", "When"], &rows, "The ledger knows nothing of it: no decision put it there."))
            @if blame.since > 0 { p class="soft" { small { "What was before record " (blame.since) " is pruned." } } }
        }
    }

    /// The guard of whoever may ask, where somebody is there to answer.
    fn may_ask(&self) -> Option<Guard<'_>> {
        let is_there = self.known.agents.iter().any(|agent| agent.said.is_some());
        self.guard
            .filter(|_| is_there && self.known.device.status == Status::Active)
    }

    /// A form, for whoever may ask.
    fn ask(&self, about: &str, button: &str, fields: &Markup) -> Markup {
        let device = &self.known.device;
        let known = self.known.agents.iter().filter(|agent| agent.said.is_some());
        let agents: Vec<(&str, &str)> = known.map(|agent| (agent.name.as_str(), agent.name.as_str())).collect();
        html! {
            @if let Some(guard) = self.may_ask() {
                (forms::form(&format!("/t/{}/devices/{}/ask", device.tenant, device.id), guard, &html! {
                    input type="hidden" name="about" value=(about);
                    @if agents.len() > 1 { (forms::select("name", "Agent", &agents, "")) }
                    (fields)
                    button class="second" { (button) }
                }))
            }
        }
    }
}

/// Lines as the rest of the page has them: what came last is seen without scrolling.
fn newest_first(lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
    lines.join("\n")
}

/// Who proposed it, and who signed.
fn by(source: Source, version: Option<u64>, signers: &[KeyIdText]) -> Markup {
    let signers: Vec<&str> = signers.iter().map(|id| id.as_str()).collect();
    html! {
        (word(source)) @if let Some(version) = version { ", version " (version) }
        @if !signers.is_empty() { span class="sub" { "signed by " (signers.join(", ")) } }
    }
}

fn word(source: Source) -> String {
    let word = serde_json::to_value(source).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}
