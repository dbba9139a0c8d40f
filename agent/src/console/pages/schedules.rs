//! Schedules: jobs that submit themselves.

use jos_node::schedules::{self, Planned, Schedules};
use jos_schemas::documents::runtime::{CatchUp, Schedule};
use jos_schemas::text::Name;
use jos_ui::form::{self, Field};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::{Value, json};

use super::super::form::Form;
use super::super::frame::Wrong;
use super::super::{Console, page};
use super::{agents_of, guard};

pub(super) fn show(console: &Console, form: &Form) -> Page {
    let (all, unread) = match Schedules::load(&console.data) {
        Ok(all) => (all, None),
        Err(e) => (Schedules::default(), Some(e.to_string())),
    };
    let rows: Vec<Vec<Markup>> = all.all().map(|planned| row(console, planned)).collect();
    let broken: Vec<Vec<Markup>> = all
        .broken
        .iter()
        .map(|broken| {
            vec![
                html! { span class="mono" { (broken.place) } },
                html! { (broken.reason) },
            ]
        })
        .collect();
    let body = html! {
        @if let Some(e) = unread { (parts::notice(Tone::Bad, &html! { (e) })) }
        div class="columns" {
            div {
                section class="card tight" data-live="schedules" {
                    h2 { (words::counted(rows.len() as u64, "schedule")) }
                    (parts::table(&["Schedule", "When", "Next", ""], &rows, "None yet."))
                }
                div data-live="broken" {
                    @if !broken.is_empty() { (parts::tight("Not read", None, &parts::table(&["File", "Why"], &broken, ""))) }
                }
            }
            div { (addition(console, form)) }
        }
    };
    let intro = "A schedule is a file in schedules/ that submits a job when it is due: once, whoever looks, over restarts and nodes. It fires while a node runs.";
    page("Schedules", intro, body)
}

fn row(console: &Console, planned: &Planned) -> Vec<Markup> {
    let schedule = &planned.schedule;
    let now = console.now();
    let name = schedule.name.as_str();
    let next = match planned.next(&console.queue, now) {
        _ if schedule.disabled => parts::badge(Tone::Quiet, "disabled"),
        Some(at) => html! { (words::moment(at, now)) small class="sub" { (words::exact(at)) } },
        None => html! { span class="soft" { "never again" } },
    };
    let act = |act: &str, word: &str, class: &str| {
        form::form(
            &format!("/schedules/{act}"),
            guard(console),
            &html! {
                input type="hidden" name="name" value=(name);
                button class=(class) aria-label={ (word) " " (name) } { (word) }
            },
        )
    };
    vec![
        html! { strong { (name) } small class="sub" { "for " (schedule.agent) } },
        html! { (when(schedule)) },
        next,
        html! {
            div class="beside" {
                @if schedule.disabled { (act("enable", "Enable", "second small")) } @else { (act("disable", "Disable", "second small")) }
                (act("remove", "Remove", "danger small"))
            }
        },
    ]
}

fn when(schedule: &Schedule) -> String {
    let zone = schedule.zone.as_deref().unwrap_or("UTC");
    match (schedule.every, &schedule.cron, &schedule.at) {
        (Some(seconds), ..) => format!("every {seconds} s"),
        (_, Some(cron), _) => format!("{cron} ({zone})"),
        (.., Some(at)) => at.to_string(),
        _ => String::new(),
    }
}

fn addition(console: &Console, form: &Form) -> Markup {
    let agents = agents_of(console);
    let options: Vec<(&str, &str)> = agents.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let input = if form.exact("input").is_empty() {
        "{}"
    } else {
        form.exact("input")
    };
    let chosen = if form.get("agent").is_empty() {
        "advance"
    } else {
        form.get("agent")
    };
    let fields = html! {
        (form::field(&Field { name: "name", label: "Name", value: form.get("name"), hint: "a-z, 0-9 and '-', as nightly-health.", ..Field::default() }))
        (form::select("agent", "Agent", &options, chosen))
        (form::select("rule", "When", &[("every", "every so many seconds"), ("cron", "by cron: minute hour day month weekday"), ("at", "once, at a moment")], form.get("rule")))
        (form::field(&Field { name: "value", label: "Seconds, cron fields or moment", value: form.get("value"), hint: "60, or 30 6 * * 1-5, or 2027-01-01T09:00:00", ..Field::default() }))
        (form::field(&Field { name: "zone", label: "Time zone", value: form.get("zone"), optional: true, hint: "As America/Mexico_City; UTC when left out.", ..Field::default() }))
        (form::select("catch_up", "Missed while no node ran", &[("skip", "dropped"), ("once", "made up once"), ("all", "made up each")], form.get("catch_up")))
        (form::area(&Field { name: "input", label: "Input", value: input, ..Field::default() }, 3))
        button { "Add" }
    };
    html! {
        section class="card" id="add" {
            h2 { "Add a schedule" (parts::tip("a schedule", "The same as `jos schedule add`. Each firing is a job whose id says when it was due, so that none fires twice.")) }
            (form::form("/schedules/add", guard(console), &fields))
        }
    }
}

pub(super) fn change(console: &Console, act: &str, form: &Form) -> Result<String, Wrong> {
    let name = Name::new(form.get("name")).map_err(|e| Wrong::refused(format!("The name: {e}")))?;
    let failed = |e: jos_node::NodeError| Wrong::refused(e.to_string());
    let done = match act {
        "add" if Schedules::load(&console.data).map_err(failed)?.get(&name).is_some() => {
            return Err(Wrong::refused(format!(
                "There is a schedule {name} already; remove it first."
            )));
        }
        "add" => {
            let document = written(form)?;
            let planned = schedules::parse(name.as_str(), document.to_string().as_bytes()).map_err(Wrong::refused)?;
            schedules::write(&console.data, &planned.schedule).map_err(failed)?;
            "added"
        }
        "remove" => {
            if !schedules::remove(&console.data, &console.queue, &name).map_err(failed)? {
                return Err(Wrong::refused(format!("There is no schedule {name} any more.")));
            }
            "removed"
        }
        _ => {
            let all = Schedules::load(&console.data).map_err(failed)?;
            let Some(planned) = all.get(&name) else {
                return Err(Wrong::refused(format!("There is no schedule {name} any more.")));
            };
            let schedule = Schedule {
                disabled: act == "disable",
                ..planned.schedule.clone()
            };
            schedules::write(&console.data, &schedule).map_err(failed)?;
            if schedule.disabled { "disabled" } else { "enabled" }
        }
    };
    console.say(Tone::Good, format!("Schedule {name} is {done}."));
    Ok("/schedules".into())
}

/// The document that a form stands for.
fn written(form: &Form) -> Result<Value, Wrong> {
    let input: Value = serde_json::from_str(form.exact("input"))
        .map_err(|e| Wrong::refused(format!("The input: expected JSON: {e}")))?;
    let value = form.get("value");
    let catch_up = match form.get("catch_up") {
        "once" => CatchUp::Once,
        "all" => CatchUp::All,
        _ => CatchUp::Skip,
    };
    let mut document = json!({ "kind": "jos.schedule", "name": form.get("name"), "agent": form.get("agent"), "input": input, "catch_up": catch_up });
    let rule = match form.get("rule") {
        "every" => value
            .parse::<u32>()
            .map(Value::from)
            .map_err(|_| Wrong::refused(format!("Every: found {value:?}, expected seconds.")))?,
        _ => value.into(),
    };
    document[form.get("rule")] = rule;
    if !form.get("zone").is_empty() {
        document["zone"] = form.get("zone").into();
    }
    Ok(document)
}
