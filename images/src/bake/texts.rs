//! The texts that every package carries: agent.toml, policy.toml, brand.json, the greeting, the manual page.
//!
//! Owns: their content, the same on every system but for where things lie.
//! Never: the service's own file, which [`jos_schemas::unit`] writes.

use jos_schemas::documents::agent_config::{AgentConfig, HubConfig};
use jos_schemas::layout::Layout;
use jos_schemas::text::{AbsPath, Name, ServiceName};
use serde::Serialize;
use serde_json::json;

use super::appliance::Appliance;
use super::{BakeError, windows};
use crate::targets::System;

/// The layout of a system.
#[must_use]
pub(super) fn layout(system: System) -> Layout {
    match system {
        System::Debian => Layout::LINUX,
        System::OpenWrt => Layout::OPENWRT,
        System::MacOs => Layout::MACOS,
        System::Windows => Layout::WINDOWS,
    }
}

/// Where the program lies. On Windows programs have folders of their own, which bear the product's name.
#[must_use]
pub(super) fn program(app: &Appliance, system: System) -> String {
    match system {
        System::Windows => windows::program(app),
        System::Debian | System::OpenWrt | System::MacOs => layout(system).program.to_owned(),
    }
}

/// The command of the service.
#[must_use]
pub(super) fn command(layout: &Layout) -> Vec<String> {
    let config = format!("{}/agent.toml", layout.etc);
    let baseline = format!("{}/baseline.json", layout.share);
    [layout.program, "agent", "run", "--config", &config, &baseline]
        .map(str::to_owned)
        .to_vec()
}

/// `agent.toml`.
///
/// # Errors
/// [`BakeError::Text`] when a value does not fit its type.
pub(super) fn agent_toml(app: &Appliance, system: System) -> Result<String, BakeError> {
    let at = layout(system);
    let path = |text: String| AbsPath::new(text).map_err(|e| BakeError::text("agent.toml", e));
    let below = |dir: &str, name: &str| path(format!("{dir}/{name}")).map(Some);
    let ca = match &app.hub_ca {
        Some(_) => below(at.etc, "hub-ca.pem")?,
        None => None,
    };
    let config = AgentConfig {
        product: Some(app.product().to_owned()),
        service: Some(Name::new(app.service.clone()).map_err(|e| BakeError::text("service", e))?),
        identifier: match &app.package.identifier {
            Some(label) if system == System::MacOs => {
                Some(ServiceName::new(label.clone()).map_err(|e| BakeError::text("identifier", e))?)
            }
            _ => None,
        },
        // Elsewhere the command of the service names it.
        state: match system {
            System::Windows => below(at.share, "baseline.json")?,
            System::Debian | System::OpenWrt | System::MacOs => None,
        },
        policy: below(at.etc, "policy.toml")?,
        trust: below(at.share, "trust.json")?,
        state_dir: Some(path(at.state.to_owned())?),
        secrets: below(at.etc, "secrets")?,
        tenant: app.tenant.clone(),
        labels: app.labels.clone(),
        interval: app.interval,
        runtime: app.runtime.clone(),
        hub: app.hub.clone().map(|url| HubConfig {
            ca,
            ..HubConfig::at(url)
        }),
        ..AgentConfig::named(app.name.clone())
    };
    let head = format!(
        "# How the agent of {} runs on this device. Your changes survive upgrades.\n",
        app.product()
    );
    Ok(head + &to_toml("agent.toml", &config)?)
}

/// `policy.toml`.
///
/// # Errors
/// [`BakeError::Text`].
pub(super) fn policy_toml(app: &Appliance) -> Result<String, BakeError> {
    let head = format!(
        "# What each source of changes was granted on this device by {}. Everything else is refused.\n\
         # Your changes survive upgrades; the hub can never change this file.\n",
        app.vendor()
    );
    Ok(head + &to_toml("policy.toml", &app.policy)?)
}

fn to_toml(what: &'static str, value: &impl Serialize) -> Result<String, BakeError> {
    toml::to_string_pretty(value).map_err(|e| BakeError::text(what, e))
}

/// `brand.json`, which `jos agent status` shows.
#[must_use]
pub(super) fn brand_json(app: &Appliance) -> String {
    let mut value = json!({
        "kind": "jos.brand",
        "vendor": app.vendor(),
        "product": app.product(),
        "package": app.name.as_str(),
        "version": app.full_version(),
    });
    let optional = [
        ("support_url", &app.brand.support_url),
        ("support_email", &app.brand.support_email),
    ];
    for (name, text) in optional {
        if let Some(text) = text {
            value[name] = json!(text);
        }
    }
    if app.dev {
        value["dev"] = json!(true);
    }
    format!("{value:#}\n")
}

/// Who helps: one line, empty when the brand names nobody.
#[must_use]
pub(super) fn support(app: &Appliance) -> String {
    let both = [&app.brand.support_url, &app.brand.support_email];
    let list: Vec<&str> = both.into_iter().filter_map(|o| o.as_deref()).collect();
    if list.is_empty() {
        String::new()
    } else {
        format!("Support: {}", list.join(", "))
    }
}

/// The greeting at login.
#[must_use]
pub(super) fn motd(app: &Appliance) -> String {
    let mut text = match &app.brand.motd {
        Some(motd) => format!("{}\n", motd.trim_end()),
        None => format!("{} by {}\n", app.product(), app.vendor()),
    };
    let support = support(app);
    if !support.is_empty() {
        text.push_str(&format!("{support}\n"));
    }
    if app.dev {
        text.push_str("DEVELOPMENT BUILD: signed by a throwaway key, not for use.\n");
    }
    text
}

/// What stands above the login on a machine's own screen, as agetty(8) reads it: no character of a brand is one of its escapes.
#[must_use]
pub(crate) fn issue(app: &Appliance) -> String {
    let mut text = format!(
        "\n{} by {}\nVersion {}",
        app.product(),
        app.vendor(),
        app.full_version()
    );
    let support = support(app);
    if !support.is_empty() {
        text.push_str(&format!(". {support}"));
    }
    text.push('\n');
    if app.dev {
        text.push_str("DEVELOPMENT BUILD: signed by a throwaway key, not for use.\n");
    }
    text + "\n\\n, \\l\n\n"
}

/// One line for package managers.
#[must_use]
pub(super) fn synopsis(app: &Appliance) -> String {
    let mut text = app
        .package
        .description
        .clone()
        .unwrap_or_else(|| format!("{} by {}", app.product(), app.vendor()));
    if let Some((at, _)) = text.char_indices().nth(70) {
        text.truncate(at);
    }
    if app.dev { format!("[dev] {text}") } else { text }.trim().to_owned()
}

/// Some lines for package managers.
#[must_use]
pub(super) fn description(app: &Appliance) -> String {
    let mut text = format!(
        "This package turns the machine into {} by {}.\n\
         It carries the jos agent, which brings the machine into the state that its\n\
         vendor signed, keeps it there, and takes a change back that does not work.",
        app.product(),
        app.vendor()
    );
    let support = support(app);
    if !support.is_empty() {
        text.push_str(&format!("\n\n{support}"));
    }
    if app.dev {
        text.push_str("\n\nDEVELOPMENT BUILD: signed by a throwaway key, not for use.");
    }
    text
}

/// jos(1) as far as an appliance needs it.
#[must_use]
pub(super) fn manual(app: &Appliance, system: System) -> String {
    let at = layout(system);
    let roff = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace('.', "\\&.");
    include_str!("jos.1.in")
        .replace("@PRODUCT@", &roff(app.product()))
        .replace("@VENDOR@", &roff(app.vendor()))
        .replace("@VERSION@", &roff(&app.full_version()))
        .replace("@ETC@", &roff(at.etc))
        .replace("@SHARE@", &roff(at.share))
        .replace("@STATE@", &roff(at.state))
        .replace("@SUPPORT@", &roff(&support(app)))
}
