//! What several agent commands need: names, hubs, the service of an agent.

use jos_schemas::text::Name;

use crate::cli::Failure;
use crate::installed::{self, Agent};
use crate::place::Place;
use crate::services::Service;

/// Said wherever a hub is configured and has not made this device known.
pub(crate) const NOT_ENROLLED: &str = "not enrolled: jos agent enrol TOKEN, with a token from `jos-hub token new`";

/// Reads a name as an argument gives it.
pub(crate) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

/// Checks the address of a hub: https, a host, no login, no fragment.
pub(crate) fn hub(url: &str) -> Result<String, String> {
    let rest = url
        .strip_prefix("https://")
        .ok_or("expected an address that starts with https://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}".contains(c);
    if host.is_empty() || host.starts_with(':') {
        return Err("expected a host after https://".into());
    }
    if host.contains('@') {
        return Err("a login in the address would end up in logs; leave it out".into());
    }
    if rest.contains('#') || !url.chars().all(plain) {
        return Err("expected a plain address without spaces, quotes or '#'".into());
    }
    if let Some((_, port)) = host
        .rsplit_once(':')
        .filter(|(h, _)| !h.is_empty() && !host.ends_with(']'))
        && port.parse::<u16>().is_err()
    {
        return Err(format!("found port {port:?}, expected a number up to 65535"));
    }
    Ok(url.to_owned())
}

/// Finds an agent, or says which there are.
pub(crate) fn find(place: &Place, name: &Name) -> Result<Agent, Failure> {
    installed::find(place, name).ok_or_else(|| {
        let known: Vec<String> = installed::all(place).iter().map(|a| a.name.to_string()).collect();
        let help = if known.is_empty() {
            "none is installed; `jos agent install ARTIFACT` installs one".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        Failure::failed(format!("no agent is called {name:?}", name = name.as_str())).help(help)
    })
}

/// Calls `with` with the service of `agent`.
pub(crate) fn with_service<T>(place: &Place, agent: &Agent, with: impl FnOnce(&Service<'_>) -> T) -> T {
    agent.with_service(place, with)
}

#[cfg(test)]
mod tests {
    use super::{hub, name};

    #[test]
    fn a_hub_is_an_https_address_with_a_host_and_no_login() {
        for good in [
            "https://hub.example.com",
            "https://hub.example.com:8443/a/b",
            "https://[::1]:8443/",
            "https://10.0.0.1",
        ] {
            assert!(hub(good).is_ok(), "{good}");
        }
        for bad in [
            "http://hub",
            "https://",
            "https:///x",
            "https://:8443",
            "https://a:b@hub",
            "https://hub:99999",
            "hub",
            "https://hub/\nX: y",
            "https://hub/a b",
            "https://hub/#x",
            "https://hub/\"x",
        ] {
            assert!(hub(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_one_harmless_path_component() {
        assert!(name("print-server-2").is_ok());
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "A",
            "a b",
            "a\n",
            "-a",
            "a%n",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
