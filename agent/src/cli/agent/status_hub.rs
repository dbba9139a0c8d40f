//! What `jos agent status` says of the hub.

use serde_json::{Value, json};

use super::common::NOT_ENROLLED;
use crate::run::live::Link;

/// For scripts. An agent without a hub has none, but for the machine's own, which says how it would get one.
pub(super) fn value(link: Option<&Link>, url: Option<&str>, baked: bool) -> Value {
    let Some(link) = link else {
        return match url {
            None if !baked => Value::Null,
            url => json!({ "url": url, "enrolled": false, "contact": NOT_ENROLLED }),
        };
    };
    let address = link.addresses.get(link.address).map(String::as_str).or(url);
    let contact = match (&link.device, &link.last_contact) {
        (None, _) => "enrolling".to_owned(),
        (Some(_), None) => "no contact since the agent started".to_owned(),
        (Some(_), Some(when)) => format!("last contact {when}"),
    };
    json!({
        "url": address,
        "addresses": link.addresses,
        "enrolled": link.device.is_some(),
        "device": link.device,
        "tenant": link.tenant,
        "contact": contact,
        "last_contact": link.last_contact,
        "certificate_ends": link.certificate_ends,
        "time": link.freshness,
        "offered": link.offered,
        "held": link.held,
        "reports_waiting": link.waiting,
        "alarm": link.alarm,
        "trouble": link.trouble,
        "fetcher": link.fetcher,
        "fetcher_starts": link.starts,
        "confinement": link.confinement,
    })
}

/// For people.
pub(super) fn lines(hub: &Value) -> Vec<(&'static str, String)> {
    let Some(hub) = hub.as_object() else { return Vec::new() };
    let said = |key: &str| hub.get(key).and_then(Value::as_str);
    let contact = said("contact").unwrap_or_default();
    let mut lines = vec![match said("url") {
        Some(url) => ("hub", format!("{url} ({contact})")),
        None => ("hub", contact.to_owned()),
    }];
    if let (Some(device), Some(tenant)) = (said("device"), said("tenant")) {
        let until = said("certificate_ends")
            .map(|e| format!(", certificate until {e}"))
            .unwrap_or_default();
        lines.push(("enrolled", format!("{device} of {tenant}{until}")));
    }
    if let Some(held) = hub.get("held").filter(|h| h.is_object()) {
        let missing: Vec<&str> = held["missing"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let text = match held["why"].as_str().unwrap_or_default() {
            "features" => format!("version {}: this agent lacks {}", held["version"], missing.join(", ")),
            "expired" => format!("version {}: its time was over at {}", held["version"], held["expires"]),
            "ambiguous" => format!("versions {}: each matches this device", held["versions"]),
            other => other.to_owned(),
        };
        lines.push(("held back", text));
    }
    if let Some(waiting) = hub.get("reports_waiting").and_then(Value::as_u64).filter(|w| *w > 0) {
        lines.push(("reports", format!("{waiting} wait for the hub")));
    }
    if let Some(alarm) = said("alarm") {
        lines.push(("hub alarm", alarm.to_owned()));
    }
    if let Some(trouble) = said("trouble") {
        lines.push(("hub trouble", trouble.to_owned()));
    }
    lines
}
