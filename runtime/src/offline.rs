//! Services of a root that is not running: what enabling one means in links, as its init system would make them.
//!
//! Owns the knowledge of where units, init scripts and plists lie. Asks nobody: it reads the root, and what the same
//! state is about to write there.

/// A link that enabling makes and disabling removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnableLink {
    pub(crate) path: String,
    pub(crate) target: String,
}

/// How a service is enabled in a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Enabling {
    /// By these links; none for a service that is always or never started by itself.
    Links(Vec<EnableLink>),
    /// Nothing in this root knows the service yet.
    Unknown,
}

const UNIT_DIRS: &[&str] = &["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Finds out by `read`, which gives a file's text as it will be.
pub(crate) fn enabling(service: &str, read: &dyn Fn(&str) -> Option<String>) -> Enabling {
    let has_suffix = [".service", ".socket", ".timer", ".path", ".target"]
        .iter()
        .any(|s| service.ends_with(s));
    let unit = if has_suffix {
        service.to_owned()
    } else {
        format!("{service}.service")
    };
    // An instance of a template is enabled by a link of its own name to the template's file (systemd.unit(5)).
    let file = match (unit.find('@'), unit.rfind('.')) {
        (Some(at), Some(dot)) if at < dot => format!("{}{}", &unit[..=at], &unit[dot..]),
        _ => unit.clone(),
    };
    for dir in UNIT_DIRS {
        let path = format!("{dir}/{file}");
        if let Some(text) = read(&path) {
            return Enabling::Links(systemd(&unit, &path, &text));
        }
    }
    if let Some(text) = read(&format!("/etc/init.d/{service}")).filter(|t| t.contains("/etc/rc.common")) {
        return Enabling::Links(procd(service, &text));
    }
    for dir in ["/Library/LaunchDaemons", "/Library/LaunchAgents"] {
        if read(&format!("{dir}/{service}.plist")).is_some() {
            return Enabling::Links(Vec::new());
        }
    }
    Enabling::Unknown
}

/// `[Install]` of a unit (systemd.unit(5)): WantedBy, RequiredBy, Alias.
fn systemd(unit: &str, path: &str, text: &str) -> Vec<EnableLink> {
    let mut links = Vec::new();
    let mut install = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            install = line == "[Install]";
        }
        let Some((key, value)) = line.split_once('=').filter(|_| install) else {
            continue;
        };
        for word in value
            .split_whitespace()
            .filter(|w| !w.contains('/') && !w.starts_with('.'))
        {
            let at = match key.trim() {
                "WantedBy" => format!("/etc/systemd/system/{word}.wants/{unit}"),
                "RequiredBy" => format!("/etc/systemd/system/{word}.requires/{unit}"),
                "Alias" => format!("/etc/systemd/system/{word}"),
                _ => continue,
            };
            links.push(EnableLink {
                path: at,
                target: path.to_owned(),
            });
        }
    }
    links
}

/// START= and STOP= of an init script, as rc.common's `enable` links them.
fn procd(service: &str, text: &str) -> Vec<EnableLink> {
    let number = |key: &str| {
        let value = text
            .lines()
            .find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='))?;
        let digits: String = value
            .trim_matches(['"', '\''])
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        (!digits.is_empty() && digits.len() <= 2).then_some(digits)
    };
    let link = |letter: char, n: String| EnableLink {
        path: format!("/etc/rc.d/{letter}{n}{service}"),
        target: format!("../init.d/{service}"),
    };
    let start = number("START").map(|n| link('S', n));
    let stop = number("STOP").map(|n| link('K', n));
    start.into_iter().chain(stop).collect()
}

#[cfg(test)]
mod tests {
    use super::{EnableLink, Enabling, enabling};

    fn link(path: &str, target: &str) -> EnableLink {
        EnableLink {
            path: path.into(),
            target: target.into(),
        }
    }

    #[test]
    fn a_unit_is_enabled_as_its_install_section_says() {
        let unit = "[Unit]\nWantedBy=no.target\n[Install]\nWantedBy=multi-user.target\nAlias=printd.service\n";
        let read = |p: &str| (p == "/usr/lib/systemd/system/cups.service").then(|| unit.to_owned());
        let path = "/usr/lib/systemd/system/cups.service";
        let expected = vec![
            link("/etc/systemd/system/multi-user.target.wants/cups.service", path),
            link("/etc/systemd/system/printd.service", path),
        ];
        assert_eq!(enabling("cups", &read), Enabling::Links(expected));
    }

    #[test]
    fn an_instance_links_to_its_template() {
        let read =
            |p: &str| (p == "/lib/systemd/system/getty@.service").then(|| "[Install]\nWantedBy=getty.target".into());
        let expected = link(
            "/etc/systemd/system/getty.target.wants/getty@tty1.service",
            "/lib/systemd/system/getty@.service",
        );
        assert_eq!(enabling("getty@tty1.service", &read), Enabling::Links(vec![expected]));
    }

    #[test]
    fn an_init_script_is_linked_by_its_numbers() {
        let read = |p: &str| {
            (p == "/etc/init.d/dnsmasq").then(|| "#!/bin/sh /etc/rc.common\nSTART=19\nSTOP=\"80\"\n".to_owned())
        };
        let expected = vec![
            link("/etc/rc.d/S19dnsmasq", "../init.d/dnsmasq"),
            link("/etc/rc.d/K80dnsmasq", "../init.d/dnsmasq"),
        ];
        assert_eq!(enabling("dnsmasq", &read), Enabling::Links(expected));
    }

    #[test]
    fn a_service_that_nothing_knows_is_unknown() {
        assert_eq!(enabling("cups", &|_| None), Enabling::Unknown);
    }
}
