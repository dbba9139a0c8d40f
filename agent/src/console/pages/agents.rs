//! Agents and tools: who is there, what is broken and why, more of them out of files.

use jos_node::registry::Listed;
use jos_ui::form::{self, Field};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts};

use super::super::form::Form;
use super::super::frame::Wrong;
use super::super::install::{self, What};
use super::super::{Console, page};
use super::guard;

pub(super) fn show(console: &Console) -> Page {
    let registry = console.registry();
    let broken: Vec<Vec<Markup>> = registry
        .broken()
        .into_iter()
        .map(|broken| {
            vec![
                html! { span class="mono" { (broken.file) } },
                html! { (broken.reason) },
                remove(console, &broken.file),
            ]
        })
        .collect();
    let agents: Vec<Vec<Markup>> = registry.agents().iter().map(|agent| row(console, agent)).collect();
    let tools: Vec<Vec<Markup>> = registry.tools().iter().map(|tool| row(console, tool)).collect();
    let body = html! {
        div data-live="broken" {
            @if !broken.is_empty() { (parts::tight("Not loaded", None, &parts::table(&["File", "Why", ""], &broken, ""))) }
        }
        div class="columns" {
            div {
                section class="card tight" data-live="agents" {
                    h2 { "Agents" (parts::tip("an agent", "Proposes decisions for a job. It holds no power: what it proposes passes a gate, and it reaches only what it was granted.")) }
                    (parts::table(&["Agent", "Form", "Granted", ""], &agents, "None but the built-in advance."))
                }
                section class="card tight" data-live="tools" {
                    h2 { "Tools" (parts::tip("a tool", "Executes decisions of its own kinds, with the grants of the agent that proposed them.")) }
                    (parts::table(&["Tool", "Form", "Granted", ""], &tools, "None but the built-in fs.write and queue.send."))
                }
            }
            div { (installation(console)) }
        }
    };
    let intro = "Agents propose, tools act. They are files in agents/ and tools/: a running node has them as soon as they come, change or go.";
    page("Agents and tools", intro, body)
}

fn row(console: &Console, listed: &Listed) -> Vec<Markup> {
    vec![
        html! {
            strong { (listed.name) }
            @if let Some(description) = &listed.description { small class="sub" { (description) } }
            @if !listed.kinds.is_empty() { small class="sub" { "executes " (listed.kinds.join(", ")) } }
        },
        html! { (listed.form) small class="sub mono" { (listed.file) } },
        html! { @if listed.grants.is_empty() { span class="soft" { "nothing" } } @for grant in &listed.grants { div class="mono" { (grant) } } },
        remove(console, &listed.file),
    ]
}

fn remove(console: &Console, file: &str) -> Markup {
    let sure = html! {
        (form::form("/agents/remove", guard(console), &html! {
            input type="hidden" name="file" value=(file);
            button class="danger small" { "Remove " (file) }
        }))
    };
    parts::opened("Remove", "danger", &sure)
}

fn installation(console: &Console) -> Markup {
    let files = |hint: &str| {
        html! {
            div class="field" {
                label { span { "File" } input type="file" name="file" multiple required; }
                small class="hint" { (hint) }
            }
        }
    };
    let agent = html! {
        (files("A .jos artifact of prompts, a WebAssembly module (.wasm, .wat), or a program: one file. A document (.json, .toml) comes with what it names beside it."))
        (form::field(&Field { name: "name", label: "Name", optional: true, hint: "For one file; else the file's own.", ..Field::default() }))
        button { "Install the agent" }
    };
    let tool = html! {
        (files("A .jos artifact, or a document (.json, .toml) together with the module or program that it names."))
        button { "Install the tool" }
    };
    html! {
        section class="card" id="install-agent" {
            h2 { "Install an agent" (parts::tip("installing", "The same as `jos add-agent FILE`. What cannot be loaded is not put there. A module or a program gets no grant that its document does not name.")) }
            (form::upload("/agents/agent", guard(console), &agent))
        }
        section class="card" id="install-tool" {
            h2 { "Install a tool" }
            (form::upload("/agents/tool", guard(console), &tool))
        }
    }
}

pub(super) fn change(console: &Console, act: &str, form: &Form) -> Result<String, Wrong> {
    let done = match act {
        "remove" => install::remove(console, form.exact("file")),
        "tool" => install::install(console, What::Tool, "", &form.files),
        _ => install::install(console, What::Agent, form.get("name"), &form.files),
    };
    console.say(Tone::Good, done.map_err(Wrong::refused)?);
    Ok("/agents".into())
}
