//! `jos trust`: shows trust documents; the desk's verbs, which make them, are in [`super::desk`].

pub(super) mod show;

use clap::{Args, Subcommand};

#[cfg(feature = "desk")]
use super::desk::TrustVerb as DeskVerb;
use super::{Done, Ui};

const EXAMPLES: &str = if cfg!(feature = "desk") {
    "Examples:\n  \
    jos trust init --key admin.key --out trust.json\n  \
    jos trust add trust.json --role admin=ben.key.pub --key admin.key\n  \
    jos trust show trust.json trust.v2.json"
} else {
    "Example:\n  jos trust show trust.json trust.v2.json"
};

/// Make, extend, rotate and show trust documents: which keys may do what
///
/// A trust document lists public keys and gives them roles: `root` signs trust documents, `admin` signs desired states,
/// `freshness` is the hub's own key for saying what is newest. A device starts with the one in its package and then
/// walks from version to version, each signed by the root keys of the one before and by its own: keep every version.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrustCommand {
    #[command(subcommand)]
    command: TrustVerb,
}

#[derive(Subcommand)]
#[cfg_attr(
    windows,
    allow(clippy::large_enum_variant, reason = "made once, and taken apart at once")
)]
enum TrustVerb {
    #[cfg(feature = "desk")]
    #[command(flatten)]
    Desk(DeskVerb),
    Show(show::Show),
}

pub(super) fn run(command: &TrustCommand, ui: &Ui) -> Done {
    match &command.command {
        #[cfg(feature = "desk")]
        TrustVerb::Desk(verb) => verb.run(ui),
        TrustVerb::Show(args) => show::show(args, ui),
    }
}
