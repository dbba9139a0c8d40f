//! `jos-hub init`.

use serde_json::json;

use super::door::{Where, failed_to_open, runtime};
use super::ui::{Done, Failure, Ui};
use crate::clock::Clock;
use crate::hub;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  jos-hub init --data /var/lib/jos-hub --address https://hub.example:8443
  jos-hub init --data hub --address https://192.0.2.7:8443 --address https://[2001:db8::7]:8443
  JOS_HUB_DATABASE_URL=postgres://hub@db.example/fleet jos-hub init --data hub       one of several hubs, on PostgreSQL

DIR must be empty or not there: a hub is never made over another. It will hold every secret of the hub; its mode is 0700.")]
pub(super) struct Args {
    /// Where devices will find the hub, best first; https://HOST:8443 of this machine when absent
    #[arg(long = "address", value_name = "URL")]
    addresses: Vec<String>,
}

pub(super) fn run(args: &Args, place: &Where, ui: &Ui) -> Done {
    let place = place.place("init")?;
    let addresses = if args.addresses.is_empty() {
        vec![format!("https://{}:8443", host())]
    } else {
        args.addresses.clone()
    };
    if let Some(bad) = addresses.iter().find(|address| !jos_link::token::is_address(address)) {
        return Err(Failure::invalid(format!(
            "--address: found {bad:?}, expected \"https://HOST:PORT\""
        )));
    }
    let made = runtime()?
        .block_on(hub::init(&place, &addresses, &Clock::default()))
        .map_err(|error| failed_to_open(&error))?;
    let text = format!(
        "a hub was made in {}
  devices find it at  {}
  its CA              {}
  its freshness key   {}
  an API token        {} (keep it like a password)

next: add yourself as a user of the dashboard, give its freshness key the role in your trust document, and start it;
once you have an API token of your own (jos-hub api-token new), revoke this one: jos-hub api-token revoke admin
  jos-hub user add NAME --role admin --data {}
  jos trust add trust.json --role freshness={} --key root.key
  jos-hub serve --data {}",
        made.data,
        made.addresses.join(", "),
        made.ca,
        made.freshness,
        made.admin_token,
        made.data,
        made.freshness,
        made.data,
    );
    ui.result(&json!(made), text);
    Ok(())
}

/// This machine's name, as far as an address may hold it.
fn host() -> String {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    if plain { name } else { "localhost".to_owned() }
}
