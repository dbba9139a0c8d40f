//! `jos-hub ca` and `jos-hub key`: the hub's authority and its own keys, and what takes their place.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use jos_ui::words::counted;
use serde_json::{Value, json};

use super::door::{Door, Sent, Where, failed_to_open, runtime};
use super::rows;
use super::ui::{Done, Failure, Ui, moment, table, text};
use crate::actor::{Actor, local};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::rotation::folder;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show the hub's CAs, and how far a rotation has come: what it waits for, who is behind, what brings each back
    #[command(after_help = "Example: jos-hub ca show --data /var/lib/jos-hub")]
    Show {
        /// Write what each tenant's admins sign into this folder, as hub-ca.TENANT.json
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Begin a rotation: make the next CA, and write what each tenant's admins sign for their devices to believe it
    #[command(after_help = "\
Example:
  jos-hub ca rotate --data /var/lib/jos-hub --out .
  jos sign --key admin.key --trust trust.json hub-ca.default.json
  jos-hub ca push hub-ca.default.json --data /var/lib/jos-hub

From then on it goes by itself: devices learn the new CA when they call; once all that call know it the hub shows a
certificate of it and devices renew theirs; then the one before is retired.")]
    Rotate {
        /// Where hub-ca.TENANT.json is written
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Hand over what a tenant's admins signed of the next CA
    #[command(after_help = "Example: jos-hub ca push hub-ca.default.json --data /var/lib/jos-hub")]
    Push {
        /// Signed documents
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// End a rotation at once: go over to the next CA, and take nothing of the one before any more
    #[command(after_help = "Example: jos-hub ca finish --data /var/lib/jos-hub")]
    Finish {
        /// Also where devices that call do not know the next CA yet; `ca show` names them
        #[arg(long)]
        leave_behind: bool,
    },
    /// Give the next CA up, before the hub has gone over to it
    #[command(after_help = "Example: jos-hub ca abort --data /var/lib/jos-hub")]
    Abort,
}

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Show the hub's freshness keys, and whose devices hear each
    #[command(after_help = "Example: jos-hub key show --data /var/lib/jos-hub")]
    Show,
    /// Make the next key
    #[command(after_help = "\
Example:
  jos-hub key rotate freshness --data /var/lib/jos-hub --out next.key.pub
  jos trust rotate trust.v2.json --replace hub-0123abcd=next.key.pub --key root.key
  jos-hub trust push trust.v3.json --data /var/lib/jos-hub

A freshness key speaks to a tenant's devices once the tenant's trust document names it; the one before goes when none
names it. A server key needs nobody's word: each hub makes itself another one. The folder's challenge.key is replaced while
every hub on the database is ended; the others' folders need the new file before they are started again.")]
    Rotate {
        /// Which one
        key: Which,
        /// Where the public half of a freshness key is written
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A key of the hub's.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Which {
    /// What signs the time
    Freshness,
    /// What the hub's listeners show
    Server,
    /// What seals the keys in the database and makes challenges; on the hub's machine, while no hub on the database runs
    Challenge,
}

pub(super) fn run(command: &Command, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        Command::Show { out } => {
            let shown = door.json("GET", "/api/v1/ca/rotation", Sent::Nothing)?;
            if let Some(out) = out {
                write(&shown, out, ui)?;
            }
            ui.result(&shown, told(&shown));
        }
        Command::Rotate { out } => {
            let shown = door.json("POST", "/api/v1/ca/rotation", Sent::Nothing)?;
            ui.result(&shown, told(&shown));
            write(&shown, out, ui)?;
        }
        Command::Push { files } => {
            let (mut results, mut lines) = (Vec::new(), Vec::new());
            for file in files {
                let bytes =
                    std::fs::read(file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
                let pushed = door.json("POST", "/api/v1/ca/words", Sent::Bytes(bytes));
                let pushed = pushed.map_err(|failure| failure.of_file(file))?;
                lines.push(format!(
                    "{}: the word on CA {} is {}",
                    file.display(),
                    pushed["version"],
                    text(&pushed, "standing")
                ));
                results.push(pushed);
            }
            ui.result(&Value::from(results), lines.join("\n"));
        }
        Command::Finish { leave_behind } => {
            let asked = json!({ "leave_behind": leave_behind });
            let shown = door.json("POST", "/api/v1/ca/finish", Sent::Json(asked))?;
            ui.result(&shown, told(&shown));
        }
        Command::Abort => {
            let shown = door.json("POST", "/api/v1/ca/abort", Sent::Nothing)?;
            ui.result(&shown, told(&shown));
        }
    }
    Ok(())
}

pub(super) fn keys(command: &KeyCommand, place: &Where, ui: &Ui) -> Done {
    if let KeyCommand::Rotate {
        key: Which::Challenge, ..
    } = command
    {
        return rotate_folder(place, ui);
    }
    let door = place.open()?;
    let (shown, out) = match command {
        KeyCommand::Show => (door.json("GET", "/api/v1/keys", Sent::Nothing)?, None),
        KeyCommand::Rotate { key, out } => (rotated(&door, *key)?, out.as_ref()),
    };
    if let Some(out) = out {
        put(out, &shown["freshness"][0]["public"])?;
        ui.note(format!(
            "{}: give it the role freshness with `jos trust`",
            out.display()
        ));
    }
    let row = |one: &Value| {
        let heard = one["tenants"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        vec![text(one, "id"), heard.collect::<Vec<_>>().join(", ")]
    };
    let list = &shown["freshness"];
    ui.result(
        &shown,
        table(&["freshness key", "heard by the devices of"], &rows(list, row)),
    );
    Ok(())
}

/// On the hub's own machine alone: the key lies in its folder, and nowhere else.
fn rotate_folder(place: &Where, ui: &Ui) -> Done {
    let place = place.place("key rotate challenge")?;
    let runtime = runtime()?;
    let sealed = runtime.block_on(async {
        let hub = Hub::open(&place, Clock::default()).await;
        let hub = hub.map_err(|error| failed_to_open(&error))?;
        let sealed = folder::rotate(&hub, &Actor(local())).await;
        let sealed = sealed.map_err(|fault| Failure::failed(fault.to_string()))?;
        hub.store.close().await;
        Ok::<_, Failure>(sealed)
    })?;
    let file = place.data.join("challenge.key");
    let keys = counted(sealed as u64, "key");
    ui.result(
        &json!({ "file": file, "sealed": sealed }),
        format!(
            "{} is another one, and {keys} in the database sealed by it; start the hub again, and bring the file to every other \
             hub's folder on this database before that is started",
            file.display()
        ),
    );
    Ok(())
}

fn rotated(door: &Door, key: Which) -> Result<Value, Failure> {
    let path = match key {
        Which::Freshness => "/api/v1/keys/freshness",
        Which::Server | Which::Challenge => "/api/v1/keys/server",
    };
    door.json("POST", path, Sent::Nothing)
}

/// What is still to be signed, a file for each tenant.
fn write(shown: &Value, out: &Path, ui: &Ui) -> Done {
    for tenant in shown["tenants"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| one["vouched"] == false)
    {
        let file = out.join(format!("hub-ca.{}.json", text(tenant, "tenant")));
        put(&file, &tenant["document"])?;
        ui.note(format!(
            "{}: for its admins to sign, then `jos-hub ca push`",
            file.display()
        ));
    }
    Ok(())
}

fn put(file: &Path, document: &Value) -> Done {
    let text = serde_json::to_string_pretty(document).map_err(Failure::failed)?;
    std::fs::write(file, format!("{text}\n")).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

fn told(shown: &Value) -> String {
    let authorities = table(
        &["ca", "standing", "until", "fingerprint"],
        &rows(&shown["authorities"], |one| {
            vec![
                text(one, "number"),
                text(one, "standing"),
                moment(one, "ends"),
                text(one, "fingerprint"),
            ]
        }),
    );
    if shown["phase"] == "none" {
        return authorities;
    }
    let number = |member: &str| shown["devices"][member].as_u64().unwrap_or(0);
    let mut said = format!(
        "{authorities}\n{}: waits for {}\n{}, {} know the new CA, {} have been away\n",
        text(shown, "phase"),
        text(shown, "waits_for"),
        counted(number("devices"), "device"),
        number("know"),
        number("away"),
    );
    let behind = rows(&shown["behind"], |one| {
        vec![
            text(one, "device"),
            text(one, "tenant"),
            moment(one, "last_seen"),
            text(one, "why"),
        ]
    });
    if !behind.is_empty() {
        said.push('\n');
        said.push_str(&table(&["behind", "tenant", "called", "why"], &behind));
        said.push_str(&format!(
            "\nif left behind, each comes back {}\n",
            text(&shown["behind"][0], "comes_back")
        ));
    }
    said
}
