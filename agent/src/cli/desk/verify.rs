//! `jos verify`: whether a signed document would be taken, and by whom it was signed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use jos_schemas::documents::desired_state;
use jos_schemas::documents::trust;
use jos_schemas::node::Node;
use jos_schemas::text::{Name, Utc};
use jos_trust::refused::Refused;
use jos_trust::{Channel, Context, Floors, KeyId, TrustRoot, state};
use serde_json::json;

use super::pair;
use crate::cli::signing::{Doc, moment, now, refused, trust_refused};
use crate::cli::{Done, Failure, Ui};

/// Verify a signed desired state or trust document
///
/// Checks the signatures under the role's threshold and the expiry. With --tenant, --device or --label it also checks
/// the audience, as that device would. What only the device knows (the versions it already had) is not asked here.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos verify --trust trust.json state.json\n  \
    jos verify --trust trust.json --device router-7 --label site=mx-3 state.json\n  \
    jos verify --trust trust.json --trust trust.v2.json state.json   after a rotation\n  \
    jos verify --trust trust.json trust.v2.json                      is it a good successor?\n\n\
    Exit codes: 0 it is good, 1 it is refused, 2 it is no such document.")]
pub(crate) struct VerifyCommand {
    /// The trust document; several are walked in order, oldest first
    #[arg(long, value_name = "FILE", required = true)]
    trust: Vec<PathBuf>,
    /// As a device of this tenant [default: the trust document's]
    #[arg(long, value_name = "NAME")]
    tenant: Option<Name>,
    /// As the device with this id
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// As a device with this label; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// At this moment, as 2027-01-31T00:00:00Z [default: the system clock]
    #[arg(long, value_name = "UTC", value_parser = moment)]
    now: Option<Utc>,
    /// The document, JSON or TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

fn label(text: &str) -> Result<(String, String), String> {
    pair(text, "KEY=VALUE").map(|(key, value)| (key.to_owned(), value.to_owned()))
}

pub(super) fn run(args: &VerifyCommand, ui: &Ui) -> Done {
    let now = args.now.clone().unwrap_or_else(now);
    let root = trust_root(&args.trust, &now)?;
    let doc = Doc::read(&args.file)?;
    let kind = doc.parse()?.get("kind").and_then(Node::as_str).map(str::to_owned);
    match kind.as_deref() {
        Some(trust::KIND) => verify_trust(&doc, &root, &now, ui),
        // A document of another kind is refused by name there.
        _ => verify_state(args, &doc, &root, &now, ui),
    }
}

/// Opens the first file as a trust root and walks to the others, in their order.
pub(super) fn trust_root(files: &[PathBuf], now: &Utc) -> Result<TrustRoot, Failure> {
    let docs: Vec<Doc> = files.iter().map(|file| Doc::read(file)).collect::<Result<_, _>>()?;
    let Some((first, rest)) = docs.split_first() else {
        return Err(Failure::invalid("no trust document was given").help("name one with --trust FILE"));
    };
    let mut root = TrustRoot::open(first.received()).map_err(|r| trust_refused(&first.name, &r))?;
    // One by one, so that a refusal names its file; only the last one's expiry counts, and its users ask for that.
    for doc in rest {
        let next = TrustRoot::open(doc.received()).map_err(|r| trust_refused(&doc.name, &r))?;
        if next.edition() != root.edition() {
            next.succeeds(&root).map_err(|r| trust_refused(&doc.name, &r))?;
            root = next;
        }
    }
    if !rest.is_empty() {
        root.not_expired(&Floors::default().now(now, now))
            .map_err(|r| trust_refused(&docs[docs.len() - 1].name, &r))?;
    }
    Ok(root)
}

fn verify_state(args: &VerifyCommand, doc: &Doc, root: &TrustRoot, now: &Utc, ui: &Ui) -> Done {
    let refuse = |r: Refused| refused(&doc.name, &r);
    let authentic = state::authenticate(doc.received(), root).map_err(refuse)?;
    authentic.in_time(Channel::Local, now).map_err(refuse)?;
    let meta = authentic.value().meta.clone();
    let (signers, content, dev) = (
        authentic.signers().to_vec(),
        authentic.content(),
        authentic.signed_by_dev_key() || root.uses_dev_key(),
    );
    let addressed = args.tenant.is_some() || args.device.is_some() || !args.label.is_empty();
    if addressed {
        let labels: BTreeMap<String, String> = args.label.iter().cloned().collect();
        let context = Context {
            channel: Channel::Local,
            name: &meta.name,
            tenant: args.tenant.as_ref(),
            device: args.device.as_deref(),
            labels: &labels,
            now,
            floors: &Floors::default(),
            allow_unscoped: true,
        };
        authentic.admit(&context).map_err(refuse)?;
    }
    let mut text = format!(
        "good     {} {} version {}\nsigned   by {} (trust version {})\ncontent  {content}\nexpires  {}\n",
        desired_state::KIND,
        meta.name,
        meta.version,
        listed(&signers),
        root.version(),
        meta.expires.as_ref().map_or("never", Utc::as_str),
    );
    match (addressed, &meta.audience) {
        (true, _) => text.push_str("audience this device is meant\n"),
        (false, None) => text.push_str("audience none: taken from a local file, not from a hub\n"),
        (false, Some(_)) => text.push_str("audience not checked: name a device with --tenant, --device, --label\n"),
    }
    if dev {
        text.push_str("dev      a throwaway key is trusted: never for a device that leaves the desk\n");
    }
    let value = json!({
        "valid": true, "file": doc.name, "kind": desired_state::KIND, "name": meta.name, "version": meta.version,
        "content": content, "signed_by": signers, "trust_version": root.version(), "expires": meta.expires,
        "audience_checked": addressed, "dev": dev, "now": now,
    });
    ui.result(&value, text);
    Ok(0)
}

fn verify_trust(doc: &Doc, root: &TrustRoot, now: &Utc, ui: &Ui) -> Done {
    let refuse = |r| trust_refused(&doc.name, &r);
    let next = TrustRoot::open(doc.received()).map_err(refuse)?;
    let same = next.edition() == root.edition();
    if !same {
        next.succeeds(root).map_err(refuse)?;
    }
    next.not_expired(now).map_err(refuse)?;
    let signers = next.verified().signers();
    let relation = if same {
        "the trust root itself".to_owned()
    } else {
        format!("the successor of version {}", root.version())
    };
    let text = format!(
        "good     {} version {}, {relation}\nsigned   by {}\nexpires  {}\n{}",
        trust::KIND,
        next.version(),
        listed(signers),
        next.value().expires.as_ref().map_or("never", Utc::as_str),
        if next.uses_dev_key() {
            "dev      holds a throwaway key: never for a device that leaves the desk\n"
        } else {
            ""
        },
    );
    let value = json!({
        "valid": true, "file": doc.name, "kind": trust::KIND, "version": next.version(), "tenant": next.tenant(),
        "content": next.edition().content, "signed_by": signers, "expires": next.value().expires,
        "successor_of": if same { None } else { Some(root.version()) }, "dev": next.uses_dev_key(), "now": now,
    });
    ui.result(&value, text);
    Ok(0)
}

fn listed(ids: &[KeyId]) -> String {
    ids.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ")
}
