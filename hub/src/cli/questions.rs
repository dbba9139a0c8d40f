//! `jos-hub device ask` and `answers`: what people want to know of a device, and what it told them.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::door::{Door, Sent, escaped};
use super::ui::{Done, Ui, moment, table, text};

/// Ask a device for the end of its log, its last records, or why a path is so
///
/// It answers when it calls next, or says why it does not; within an hour, or not at all. `device answers` shows what it said.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos-hub device ask d-0123456789abcdef logs --lines 50 --data /var/lib/jos-hub\n  \
    jos-hub device ask d-0123456789abcdef ledger --data /var/lib/jos-hub\n  \
    jos-hub device ask d-0123456789abcdef blame /etc/cups/cupsd.conf --data /var/lib/jos-hub")]
pub(super) struct AskArgs {
    /// Its id
    id: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The last lines of the agent's log
    #[command(after_help = "Example: jos-hub device ask d-0123456789abcdef logs --lines 50 --data /var/lib/jos-hub")]
    Logs {
        /// How many, 200 at most
        #[arg(long, value_name = "N")]
        lines: Option<u32>,
        #[command(flatten)]
        agent: Agent,
    },
    /// The last records of its ledger: number, time, source, version, signers, outcome
    #[command(after_help = "Example: jos-hub device ask d-0123456789abcdef ledger --last 20 --data /var/lib/jos-hub")]
    Ledger {
        /// How many, 100 at most
        #[arg(long, value_name = "N")]
        last: Option<u32>,
        #[command(flatten)]
        agent: Agent,
    },
    /// Which decision put a path there, and what happened to it before
    #[command(after_help = "Example: jos-hub device ask d-0123456789abcdef blame /etc/motd --data /var/lib/jos-hub")]
    Blame {
        /// The path, absolute, as the device knows it
        path: String,
        #[command(flatten)]
        agent: Agent,
    },
}

#[derive(Args)]
struct Agent {
    /// Which agent of the device; may be left out where it has only one
    #[arg(long, value_name = "AGENT")]
    name: Option<String>,
}

/// Show what a device was asked and what it answered, the newest first
#[derive(Args)]
#[command(after_help = "Example: jos-hub device answers d-0123456789abcdef --data /var/lib/jos-hub")]
pub(super) struct AnswersArgs {
    /// Its id
    id: String,
}

pub(super) fn ask(door: &Door, ui: &Ui, args: &AskArgs) -> Done {
    let (about, most, path, agent) = match &args.what {
        What::Logs { lines, agent } => ("logs", *lines, None, agent),
        What::Ledger { last, agent } => ("ledger", *last, None, agent),
        What::Blame { path, agent } => ("blame", None, Some(path), agent),
    };
    let asked = json!({ "about": about, "name": agent.name, "most": most, "path": path });
    let asked = door.json("POST", &place(&args.id), Sent::Json(asked))?;
    let said = format!(
        "{}: {} is asked when it calls next; `jos-hub device answers {}` shows what it says",
        text(&asked, "id"),
        text(&asked, "name"),
        args.id
    );
    ui.result(&asked, said);
    Ok(())
}

pub(super) fn answers(door: &Door, ui: &Ui, args: &AnswersArgs) -> Done {
    let all = door.json("GET", &place(&args.id), Sent::Nothing)?;
    let each = all.as_array().into_iter().flatten().map(described);
    let shown = each.collect::<Vec<_>>().join("\n");
    ui.result(&all, if shown.is_empty() { "none".to_owned() } else { shown });
    Ok(())
}

fn place(id: &str) -> String {
    format!("/api/v1/devices/{}/questions", escaped(id))
}

fn described(asked: &Value) -> String {
    let mut out = format!(
        "{} {}{} of {}, asked {} by {}",
        text(asked, "id"),
        text(asked, "about"),
        asked["path"]
            .as_str()
            .map(|path| format!(" {path}"))
            .unwrap_or_default(),
        text(asked, "name"),
        moment(asked, "asked"),
        text(asked, "asked_by"),
    );
    let answer = &asked["answer"];
    if answer.is_null() {
        let _ = writeln!(
            out,
            "\n  no answer so far; it may come until {}",
            moment(asked, "expires")
        );
        return out;
    }
    let _ = writeln!(out, ", answered {}", moment(asked, "answered"));
    if let Some(why) = answer["refused"].as_str() {
        let _ = writeln!(out, "  not told: {}", plain(why));
    }
    for line in answer["logs"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  {}", plain(line.as_str().unwrap_or_default()));
    }
    if let Some(records) = answer["ledger"].as_array() {
        let rows: Vec<Vec<String>> = records.iter().map(record).collect();
        out.push_str(&table(
            &["record", "time", "kind", "source", "version", "what", "signed by"],
            &rows,
        ));
    }
    let blame = &answer["blame"];
    if !blame.is_null() {
        let stands = &blame["stands_by"];
        let history = blame["history"].as_array().into_iter().flatten().rev();
        let rows: Vec<Vec<String>> = std::iter::once(stands)
            .filter(|one| !one.is_null())
            .chain(history)
            .map(deed)
            .collect();
        if rows.is_empty() {
            out.push_str("  the ledger knows nothing of it\n");
        } else {
            out.push_str(&table(
                &["what", "decision", "time", "source", "version", "signed by"],
                &rows,
            ));
        }
        if blame["since"].as_u64().is_some_and(|since| since > 0) {
            let _ = writeln!(out, "  history before #{} pruned", blame["since"]);
        }
    }
    out
}

fn record(record: &Value) -> Vec<String> {
    let of = record["of"].as_u64().map(|of| format!(" (#{of})")).unwrap_or_default();
    let what = match (record["decision"].as_str(), record["outcome"].as_str()) {
        (Some(decision), _) => decision.to_owned(),
        (None, Some(outcome)) => format!("{}{of}, {} changes", outcome.replace('_', " "), record["changed"]),
        (None, None) => "-".to_owned(),
    };
    vec![
        format!("#{}", record["index"]),
        text(record, "time"),
        text(record, "kind"),
        text(record, "source"),
        text(record, "version"),
        what,
        signers(record),
    ]
}

fn deed(deed: &Value) -> Vec<String> {
    vec![
        deed["event"].as_str().unwrap_or("stands").replace('_', " "),
        format!("#{}", deed["decision"]),
        text(deed, "time"),
        text(deed, "source"),
        text(deed, "version"),
        signers(deed),
    ]
}

fn signers(of: &Value) -> String {
    let ids = of["signers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let all = ids.collect::<Vec<_>>().join(", ");
    if all.is_empty() { "-".to_owned() } else { all }
}

/// What a device sent cannot move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_without_what_would_move_the_cursor() {
        let asked = json!({
            "id": "q-1", "name": "kiosk", "about": "logs", "asked": 0, "asked_by": "local:root", "expires": 9, "answered": 5,
            "answer": { "logs": ["a\u{9b}2Jb"] },
        });
        assert!(described(&asked).ends_with("  a?2Jb\n"), "{}", described(&asked));
    }
}
