//! `jos key`: makes signing keys and shows their public halves. Never shows a secret.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jos_trust::keyfile::{self, NamedKey};
use jos_trust::{KeyId, SecretKey, sha256};
use serde_json::json;

use super::keys::{key_failure, public};
use crate::cli::{Done, Failure, Ui};

/// Make signing keys and show their public halves
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos key new --out admin.key        writes admin.key (secret) and admin.key.pub\n  \
    jos key show admin.key")]
pub(crate) struct KeyCommand {
    #[command(subcommand)]
    command: KeyVerb,
}

#[derive(Subcommand)]
enum KeyVerb {
    New(New),
    Show(Show),
}

/// Make a new ed25519 key: FILE (secret, mode 0600) and FILE.pub (for others)
///
/// The secret stays where you sign: no device and no hub ever needs it. Hand FILE.pub to whoever keeps the trust
/// document. There is no way back from a lost key but another key with the same role, so keep a second one elsewhere.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos key new --out admin.key --comment \"Ana, office safe\"\n  \
    jos key new --out root.key --id root-2026\n\n\
    Next: jos trust init --key admin.key --out trust.json")]
struct New {
    /// Where to write the secret key; an existing file is never overwritten
    #[arg(long, value_name = "FILE", default_value = "jos.key")]
    out: PathBuf,
    /// Words for people, kept in the trust document beside the public key
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// The id that signatures carry [default: 16 hex digits of the public key's SHA-256]
    #[arg(long, value_name = "ID")]
    id: Option<KeyId>,
}

/// Show the public half of a key file: its id, public key and comment
#[derive(Args)]
#[command(after_help = "Examples:\n  jos key show admin.key\n  jos key show admin.key --json > admin.key.pub")]
struct Show {
    /// A file that `jos key new` wrote, the secret one or the .pub
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(command: &KeyCommand, ui: &Ui) -> Done {
    match &command.command {
        KeyVerb::New(args) => new(args, ui),
        KeyVerb::Show(args) => show(args, ui),
    }
}

fn new(args: &New, ui: &Ui) -> Done {
    if args
        .comment
        .as_ref()
        .is_some_and(|c| c.chars().count() > 200 || c.chars().any(char::is_control))
    {
        return Err(Failure::invalid(
            "--comment: expected one line of 200 characters at most",
        ));
    }
    let mut failed = None;
    let key = SecretKey::generate(&mut |bytes| failed = getrandom::fill(bytes).err());
    if let Some(e) = failed {
        return Err(Failure::failed(format!("the system gives no random bytes: {e}")));
    }
    let key = match &args.id {
        Some(id) => key.with_id(id.clone()),
        None => key,
    };
    let key = key.with_comment(args.comment.clone());
    let public_path = beside(&args.out);
    if public_path.exists() {
        return Err(key_failure(keyfile::KeyFileError::Exists { path: public_path }));
    }
    keyfile::write_secret(&args.out, &key).map_err(key_failure)?;
    let named = NamedKey::from(&key);
    keyfile::write_public(&public_path, &named).map_err(key_failure)?;
    let value = json!({
        "key_id": named.id, "public": named.public.to_base64(), "comment": named.comment,
        "secret_file": args.out, "public_file": public_path,
    });
    let text = format!(
        "key      {}\nsecret   {} (mode 0600: keep it, copy it to a second safe place)\npublic   {} (for others)\n\n\
         next: jos trust init --key {} --out trust.json",
        named.id,
        args.out.display(),
        public_path.display(),
        args.out.display(),
    );
    ui.result(&value, text);
    Ok(0)
}

fn show(args: &Show, ui: &Ui) -> Done {
    let key = public(&args.file)?;
    let mut text = format!(
        "key      {}\npublic   {}\nsha256   {}\n",
        key.id,
        key.public.to_base64(),
        sha256(key.public.as_bytes())
    );
    if let Some(comment) = &key.comment {
        text.push_str(&format!("comment  {comment}\n"));
    }
    if key.dev {
        text.push_str("dev      a throwaway key: never for a device that leaves the desk\n");
    }
    ui.result(&key.to_json(), text);
    Ok(0)
}

/// `admin.key` → `admin.key.pub`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}
