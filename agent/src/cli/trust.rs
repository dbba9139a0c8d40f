//! `jos trust`: makes, extends, rotates and shows trust documents. One file a command, and the end that they share.

mod finish;
mod init;
mod next;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jos_schemas::documents::trust::Role;

use super::signing::{pair, role};
use super::{Done, Ui};

/// Make, extend, rotate and show trust documents: which keys may do what
///
/// A trust document lists public keys and gives them roles: `root` signs trust documents, `admin` signs desired states,
/// `freshness` is the hub's own key for saying what is newest. A device starts with the one in its package and then
/// walks from version to version, each signed by the root keys of the one before and by its own: keep every version.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos trust init --key admin.key --out trust.json\n  \
    jos trust add trust.json --role admin=ben.key.pub --key admin.key\n  \
    jos trust show trust.json trust.v2.json")]
pub(super) struct TrustCommand {
    #[command(subcommand)]
    command: TrustVerb,
}

#[derive(Subcommand)]
enum TrustVerb {
    Init(init::Init),
    Add(next::Add),
    Rotate(next::Rotate),
    Show(show::Show),
}

pub(super) fn run(command: &TrustCommand, ui: &Ui) -> Done {
    match &command.command {
        TrustVerb::Init(args) => init::init(args, ui),
        TrustVerb::Add(args) => next::add(args, ui),
        TrustVerb::Rotate(args) => next::rotate(args, ui),
        TrustVerb::Show(args) => show::show(args, ui),
    }
}

fn role_and_file(text: &str) -> Result<(Role, PathBuf), String> {
    let (left, right) = pair(text, "ROLE=FILE")?;
    Ok((role(left)?, PathBuf::from(right)))
}

fn role_and_number(text: &str) -> Result<(Role, u32), String> {
    let (left, right) = pair(text, "ROLE=N")?;
    Ok((
        role(left)?,
        right
            .parse()
            .map_err(|_| format!("found {right:?}, expected a number from 1"))?,
    ))
}
