//! `jos-hub backup` and `jos-hub restore`. A backup is a data directory: what `serve` could start from.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::door::{Where, failed_to_open, runtime};
use super::ui::{Done, Failure, Ui};
use crate::clock::Clock;
use crate::dir::{Dir, DirError};
use crate::hub::{Hub, OpenError, Place};

/// Files besides the database, and whether they are secrets. `hub.json` comes last: a directory without it is no hub.
const FILES: [(&str, bool); 10] = [
    ("ca.pem", false),
    ("ca.key", true),
    ("server.pem", false),
    ("server.key", true),
    ("freshness.key", true),
    ("freshness.key.pub", false),
    ("challenge.key", true),
    ("admin.token", true),
    ("database.url", true),
    ("hub.json", false),
];
/// Once the admin has taken it away, the token's file may be gone; keys that were rotated out are gone. The hub's own certificate is made where it is not there.
const MAY_BE_ABSENT: [&str; 7] = [
    "admin.token",
    "server.pem",
    "server.key",
    "database.url",
    "ca.key",
    "freshness.key",
    "freshness.key.pub",
];

#[derive(clap::Args)]
#[command(after_help = "\
Example: jos-hub backup --data /var/lib/jos-hub --to /backup/hub-2026-11-21

The hub may run meanwhile. The copy holds every secret of the hub, the CA's key too: keep it as you keep those.

It is made on the hub's own machine alone, and --url is refused: an API token, an admin's too, gives nobody the hub's keys.
From afar it is made over SSH: ssh hub.example sudo -u jos-hub jos-hub backup --data /var/lib/jos-hub --to /backup/hub-2026-11-21")]
pub(super) struct BackupArgs {
    /// A directory that is empty or not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example: jos-hub restore --from /backup/hub-2026-11-21 --data /var/lib/jos-hub

On the machine that is to be the hub, while no hub serves DIR. Devices that enrolled after the backup are not known to it and enrol again. A state that was pushed after it can be pushed
again; a device never goes back to an older one.")]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

pub(super) fn backup(args: &BackupArgs, place: &Where, ui: &Ui) -> Done {
    let place = place.place("backup")?;
    let elsewhere = copy(&place, &args.to)?;
    let done = json!({ "backup": args.to, "database": elsewhere });
    let mut said = format!("the hub is copied to {}; the copy holds its secrets", args.to.display());
    if let Some(database) = elsewhere {
        said.push_str(&format!(
            "\nits database is not: back up {database} with pg_dump, or as PostgreSQL's manual says"
        ));
    }
    ui.result(&done, said);
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs, place: &Where, ui: &Ui) -> Done {
    let Place { data, database } = place.place("restore")?;
    let from = Place {
        data: args.from.clone(),
        database,
    };
    let elsewhere = copy(&from, &data)?;
    let mut said = format!("the hub is back in {}", data.display());
    if let Some(database) = &elsewhere {
        said.push_str(&format!("; its database is {database}"));
    }
    ui.result(&json!({ "restored": data, "database": elsewhere }), said);
    Ok(())
}

/// Gives the database where it lies elsewhere: it is not copied.
fn copy(from: &Place, to: &Path) -> Result<Option<String>, Failure> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let hub = Hub::open(from, Clock::default())
            .await
            .map_err(|error| failed_to_open(&error))?;
        let wrong = hub.store.integrity().await.map_err(Failure::failed)?;
        if !wrong.is_empty() {
            return Err(Failure::failed(format!(
                "{}: the database is damaged: {}",
                from.data.display(),
                wrong.join("; ")
            ))
            .help("take an earlier backup"));
        }
        let target = Dir::create(to).map_err(in_dir)?;
        let database = hub.store.database().clone();
        if !database.is_shared() {
            // Made first with its mode, so that the database is never there for others to read.
            target.write_secret("hub.db", b"").map_err(in_dir)?;
            let copied = hub.store.copy_to(&target.file("hub.db")).await;
            copied.map_err(Failure::failed)?;
        }
        hub.store.close().await;
        for (name, secret) in FILES {
            if MAY_BE_ABSENT.contains(&name) && !hub.dir.file(name).exists() {
                continue;
            }
            if secret {
                let bytes = hub.dir.read_secret(name).map_err(in_dir)?;
                target.write_secret(name, bytes.as_bytes()).map_err(in_dir)?;
            } else {
                let bytes = hub.dir.read(name).map_err(in_dir)?;
                target.write_public(name, bytes.as_bytes()).map_err(in_dir)?;
            }
        }
        Ok(database.is_shared().then(|| database.to_string()))
    })
}

fn in_dir(error: DirError) -> Failure {
    failed_to_open(&OpenError::from(error))
}
