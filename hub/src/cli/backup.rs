//! `jos-hub backup` and `jos-hub restore`. A backup is a data directory: what `serve` could start from.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::door::{Where, failed_to_open, runtime};
use super::ui::{Done, Failure, Ui};
use crate::clock::Clock;
use crate::dir::{Dir, DirError};
use crate::hub::{Hub, OpenError};

/// Files besides the database, and whether they are secrets. `hub.json` comes last: a directory without it is no hub.
const FILES: [(&str, bool); 9] = [
    ("ca.pem", false),
    ("ca.key", true),
    ("server.pem", false),
    ("server.key", true),
    ("freshness.key", true),
    ("freshness.key.pub", false),
    ("challenge.key", true),
    ("admin.token", true),
    ("hub.json", false),
];
/// Once the admin has taken it away, the token's file may be gone.
const MAY_BE_ABSENT: &str = "admin.token";

#[derive(clap::Args)]
#[command(after_help = "\
Example: jos-hub backup --data /var/lib/jos-hub --to /backup/hub-2026-11-21

The hub may run meanwhile. The copy holds every secret of the hub, the CA's key too: keep it as you keep those.")]
pub(super) struct BackupArgs {
    /// A directory that is empty or not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example: jos-hub restore --from /backup/hub-2026-11-21 --data /var/lib/jos-hub

Devices that enrolled after the backup are not known to it and enrol again. A state that was pushed after it can be pushed
again; a device never goes back to an older one.")]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

pub(super) fn backup(args: &BackupArgs, place: &Where, ui: &Ui) -> Done {
    copy(place.data("backup")?, &args.to)?;
    let done = json!({ "backup": args.to });
    ui.result(
        &done,
        format!("the hub is copied to {}; the copy holds its secrets", args.to.display()),
    );
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs, place: &Where, ui: &Ui) -> Done {
    let data = place.data("restore")?;
    copy(&args.from, data)?;
    ui.result(
        &json!({ "restored": data }),
        format!("the hub is back in {}", data.display()),
    );
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Done {
    let runtime = runtime()?;
    runtime.block_on(async {
        let hub = Hub::open(from, Clock::default())
            .await
            .map_err(|error| failed_to_open(&error))?;
        let wrong = hub.store.integrity().await.map_err(Failure::failed)?;
        if !wrong.is_empty() {
            return Err(Failure::failed(format!(
                "{}: the database is damaged: {}",
                from.display(),
                wrong.join("; ")
            ))
            .help("take an earlier backup"));
        }
        let target = Dir::create(to).map_err(in_dir)?;
        // Made first with its mode, so that the database is never there for others to read.
        target.write_secret("hub.db", b"").map_err(in_dir)?;
        hub.store
            .copy_to(&target.file("hub.db"))
            .await
            .map_err(Failure::failed)?;
        hub.store.close().await;
        for (name, secret) in FILES {
            if name == MAY_BE_ABSENT && !hub.dir.file(name).exists() {
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
        Ok(())
    })
}

fn in_dir(error: DirError) -> Failure {
    failed_to_open(&OpenError::from(error))
}
