//! Evaluations: the cases that agents must pass.

use jos_node::evals;
use jos_ui::form;
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::Value;

use super::super::form::Form;
use super::super::frame::Wrong;
use super::super::log::text;
use super::super::{Console, page};
use super::guard;

pub(super) fn show(console: &Console) -> Page {
    let running = console.evals.is_running();
    let last = console.evals.last(&console.data);
    let verdicts: Vec<&Value> = last
        .iter()
        .flat_map(|(_, ended)| ended.said["cases"].as_array().into_iter().flatten())
        .collect();
    let verdict = |name: &str| verdicts.iter().find(|verdict| verdict["name"] == name).copied();
    let (cases, broken, unread) = match evals::load(console.data.root()) {
        Ok((cases, broken)) => (cases, broken, None),
        Err(e) => (Vec::new(), Vec::new(), Some(e)),
    };
    let mut rows: Vec<Vec<Markup>> = Vec::new();
    for case in &cases {
        rows.push(row(console, &case.name, case.agent.as_str(), verdict(&case.name)));
    }
    for broken in &broken {
        let why = broken.differs.join("\n");
        rows.push(vec![
            html! { strong { (broken.name) } small class="sub" { (why) } },
            html! {},
            parts::badge(Tone::Bad, "not read"),
            html! {},
        ]);
    }
    let body = html! {
        @if let Some(e) = &unread { (parts::notice(Tone::Bad, &html! { (e) })) }
        section class="card" {
            div class="beside" {
                (form::form("/evals", guard(console), &html! { button disabled[rows.is_empty()] { "Run all" } }))
                span data-live="running" {
                    @if running { span class="waiting" { (Tone::Busy) "running" } }
                    @else if let Some((time, ended)) = &last {
                        @match ended.why() {
                            Some(why) => (parts::badge(Tone::Bad, &why)),
                            None => { (tally(&ended.said)) " " small { (words::moment(*time, console.now())) } }
                        }
                    }
                }
            }
        }
        section class="card tight" data-live="cases" {
            h2 { (words::counted(rows.len() as u64, "case")) }
            (parts::table(&["Case", "Agent", "Last run", ""], &rows, "None yet: a case is a file in evals/. `jos runtime init --with-examples --force` puts some there."))
        }
    };
    let intro = "A case is an agent, an input, and what must come out. Each runs on a real node in a directory of its own, with copies of the agents and tools; \
                 the model is echo, so that it comes out the same at every run.";
    page("Evaluations", intro, body)
}

fn tally(said: &Value) -> Markup {
    let (passed, failed) = (
        said["passed"].as_u64().unwrap_or(0),
        said["failed"].as_u64().unwrap_or(0),
    );
    html! {
        (parts::badge(Tone::Good, &format!("{passed} passed"))) " "
        @if failed > 0 { (parts::badge(Tone::Bad, &format!("{failed} failed"))) }
    }
}

fn row(console: &Console, name: &str, agent: &str, verdict: Option<&Value>) -> Vec<Markup> {
    let (badge, differs) = match verdict {
        None => (parts::badge(Tone::Quiet, "not run"), Vec::new()),
        Some(verdict) if verdict["passed"] == true => (parts::badge(Tone::Good, "passed"), Vec::new()),
        Some(verdict) => (
            parts::badge(Tone::Bad, "failed"),
            verdict["differs"].as_array().cloned().unwrap_or_default(),
        ),
    };
    vec![
        html! { strong { (name) } @for differs in &differs { small class="sub" { (text(differs)) } } },
        html! { (agent) },
        badge,
        form::form(
            "/evals",
            guard(console),
            &html! {
                input type="hidden" name="case" value=(name);
                button class="second small" aria-label={ "Run " (name) } { "Run" }
            },
        ),
    ]
}

/// As `jos eval [NAME]`.
pub(super) fn run(console: &Console, form: &Form) -> Result<String, Wrong> {
    let case = form.get("case");
    let known =
        || evals::load(console.data.root()).is_ok_and(|(cases, _)| cases.iter().any(|known| known.name == case));
    if !case.is_empty() && !known() {
        return Err(Wrong::refused(format!("There is no case {case} any more.")));
    }
    let words = ["eval"]
        .into_iter()
        .chain((!case.is_empty()).then_some(case))
        .map(str::to_owned)
        .collect();
    console
        .evals
        .begin(&console.data, console.now(), words)
        .map_err(Wrong::refused)?;
    Ok("/evals".into())
}
