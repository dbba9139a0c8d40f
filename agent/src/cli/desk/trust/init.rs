//! `jos trust init`: the first version.

use std::path::PathBuf;

use clap::Args;
use jos_schemas::documents::trust::Role;
use jos_schemas::text::{Name, Utc};
use jos_trust::refused::role_name;
use jos_trust::sign::{self, Grant, NewTrust};

use super::finish::{KeyFiles, finish, unsound};
use super::{role_and_file, role_and_number};
use crate::cli::signing::moment;
use crate::cli::{Done, Failure, Ui};

/// Make the first version of a trust document
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos key new --out admin.key\n  \
    jos trust init --key admin.key --tenant acme --out trust.json\n\n  \
    Two people who must both sign a change of keys, and either of whom may sign states:\n  \
    jos trust init --key ana.key --key ben.key.pub --threshold root=2\n  \
    jos sign --key ben.key trust.json                    on Ben's machine\n\n  \
    Roles apart, and the hub's own key for freshness:\n  \
    jos trust init --role root=safe.key --role admin=ana.key.pub --role freshness=hub.key.pub")]
pub(crate) struct Init {
    /// A key that gets the roles root and admin; FILE is a secret key (which then signs) or a .pub; may be given several
    /// times
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A key for one role: root, admin or freshness; may be given several times
    #[arg(long, value_name = "ROLE=FILE", value_parser = role_and_file)]
    role: Vec<(Role, PathBuf)>,
    /// How many keys of a role must sign; may be given once a role [default: 1]
    #[arg(long, value_name = "ROLE=N", value_parser = role_and_number)]
    threshold: Vec<(Role, u32)>,
    /// The tenant whose devices take it [default: any]
    #[arg(long, value_name = "NAME")]
    tenant: Option<Name>,
    /// When it ends, as 2028-01-31; from then on devices adopt nothing new under it [default: never]
    #[arg(long, value_name = "UTC", value_parser = moment)]
    expires: Option<Utc>,
    /// Where to write it; an existing file is never overwritten
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    out: PathBuf,
}

pub(super) fn init(args: &Init, ui: &Ui) -> Done {
    let mut files = KeyFiles::default();
    let mut grants = Vec::new();
    for path in &args.key {
        grants.push(Grant {
            key: files.take(path)?,
            roles: vec![Role::Root, Role::Admin],
        });
    }
    for (role, path) in &args.role {
        grants.push(Grant {
            key: files.take(path)?,
            roles: vec![*role],
        });
    }
    for role in [Role::Root, Role::Admin] {
        if !grants.iter().any(|g| g.roles.contains(&role)) {
            let message = format!("no key gets the role {}", role_name(role));
            return Err(
                Failure::invalid(message).help("give --key FILE (root and admin), or --role ROLE=FILE for each")
            );
        }
    }
    let new = NewTrust {
        tenant: args.tenant.clone(),
        expires: args.expires.clone(),
        grants,
        thresholds: args.threshold.iter().copied().collect(),
    };
    let trust = sign::new_trust(&new).map_err(|r| unsound(&r))?;
    finish(&args.out, &trust, None, &files.secrets, ui)
}
