//! `jos trust init`, `add` and `rotate`: make the versions of a trust document. One file a verb, and the end they share.

mod finish;
mod init;
mod next;

use std::path::PathBuf;

use clap::Subcommand;
use jos_schemas::documents::trust::Role;

use crate::cli::desk::pair;
use crate::cli::{Done, Ui};

/// What makes trust documents.
#[derive(Subcommand)]
pub(in crate::cli) enum TrustVerb {
    Init(init::Init),
    Add(next::Add),
    Rotate(next::Rotate),
}

impl TrustVerb {
    pub(in crate::cli) fn run(&self, ui: &Ui) -> Done {
        match self {
            Self::Init(args) => init::init(args, ui),
            Self::Add(args) => next::add(args, ui),
            Self::Rotate(args) => next::rotate(args, ui),
        }
    }
}

/// `root`, `admin` or `freshness`.
fn role(text: &str) -> Result<Role, String> {
    match text {
        "root" => Ok(Role::Root),
        "admin" => Ok(Role::Admin),
        "freshness" => Ok(Role::Freshness),
        other => Err(format!("found the role {other:?}, expected root, admin or freshness")),
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
