//! Grants for what a system keeps in files of its own format: UCI, crontabs, kernel parameters.
//!
//! Most of what stands in `/etc/config` is data; some of it is not: an option that names a script is executed by whoever
//! reads it. Those that we know are listed here and need `code = true`, like a path that becomes code. The list errs on the
//! strict side and cannot be whole: a package may read a command from an option of any name. Who grants single options
//! instead of whole files does not depend on it.

use jos_schemas::documents::desired_state::{CronStep, Step, SysctlStep, UciStep};
use jos_schemas::documents::policy::{CommandGrant, Source, UciGrant, WideUciGrant};

use super::{Gate, Judgement, line};
use crate::globs;
use crate::sysctl::Key;

/// Files of `/etc/config` that say little else than what is executed or who may do what.
const CODE_CONFIGS: &[&str] = &[
    "acme",
    "collectd",
    "dropbear",
    "ipsec",
    "keepalived",
    "lighttpd",
    "luci",
    "luci_statistics",
    "nginx",
    "openvpn",
    "rpcd",
    "rsyncd",
    "snmpd",
    "sshd",
    "strongswan",
    "swanctl",
    "telnetd",
    "ttyd",
    "ubootenv",
    "uhttpd",
    "fstab",
    "firewall_user",
    "watchcat",
    "xinetd",
];

/// Options that are executed, or name what is, whatever the file: parts of their names.
const CODE_PARTS: &[&str] = &[
    "script",
    "command",
    "cmd",
    "exec",
    "handler",
    "hook",
    "interpreter",
    "plugin",
    "program",
    "shell",
    "run_",
    "_run",
];

/// Options of known files whose names do not tell.
const CODE_OPTIONS: &[(&str, &str)] = &[
    ("dhcp", "confdir"),
    ("dhcp", "conffile"),
    ("dhcp", "leasefile"),
    ("dhcp", "leasetrigger"),
    ("dhcp", "serversfile"),
    ("firewall", "path"),
    ("firewall", "reload"),
    ("network", "connect"),
    ("network", "disconnect"),
    ("network", "down"),
    ("network", "pppd_options"),
    ("network", "up"),
    ("samba4", "include"),
    ("system", "conffile"),
    ("wireless", "hostapd_bss_options"),
    ("wireless", "hostapd_options"),
];

/// Kernel parameters whose value is executed by the kernel, as root.
const EXECUTED: &[&str] = &[
    "kernel/core_pattern",
    "kernel/hotplug",
    "kernel/modprobe",
    "kernel/poweroff_cmd",
];

/// Whether an option is executed, or decides who may do what.
fn is_code(config: &str, option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    CODE_CONFIGS.contains(&config)
        || CODE_PARTS.iter().any(|part| option.contains(part))
        || CODE_OPTIONS.contains(&(config, option.as_str()))
}

/// Files of `/etc/config` that, taken whole, may hold what is executed.
pub(super) fn code_configs() -> impl Iterator<Item = String> {
    let known = CODE_CONFIGS.iter().chain(CODE_OPTIONS.iter().map(|(config, _)| config));
    known.map(|config| format!("/etc/config/{config}"))
}

/// How a step names its section where it is granted: by name, or `@type`.
fn section(step: &UciStep) -> String {
    match step.section.strip_prefix('@') {
        Some(place) => format!("@{}", place.split('[').next().unwrap_or_default()),
        None if step.section.is_empty() => format!("@{}", step.section_type.as_deref().unwrap_or_default()),
        None => step.section.clone(),
    }
}

/// The step in words: `network.lan`, `firewall.@zone[name=lan]`.
pub(crate) fn uci_words(step: &UciStep) -> String {
    if !step.section.is_empty() {
        return format!("{}.{}", step.config, step.section);
    }
    let by: Vec<String> = step
        .matching
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let kind = step.section_type.as_deref().unwrap_or_default();
    format!("{}.@{kind}[{}]", step.config, by.join(","))
}

/// Options that a step gives a value.
fn set(step: &UciStep) -> impl Iterator<Item = &str> {
    step.options.keys().chain(step.matching.keys()).map(String::as_str)
}

/// Whether a step makes, types or removes its section, besides changing options of it.
fn whole_section(step: &UciStep) -> bool {
    step.absent || step.section_type.is_some() || step.section.is_empty()
}

/// The grant that covers a step and little else.
pub fn uci_grant(step: &UciStep) -> Vec<UciGrant> {
    let section = section(step);
    let grant = |path: String, code: bool| {
        if code {
            UciGrant::Wide(WideUciGrant { path, code })
        } else {
            UciGrant::Pattern(path)
        }
    };
    let whole = format!("{}.{section}", step.config);
    if whole_section(step) {
        let code = CODE_CONFIGS.contains(&step.config.as_str()) || set(step).any(|o| is_code(&step.config, o));
        return vec![grant(whole, code)];
    }
    let options = set(step).map(|o| (o, is_code(&step.config, o)));
    let removed = step
        .remove
        .iter()
        .map(|o| (o.as_str(), CODE_CONFIGS.contains(&step.config.as_str())));
    options
        .chain(removed)
        .map(|(option, code)| grant(format!("{whole}.{option}"), code))
        .collect()
}

/// Whether `pattern` covers an option of a section, or (`None`) the section as a whole.
fn covers(pattern: &str, config: &str, section: &str, option: Option<&str>) -> bool {
    let mut parts = pattern.split('.');
    let fits = |part: Option<&str>, text: &str| match part {
        None | Some("*") => true,
        Some(named) if named.starts_with('@') || text.starts_with('@') => named == text,
        Some(glob) => globs::matches(glob, text),
    };
    parts.next() == Some(config)
        && fits(parts.next(), section)
        && match option {
            Some(option) => fits(parts.next(), option),
            None => matches!(parts.next(), None | Some("*")),
        }
}

/// What no two steps of a state may say, each with the words for it.
pub(crate) fn keys(step: &Step) -> Vec<String> {
    match step {
        Step::Uci(uci) if uci.absent => vec![format!("section {}", uci_words(uci))],
        Step::Uci(uci) => {
            let names = uci.options.keys().chain(&uci.remove);
            names
                .map(|option| format!("option {}.{option}", uci_words(uci)))
                .collect()
        }
        Step::Cron(cron) => vec![format!("entry {} of {}", cron.name, user(cron))],
        Step::Sysctl(sysctl) => vec![format!("parameter {}", Key::new(&sysctl.key).dotted())],
        _ => Vec::new(),
    }
}

/// A section that one step removes and another one fills would never come to rest.
pub(super) fn contradictions(steps: &[Step], found: &mut Judgement) {
    let uci = || {
        steps.iter().enumerate().filter_map(|(at, step)| match step {
            Step::Uci(uci) => Some((at, step, uci)),
            _ => None,
        })
    };
    for (at, step, gone) in uci().filter(|(_, _, u)| u.absent) {
        let filled = uci().find(|(_, _, u)| !u.absent && uci_words(u) == uci_words(gone));
        if let Some((other, ..)) = filled {
            let why = format!("step {} wants this section to be there", other + 1);
            found.refuse(&super::label(at, step), why, None);
        }
    }
}

/// Whose crontab an entry goes to.
pub(crate) fn user(step: &CronStep) -> &str {
    step.user.as_ref().map_or("root", |user| user.as_str())
}

impl Gate<'_> {
    pub(super) fn uci(&self, source: Source, label: &str, step: &UciStep, found: &mut Judgement) {
        let path = format!("/etc/config/{}", step.config);
        if let Some(own) = self.paths.protected(&path) {
            found.refuse(label, format!("{own} is protected whatever is granted"), None);
            return;
        }
        let (config, section) = (step.config.as_str(), section(step));
        let grants = self.grant(source).map(|g| g.uci.as_slice()).unwrap_or_default();
        let held = |option: Option<&str>, code: bool| {
            let fits = |g: &&UciGrant| covers(g.path(), config, &section, option);
            let may = |g: &UciGrant| !code || matches!(g, UciGrant::Wide(wide) if wide.code);
            let mut granted = grants.iter().filter(fits).peekable();
            (granted.peek().is_some(), granted.any(may))
        };
        let mut check = |option: Option<&str>, code: bool| {
            let (granted, good) = held(option, code);
            if good {
                return;
            }
            let what = option.map_or_else(|| format!("{config}.{section}"), |o| format!("{config}.{section}.{o}"));
            let wanted = if code {
                format!("{{ path = {what:?}, code = true }}")
            } else {
                format!("{what:?}")
            };
            let why = match (granted, option) {
                (true, _) => format!("{what} is executed or decides who may do what, and only data is granted there"),
                (false, Some(_)) => format!("the option {what} is not granted"),
                (false, None) => {
                    format!("the section {what} is not granted as a whole, as making and removing it needs")
                }
            };
            found.refuse(label, why, Some(line(source, "uci", &wanted)));
        };
        let all_code = CODE_CONFIGS.contains(&config);
        if whole_section(step) {
            check(None, all_code);
        }
        for option in set(step) {
            check(Some(option), is_code(config, option));
        }
        for option in &step.remove {
            check(Some(option), all_code);
        }
        self.services(source, label, &step.notify, found);
    }

    /// An entry of a crontab runs again and again by itself: only a command listed by its exact bytes may.
    pub(super) fn cron(&self, source: Source, label: &str, step: &CronStep, found: &mut Judgement) {
        if self.command(source, &step.command).is_some() && !self.exact(source, &step.command) {
            let needed = line(source, "shell", &format!("{:?}", step.command));
            let why = "a template covers the command, but cron runs it by a shell: it must be listed byte for byte";
            found.refuse(label, why.into(), Some(needed));
        } else {
            self.command_listed(source, label, &step.command, found);
        }
    }

    fn exact(&self, source: Source, text: &str) -> bool {
        let listed = self.grant(source).map(|g| g.shell.as_slice()).unwrap_or_default();
        listed
            .iter()
            .any(|c| matches!(c, CommandGrant::Exact(exact) if exact == text))
    }

    pub(super) fn sysctl(&self, source: Source, label: &str, step: &SysctlStep, found: &mut Judgement) {
        let key = Key::new(&step.key);
        let path = key.path();
        if path.starts_with("fs/binfmt_misc/") {
            let why =
                "what is written below fs.binfmt_misc are commands to the kernel, not values; it cannot be granted";
            return found.refuse(label, why.into(), None);
        }
        let executed = EXECUTED.contains(&path.as_str());
        let patterns = self.grant(source).map(|g| g.sysctl.as_slice()).unwrap_or_default();
        let covers = |pattern: &String| {
            let pattern = Key::new(pattern).path();
            pattern == path || !executed && globs::matches(&pattern, &path)
        };
        if !patterns.iter().any(covers) {
            let needed = line(source, "sysctl", &format!("{:?}", key.dotted()));
            let why = if executed {
                "the kernel executes its value, so it must be granted by its own name"
            } else {
                "the kernel parameter is not granted"
            };
            return found.refuse(label, why.into(), Some(needed));
        }
        let command = step.value.strip_prefix('|').unwrap_or(&step.value).trim();
        if executed && !self.exact(source, command) && (step.value.starts_with('|') || path != "kernel/core_pattern") {
            let needed = line(source, "shell", &format!("{command:?}"));
            found.refuse(
                label,
                "the kernel executes its value, which is not listed byte for byte".into(),
                Some(needed),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{covers, is_code};

    #[test]
    fn a_grant_covers_what_it_names_and_nothing_beside_it() {
        let lan = |pattern, option| covers(pattern, "network", "lan", option);
        for pattern in ["network", "network.lan", "network.*", "network.lan.*", "network.l*.ip*"] {
            assert!(lan(pattern, Some("ipaddr")), "{pattern}");
        }
        for pattern in [
            "net",
            "network.wan",
            "network.lan.netmask",
            "network.@lan",
            "firewall",
            "network.lan.ip",
        ] {
            assert!(!lan(pattern, Some("ipaddr")), "{pattern}");
        }
        assert!(lan("network.lan", None) && lan("network.*.*", None) && lan("network", None));
        assert!(!lan("network.lan.ipaddr", None) && !lan("network.lan.ip*", None));
        let zone = |pattern| covers(pattern, "firewall", "@zone", Some("input"));
        assert!(zone("firewall.@zone") && zone("firewall.*.input") && zone("firewall"));
        assert!(!zone("firewall.@rule") && !zone("firewall.zone") && !zone("firewall.z*"));
    }

    #[test]
    fn options_that_are_executed_are_known() {
        for (config, option) in [
            ("dhcp", "dhcpscript"),
            ("dhcp", "confdir"),
            ("firewall", "path"),
            ("ddns", "update_script"),
            ("anything", "PreHook"),
            ("uhttpd", "listen_http"),
            ("rpcd", "read"),
            ("luci", "mediaurlbase"),
            ("network", "pppd_options"),
        ] {
            assert!(is_code(config, option), "{config}.{option}");
        }
        for (config, option) in [
            ("network", "ipaddr"),
            ("wireless", "path"),
            ("wireless", "key"),
            ("system", "hostname"),
            ("dhcp", "start"),
        ] {
            assert!(!is_code(config, option), "{config}.{option}");
        }
        let code = |path: &str| crate::gate::is_code_path(path);
        assert!(code("/etc/config/firewall") && code("/etc/config/uhttpd"));
        assert!(!code("/etc/config/captive_portal") && !code("/etc/config/uhttpd2"));
    }
}
