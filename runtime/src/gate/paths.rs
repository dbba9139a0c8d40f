//! Which paths are jos' own, and which become code.
//!
//! A path that another program executes, or reads to decide what it executes, is code whatever it is called. The list
//! errs on the strict side: `code = true` beside a glob is one word for the person who grants it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jos_schemas::documents::policy::{CommandGrant, Policy};
use jos_schemas::layout::Layout;
use serde::{Deserialize, Serialize};

use super::system::code_configs;
use crate::disk::Mounts;
use crate::globs;

/// jos' own, whatever is granted. The agent adds its unit, its program and its files.
const PROTECTED: &[&str] = &[
    Layout::LINUX.etc,
    Layout::LINUX.state,
    Layout::LINUX.share,
    Layout::MACOS.etc,
    #[cfg(windows)]
    Layout::WINDOWS.etc,
    "/etc/config/jos",
    "/usr/bin/jos",
    "/usr/sbin/jos",
    "/usr/local/bin/jos",
    "/opt/jos",
];

/// What becomes code: the path itself and everything below it.
const CODE: &[&str] = &[
    // programs and libraries
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local",
    "/usr/games",
    "/opt/*/bin",
    "/opt/*/sbin",
    "/opt/*/lib",
    "/boot",
    "/overlay",
    "/rom",
    "/proc",
    "/sys",
    "/dev",
    // init systems
    "/etc/systemd",
    "/run/systemd",
    "/usr/share/dbus-1",
    "/etc/dbus-1",
    "/etc/init",
    "/etc/init.d",
    "/etc/rc?.d",
    "/etc/rcS.d",
    "/etc/rc.d",
    "/etc/rc.local",
    "/etc/rc.common",
    "/etc/rc.button",
    "/etc/inittab",
    "/etc/default",
    "/etc/runit",
    "/etc/preinit",
    "/lib/preinit",
    "/etc/board.d",
    "/etc/uci-defaults",
    "/etc/hotplug*",
    "/etc/sv",
    "/etc/s6",
    "/etc/inetd.conf",
    "/etc/inetd.d",
    "/etc/xinetd*",
    "/etc/tmpfiles.d",
    "/etc/binfmt.d",
    "/etc/modules*",
    "/etc/modprobe*",
    // what the clock, the kernel and the network start
    "/etc/cron*",
    "/etc/anacrontab",
    "/var/spool/cron",
    "/var/spool/at",
    "/etc/periodic*",
    "/etc/udev",
    "/etc/mdev.conf",
    "/etc/sysctl*",
    "/etc/network",
    "/etc/networkd-dispatcher",
    "/etc/NetworkManager",
    "/etc/dhcp",
    "/etc/dhcpcd*",
    "/etc/udhcpc*",
    "/etc/ppp",
    "/etc/wpa_supplicant/*.sh",
    "/etc/acpi",
    "/etc/firewall.user",
    "/etc/nftables.d/*.sh",
    "/etc/kernel",
    "/etc/initramfs-tools",
    "/etc/grub.d",
    "/etc/dracut*",
    "/etc/fstab",
    "/etc/exports",
    // who may do what
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/doas*",
    "/etc/pam.d",
    "/etc/pam.conf",
    "/etc/security",
    "/etc/polkit-1",
    "/usr/share/polkit-1",
    "/etc/passwd*",
    "/etc/shadow*",
    "/etc/group*",
    "/etc/gshadow*",
    "/etc/subuid*",
    "/etc/subgid*",
    "/etc/nsswitch.conf",
    "/etc/login.defs",
    "/etc/securetty",
    "/etc/ssh",
    "/etc/dropbear",
    "/etc/apparmor*",
    "/etc/selinux",
    "/root",
    "/var/root",
    "/home/*/.*",
    "/Users/*/.*",
    "/etc/authorization",
    // what shells, loaders, editors and package managers read
    "/etc/ld.so*",
    "/etc/ld-musl*",
    "/etc/profile*",
    "/etc/bash*",
    "/etc/zsh*",
    "/etc/csh*",
    "/etc/fish",
    "/etc/shells",
    "/etc/environment*",
    "/etc/skel",
    "/etc/update-motd.d",
    "/etc/apt",
    "/etc/dpkg",
    "/etc/opkg*",
    "/etc/apk",
    "/etc/yum*",
    "/etc/alternatives",
    "/etc/logrotate*",
    "/etc/python*",
    "/etc/perl",
    "/etc/vim",
    "/etc/gitconfig",
    "/etc/xdg",
    "/etc/X11",
    "/etc/mailcap*",
    "/etc/aliases",
    "/etc/lighttpd",
    "/etc/uhttpd*",
    "/www/cgi-bin",
    "/usr/lib/lua",
    "/usr/share/lua",
    // macOS
    "/Library/LaunchDaemons",
    "/Library/LaunchAgents",
    "/Library/StartupItems",
    "/Library/PrivilegedHelperTools",
    "/Library/Security",
    "/Library/Extensions",
    "/Library/Scripts",
    "/Library/Frameworks",
    "/System",
    "/Applications",
    "/Users/*/Library/LaunchAgents",
    "/etc/launchd*",
    "/etc/emond.d",
    "/etc/paths*",
    "/etc/manpaths*",
];

/// Whether what stands at `path` becomes code whatever the policy lists: for whoever writes a policy.
pub fn is_code_path(path: &str) -> bool {
    let path = fold(path);
    code_paths().any(|p| covers(&fold(p), &path)) || code_configs().any(|p| covers(&p, &path))
}

fn code_paths() -> impl Iterator<Item = &'static str> {
    #[cfg(windows)]
    const HERE: &[&str] = super::windows::CODE;
    #[cfg(not(windows))]
    const HERE: &[&str] = &[];
    CODE.iter().chain(HERE).copied()
}

/// How paths are compared: as they are, or as a file system that knows no case compares them.
fn fold(path: &str) -> Cow<'_, str> {
    if cfg!(windows) {
        return Cow::Owned(path.to_lowercase());
    }
    if !cfg!(target_os = "macos") {
        return Cow::Borrowed(path);
    }
    // macOS: what can be written lies on a volume of its own and is shown in `/` too (firmlinks); /etc, /var and /tmp are
    // links into /private; and APFS usually ignores case.
    let mut path = path.to_lowercase();
    for above in ["/system/volumes/data", "/private"] {
        if let Some(short) = path.strip_prefix(above).filter(|p| p.starts_with('/')) {
            path = short.to_owned();
        }
    }
    Cow::Owned(path)
}

/// A pattern, with what tells quickly that it is none for a path.
#[derive(Debug)]
struct Pattern {
    text: String,
    /// What it is another name of, where it is.
    of: Option<String>,
    /// How much of it stands in every path that it covers.
    literal: usize,
}

impl Pattern {
    fn new(text: String) -> Self {
        let plain = text.starts_with('/') && !text.starts_with("//");
        let wild = text.find(['*', '?']).unwrap_or(text.len());
        Self {
            literal: if plain { wild } else { 0 },
            of: None,
            text,
        }
    }

    /// For messages.
    fn shown(&self) -> String {
        match &self.of {
            Some(of) => format!("{} (another name of {of})", self.text),
            None => self.text.clone(),
        }
    }

    fn is_literal(&self) -> bool {
        self.literal == self.text.len()
    }

    /// Whether it covers `path` or a directory above it.
    fn covers(&self, path: &str) -> bool {
        self.may_cover(path) && covers(&self.text, path)
    }

    /// The same for one that says itself how deep it reaches.
    fn protects(&self, path: &str) -> bool {
        let deep = self.text.contains("**");
        self.may_cover(path) && (deep && globs::matches(&self.text, path) || !deep && covers(&self.text, path))
    }

    fn may_cover(&self, path: &str) -> bool {
        path.as_bytes().starts_with(&self.text.as_bytes()[..self.literal])
    }

    /// Whether it could cover something below the directory `dir`.
    fn lies_below(&self, dir: &str) -> bool {
        let shared = self.literal.min(dir.len());
        self.text.as_bytes()[..shared] == dir.as_bytes()[..shared]
            && lies_below(self.text.split("/**").next().unwrap_or(&self.text), dir)
    }
}

/// Whether `pattern` (a glob without `**`) covers `path` or a directory above it.
fn covers(pattern: &str, path: &str) -> bool {
    let wanted = pattern.matches('/').count();
    let mut cut = path.len();
    let have = path.matches('/').count();
    if have < wanted {
        return false;
    }
    for _ in wanted..have {
        cut = path[..cut].rfind('/').unwrap_or(0);
    }
    globs::matches(pattern, &path[..cut])
}

/// Whether `pattern` could cover something below the directory `dir`.
fn lies_below(pattern: &str, dir: &str) -> bool {
    let depth = dir.matches('/').count();
    let parts: Vec<&str> = pattern.split('/').collect();
    parts.len() > depth + 1 && globs::matches(&parts[..=depth].join("/"), dir)
}

/// The path rules of one device.
#[derive(Debug)]
pub(crate) struct Paths {
    protected: Vec<Pattern>,
    code: Vec<Pattern>,
    /// Those of `code` that are no globs, sorted: most are not.
    named: Vec<String>,
    second: SecondNames,
}

/// What is protected or becomes code, by names that follow from what is mounted and linked on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecondNames {
    /// Name to the protected path that it leads to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    protected: BTreeMap<String, String>,
    /// The same of what becomes code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    code: BTreeMap<String, String>,
}

impl SecondNames {
    pub(crate) fn is_empty(&self) -> bool {
        self.protected.is_empty() && self.code.is_empty()
    }
}

impl Paths {
    /// From the built-in lists, the policy and what the agent names as its own.
    pub(crate) fn new(policy: &Policy, own: &[String]) -> Self {
        let policy_globs = policy.protected.iter().map(|g| g.as_str().to_owned());
        let protected = PROTECTED
            .iter()
            .map(|s| (*s).to_owned())
            .chain(policy_globs)
            .chain(own.iter().cloned());
        let mut code: Vec<String> = code_paths()
            .map(|s| fold(s).into_owned())
            .chain(code_configs())
            .collect();
        for grant in policy.all_grants().flat_map(|g| &g.shell) {
            match grant {
                CommandGrant::Exact(text) => listed_programs(text, &mut code),
                CommandGrant::Template(template) => {
                    if let Some((program, rest)) = template.argv.split_first() {
                        listed_programs(program, &mut code);
                        code.extend(rest.iter().filter(|w| w.starts_with('/')).map(|w| fold(w).into_owned()));
                    }
                }
            }
        }
        let code: Vec<Pattern> = code.into_iter().map(Pattern::new).collect();
        let literal = code.iter().filter(|p| p.is_literal()).map(|p| p.text.clone());
        let mut named: Vec<String> = literal.collect();
        named.sort_unstable();
        Self {
            protected: protected.map(|p| Pattern::new(fold(&p).into_owned())).collect(),
            named,
            code,
            second: SecondNames::default(),
        }
    }

    /// The same where a node of the runtime has this data directory: what lies in it is run, and its ledger is its own.
    pub(crate) fn run_node(&mut self, data_dir: &str) {
        let dir = fold(data_dir.trim_end_matches('/')).into_owned();
        self.protected.push(Pattern::new(format!("{dir}/state")));
        self.add_code(dir);
    }

    fn add_code(&mut self, text: String) {
        let pattern = Pattern::new(text);
        if pattern.is_literal() {
            let at = self.named.partition_point(|named| *named < pattern.text);
            self.named.insert(at, pattern.text.clone());
        }
        self.code.push(pattern);
    }

    /// What is mounted or linked under further names, on a machine where `mounts` is mounted and `real` says where the
    /// directories of a path really lie, if elsewhere.
    pub(crate) fn second_names(&self, mounts: &Mounts, real: &dyn Fn(&str) -> Option<String>) -> SecondNames {
        let mut found = SecondNames::default();
        for own in &self.protected {
            let linked = real(&own.text);
            let mut names = mounts.others(&own.text);
            names.extend(linked.iter().flat_map(|linked| mounts.others(linked)));
            names.extend(linked);
            let new = names
                .iter()
                .map(|name| fold(name))
                .filter(|name| self.protected(name).is_none());
            found
                .protected
                .extend(new.map(|name| (name.into_owned(), own.text.clone())));
        }
        for code in &self.code {
            let names = mounts.others(&code.text);
            let new = names.into_iter().filter(|name| !self.is_code(name));
            found.code.extend(new.map(|name| (name, code.text.clone())));
        }
        found
    }

    /// The same where what is protected or becomes code has these names besides.
    pub(crate) fn know(&mut self, names: &SecondNames) {
        for (name, of) in &names.protected {
            let of = Some(of.clone());
            self.protected.push(Pattern {
                of,
                ..Pattern::new(name.clone())
            });
        }
        for name in names.code.keys() {
            self.add_code(name.clone());
        }
        self.second = names.clone();
    }

    /// The further names that were learnt.
    pub(crate) fn second(&self) -> &SecondNames {
        &self.second
    }

    /// Every protected pattern.
    pub(crate) fn all_protected(&self) -> impl Iterator<Item = &str> {
        self.protected.iter().map(|p| p.text.as_str())
    }

    /// The protected pattern that covers `path`, in words.
    pub(crate) fn protected(&self, path: &str) -> Option<String> {
        let path = fold(path);
        self.protected.iter().find(|p| p.protects(&path)).map(Pattern::shown)
    }

    /// A protected pattern below the directory `path`, in words.
    pub(crate) fn protected_below(&self, path: &str) -> Option<String> {
        let path = fold(path);
        self.protected.iter().find(|p| p.lies_below(&path)).map(Pattern::shown)
    }

    /// Whether what stands at `path` becomes code.
    pub(crate) fn is_code(&self, path: &str) -> bool {
        let path = fold(path);
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
        let mut above = ends.chain([path.len()]).map(|end| &path[..end]);
        above.any(|dir| self.named.binary_search_by(|named| named.as_str().cmp(dir)).is_ok())
            || self.code.iter().any(|p| !p.is_literal() && p.covers(&path))
    }

    /// Whether something below the directory `path` becomes code.
    pub(crate) fn has_code_below(&self, path: &str) -> bool {
        let path = fold(path);
        self.code.iter().any(|p| p.lies_below(&path))
    }
}

/// The programs and files that a listed command names: all absolute paths in it, and the directory of the first word.
fn listed_programs(text: &str, code: &mut Vec<String>) {
    let separator = |c: char| c.is_whitespace() || "\"'`;|&()<>{}$=".contains(c);
    for (i, word) in text
        .split(separator)
        .filter(|w| w.starts_with('/') && w.len() > 1)
        .enumerate()
    {
        let word = word.trim_end_matches('/');
        code.push(fold(word).into_owned());
        if i == 0
            && text.trim_start().starts_with(word)
            && let Some(dir) = word.rfind('/').filter(|at| *at > 0)
        {
            code.push(fold(&word[..dir]).into_owned());
        }
    }
}
