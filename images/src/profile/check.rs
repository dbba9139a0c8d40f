//! The rules of a profile that its types cannot say. Every broken one is reported, with its place.

use jos_schemas::documents::profile::{Brand, Hub, Package, Profile, ProfileFile};
use jos_schemas::node::Node;

use super::files::Problems;
use super::image;
use crate::builders::Flavour;
use crate::formats::{apk, msi};
use crate::targets::{self, System};

/// Longest brand text: it stands in one line of many programs.
const BRAND_LIMIT: usize = 64;
/// Paths that packages fill themselves.
const OURS: [&str; 9] = [
    "/Library/Application Support/jos",
    "/ProgramData/jos",
    "/etc/config/jos",
    "/etc/jos",
    "/run/jos",
    "/usr/bin/jos",
    "/usr/local/bin/jos",
    "/usr/share/jos",
    "/var/lib/jos",
];

/// Checks one resolved profile (or base: what is absent is not missed here, see [`to_build`]).
pub fn profile(profile: &Profile, node: &Node, problems: &mut Problems<'_>) {
    if let Some(b) = &profile.brand {
        brand(b, node, problems);
    }
    if let Some(p) = &profile.package {
        package(p, node, problems);
    }
    if let Some(h) = &profile.hub {
        hub(h, node, problems);
    }
    if let Some(target) = &profile.target {
        for (i, name) in target.targets.iter().enumerate() {
            let pointer = format!("/target/targets/{i}");
            if targets::find(name).is_none() {
                problems.at(node, &pointer, format!("{name:?} is no target"), meant(name));
            } else if target.targets[..i].contains(name) {
                problems.at(
                    node,
                    &pointer,
                    format!("{name:?} is there twice"),
                    "name each target once",
                );
            }
        }
    }
    if profile.runtime.is_some() {
        let targets = profile.target.iter().flat_map(|target| &target.targets);
        for (i, target) in targets
            .enumerate()
            .filter_map(|(i, name)| Some((i, targets::find(name)?)))
        {
            if !Flavour::Runtime.serves(target) {
                let message = format!(
                    "{:?} takes no [runtime]: only debian/… has a program with one",
                    target.name
                );
                let help = "leave [runtime] out, or write a profile without it for these targets";
                problems.at(node, &format!("/target/targets/{i}"), message, help);
            }
        }
    }
    if let Some(i) = &profile.image {
        image::check(i, profile, node, problems);
    }
    if let Some(state) = &profile.state {
        for name in state.by_system.keys() {
            system(name, &format!("/state/by_system/{name}"), node, problems);
        }
    }
    for (i, f) in profile.files.iter().enumerate() {
        file(f, i, node, problems);
    }
}

/// What a profile must hold before anything is built from it.
pub fn to_build(profile: &Profile, node: &Node, problems: &mut Problems<'_>) {
    let package = profile.package.clone().unwrap_or_default();
    let mut missing = |there: bool, pointer: &str, help: &str| {
        if !there {
            let name = pointer[1..].replace('/', ".");
            problems.at(node, pointer, format!("{name} is missing"), help);
        }
    };
    missing(
        package.name.is_some(),
        "/package/name",
        "write `name = \"my-appliance\"` under [package]",
    );
    missing(
        package.version.is_some(),
        "/package/version",
        "write `version = \"1.0.0\"` under [package]",
    );
    missing(
        package.maintainer.is_some(),
        "/package/maintainer",
        "write `maintainer = \"Name <mail@example.org>\"` under [package]",
    );
    let brand = profile.brand.clone().unwrap_or_default();
    missing(
        brand.vendor.is_some(),
        "/brand/vendor",
        "write `vendor = \"…\"` under [brand]",
    );
    missing(
        brand.product.is_some(),
        "/brand/product",
        "write `product = \"…\"` under [brand]",
    );
    if !profile.tools.is_empty() {
        return tools(profile, node, problems);
    }
    let state = profile.state.clone().unwrap_or_default();
    let targets = profile.target.clone().unwrap_or_default().targets;
    missing(
        !targets.is_empty(),
        "/target/targets",
        "write `targets = [\"openwrt/mipsel_24kc\"]` under [target]",
    );
    let systems: std::collections::BTreeSet<System> = targets
        .iter()
        .filter_map(|t| targets::find(t))
        .map(|t| t.system)
        .collect();
    for system in systems {
        let there = state.baseline.is_some() || state.by_system.contains_key(system.name());
        missing(
            there,
            "/state/baseline",
            "write `baseline = \"baseline.toml\"` under [state]: a desired state",
        );
    }
    if targets.iter().any(|t| t.starts_with("macos/")) {
        let help = "write `identifier = \"org.example.product\"` under [package]: macOS names packages and jobs so";
        missing(package.identifier.is_some(), "/package/identifier", help);
    }
    let unwritable = package
        .version
        .as_deref()
        .filter(|v| is_version(v) && apk::version(v, 1).is_none());
    if let Some(version) = unwritable.filter(|_| targets.iter().any(|t| t.starts_with("openwrt/"))) {
        let message = format!("found {version:?}, which apk, OpenWrt's package manager from 25.12 on, cannot order");
        let help = "expected digits and dots, perhaps with ~alpha1, ~beta1, ~pre1, ~rc1, +git1 or +p1 at the end";
        problems.at(node, "/package/version", message, help);
    }
    if targets.iter().any(|t| t.starts_with("windows/")) {
        windows(profile, node, problems);
    }
    let no_image = profile.image.as_ref().is_none_or(|i| i.boards.is_empty());
    if no_image && profile.outputs.as_ref().is_some_and(|o| o.packages == Some(false)) {
        problems.at(
            node,
            "/outputs/packages",
            "no output is left to write",
            "let it write packages, or name `boards` under [image]",
        );
    }
}

/// What a profile of tools must and may not hold.
fn tools(profile: &Profile, node: &Node, problems: &mut Problems<'_>) {
    let targets = profile.target.clone().unwrap_or_default().targets;
    if targets.is_empty() {
        let help = "write `targets = [\"debian/amd64\"]` under [target]";
        problems.at(node, "/target/targets", "target.targets is missing", help);
    }
    for (i, name) in targets.iter().enumerate() {
        if targets::find(name).is_some_and(|t| t.system != System::Debian) {
            let help = "tools are packaged for debian/…; leave this target out";
            problems.at(
                node,
                &format!("/target/targets/{i}"),
                format!("{name:?} takes no tools"),
                help,
            );
        }
    }
    let appliance = [
        (profile.state.is_some(), "/state"),
        (profile.hub.is_some(), "/hub"),
        (profile.policy.is_some(), "/policy"),
        (profile.trust.is_some(), "/trust"),
        (!profile.files.is_empty(), "/files"),
        (profile.runtime.is_some(), "/runtime"),
    ];
    for (_, pointer) in appliance.into_iter().filter(|(there, _)| *there) {
        let message = format!("{} is of an appliance, and this profile is of tools", &pointer[1..]);
        problems.at(node, pointer, message, "write the appliance into a profile of its own");
    }
    for (i, tool) in profile.tools.iter().enumerate() {
        let pointer = format!("/tools/{i}");
        if profile.tools[..i].iter().any(|other| other.name == tool.name) {
            let message = format!("the tool {:?} is there twice", tool.name.as_str());
            problems.at(node, &format!("{pointer}/name"), message, "name each package once");
        }
        for (j, file) in tool.files.iter().enumerate() {
            if file.source.is_some() == file.built.is_some() {
                let message = "expected one of source and built";
                let help = "source lies beside the profile, built below `--built DIR`";
                problems.at(node, &format!("{pointer}/files/{j}"), message, help);
            }
        }
    }
}

/// What Windows, or its installer, takes otherwise than others.
fn windows(profile: &Profile, node: &Node, problems: &mut Problems<'_>) {
    let version = profile.package.as_ref().and_then(|p| p.version.as_deref());
    if let Some(version) = version.filter(|v| is_version(v) && msi::version(v, 1).is_none()) {
        let message = format!("found {version:?}, which Windows Installer cannot order");
        let help = "expected three numbers that matter, up to 255.255.65535; a first one from 2000 to 2255 is a year";
        problems.at(node, "/package/version", message, help);
    }
    if profile.hub.as_ref().is_some_and(|hub| hub.url.is_some()) {
        let help = "leave [hub] out, or write a profile without it for windows/…";
        problems.at(node, "/hub/url", "the agent on Windows calls no hub yet", help);
    }
    for (i, file) in profile.files.iter().enumerate() {
        let here = file.systems.is_empty() || file.systems.iter().any(|s| s == System::Windows.name());
        if let Some(why) = msi::unfit(file.path.as_str()).filter(|_| here) {
            let help = "give it another path, or name the `systems` that it is for";
            let message = format!("{} {why}", file.path.as_str());
            problems.at(node, &format!("/files/{i}/path"), message, help);
        }
    }
}

/// What to do about a target that is none.
#[must_use]
pub fn meant(name: &str) -> String {
    match targets::nearest(name) {
        Some(near) => format!("did you mean {near:?}? `jos-image list` shows all"),
        None => "`jos-image list` shows all targets".into(),
    }
}

fn brand(brand: &Brand, node: &Node, problems: &mut Problems<'_>) {
    for (text, field) in [(&brand.vendor, "vendor"), (&brand.product, "product")] {
        let Some(text) = text else { continue };
        let pointer = format!("/brand/{field}");
        let bad = |c: char| c.is_control() || "\"'`\\<>&$\u{2028}\u{2029}".contains(c);
        if let Some(c) = text.chars().find(|c| bad(*c)) {
            let help =
                "it stands in scripts, units and control files: use letters, digits, blanks and plain punctuation";
            problems.at(node, &pointer, format!("found {c:?} in it"), help);
        } else if text.trim() != text || text.is_empty() || text.chars().count() > BRAND_LIMIT {
            let message = format!("expected 1 to {BRAND_LIMIT} characters without blanks around them");
            problems.at(node, &pointer, message, "shorten or trim it");
        }
    }
    if let Some(motd) = &brand.motd {
        let c = motd.chars().find(|c| c.is_control() && *c != '\n');
        if let Some(c) = c {
            let help = "a greeting holds text and line breaks; escape sequences could forge what a terminal shows";
            problems.at(node, "/brand/motd", format!("found {c:?} in it"), help);
        } else if motd.len() > 4096 {
            problems.at(node, "/brand/motd", "expected 4096 bytes at most", "shorten it");
        }
    }
    let address = |c: char| c.is_control() || c.is_whitespace() || "\"'`\\<>$".contains(c);
    if let Some(url) = &brand.support_url
        && (!(url.starts_with("https://") || url.starts_with("http://")) || url.contains(address) || url.len() < 12)
    {
        problems.at(
            node,
            "/brand/support_url",
            "expected an address that starts with https://",
            "write it whole",
        );
    }
    if let Some(mail) = &brand.support_email {
        let sound = mail
            .split_once('@')
            .is_some_and(|(a, b)| !a.is_empty() && b.contains('.'))
            && !mail.contains(address);
        if !sound {
            problems.at(
                node,
                "/brand/support_email",
                "expected an address as help@example.org",
                "write it whole",
            );
        }
    }
}

fn package(package: &Package, node: &Node, problems: &mut Problems<'_>) {
    if let Some(version) = &package.version
        && !is_version(version)
    {
        let message = format!("found {version:?}, expected digits and dots, as 1.4.2 or 1.4.2~rc1");
        let help = "dpkg, opkg and macOS compare it; the package's own release goes into `release`";
        problems.at(node, "/package/version", message, help);
    }
    if let Some(release) = package.release
        && !(1..=999_999).contains(&release)
    {
        problems.at(
            node,
            "/package/release",
            format!("found {release}, expected 1 to 999999"),
            "start at 1",
        );
    }
    if package.name.as_ref().is_some_and(|n| n.as_str().len() < 2) {
        let message = "expected two characters or more (Debian Policy §5.6.1)";
        problems.at(node, "/package/name", message, "choose a longer name");
    }
    if let Some(maintainer) = &package.maintainer {
        let parts = maintainer.strip_suffix('>').and_then(|m| m.split_once(" <"));
        let sound = parts.is_some_and(|(name, mail)| {
            !name.trim().is_empty()
                && mail.contains('@')
                && !mail.contains(|c: char| c.is_whitespace() || "<>".contains(c))
        });
        if !sound || maintainer.chars().any(|c| c.is_control() || "\"`\\$".contains(c)) {
            let message = format!("found {maintainer:?}, expected Name <mail@example.org>");
            problems.at(node, "/package/maintainer", message, "dpkg asks for both");
        }
    }
    if let Some(text) = &package.description
        && (text.is_empty() || text.chars().count() > 70 || text.chars().any(char::is_control) || text.trim() != text)
    {
        let message = "expected one line of 1 to 70 characters";
        problems.at(
            node,
            "/package/description",
            message,
            "say in one line what the appliance does",
        );
    }
    if let Some(license) = &package.license {
        let sound = |c: char| c.is_ascii_alphanumeric() || " .+-()".contains(c);
        if license.is_empty() || !license.chars().all(sound) {
            problems.at(
                node,
                "/package/license",
                "expected an SPDX expression",
                "as MIT or GPL-2.0-only",
            );
        }
    }
    if let Some(identifier) = &package.identifier {
        let part = |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if identifier.split('.').count() < 3 || !identifier.split('.').all(part) || identifier.len() > 128 {
            let message = format!("found {identifier:?}, expected a reverse domain name as org.example.kiosk");
            problems.at(
                node,
                "/package/identifier",
                message,
                "use a domain that is yours, reversed",
            );
        }
    }
    let lists = [
        (&package.depends, "depends"),
        (&package.depends_debian, "depends_debian"),
        (&package.depends_openwrt, "depends_openwrt"),
        (&package.provides, "provides"),
        (&package.conflicts, "conflicts"),
    ];
    for (items, field) in lists {
        for (i, item) in items.iter().enumerate() {
            let sound = |c: char| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || " .+-~:|()<>=_ABCDEFGHIJKLMNOPQRSTUVWXYZ".contains(c)
            };
            if item.trim() != item || item.is_empty() || !item.chars().all(sound) {
                let message = format!("found {item:?}, expected one relation as dnsmasq or cups (>= 2.4)");
                let help = "write one package a list item, without commas";
                problems.at(node, &format!("/package/{field}/{i}"), message, help);
            }
        }
    }
}

/// `1`, `1.4.2`, `1.4.2~rc1`, `2026.11+git3`: what dpkg, opkg and pkgbuild all order alike.
fn is_version(version: &str) -> bool {
    let (numbers, rest) = match version.find(['~', '+']) {
        Some(at) => (&version[..at], Some(&version[at + 1..])),
        None => (version, None),
    };
    let number = |n: &str| !n.is_empty() && n.len() <= 9 && n.bytes().all(|b| b.is_ascii_digit());
    let tail = |t: &str| {
        !t.is_empty()
            && t.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
    };
    version.len() <= 64 && numbers.split('.').all(number) && rest.is_none_or(tail)
}

fn hub(hub: &Hub, node: &Node, problems: &mut Problems<'_>) {
    let Some(url) = &hub.url else { return };
    let host = url.strip_prefix("https://").map(|r| r.split('/').next().unwrap_or(""));
    let odd = |c: char| c.is_control() || c.is_whitespace() || "\"'`\\<>$".contains(c);
    if !host.is_some_and(|h| !h.is_empty() && !h.contains('@')) || url.contains(odd) {
        let message = format!("found {url:?}, expected https://HOST[:PORT][/PATH] without a name or password in it");
        problems.at(node, "/hub/url", message, "the hub is spoken to over TLS only");
    }
}

fn system(name: &str, pointer: &str, node: &Node, problems: &mut Problems<'_>) {
    if !System::ALL.iter().any(|s| s.name() == name) {
        let near = targets::nearest_of(name, System::ALL.map(System::name));
        let help = match near {
            Some(near) => format!("did you mean {near:?}?"),
            None => "expected openwrt, debian, macos or windows".into(),
        };
        problems.at(node, pointer, format!("{name:?} is no system"), help);
    }
}

fn file(file: &ProfileFile, index: usize, node: &Node, problems: &mut Problems<'_>) {
    let pointer = format!("/files/{index}");
    match (&file.source, &file.content) {
        (Some(_), Some(_)) => problems.at(node, &pointer, "found both source and content", "keep one of them"),
        (None, None) => problems.at(node, &pointer, "found neither source nor content", "write one of them"),
        _ => {}
    }
    let path = file.path.as_str();
    if let Some(ours) = OURS
        .iter()
        .find(|o| path == **o || path.strip_prefix(**o).is_some_and(|r| r.starts_with('/')))
    {
        let message = format!("{ours} is filled by the packages themselves");
        let help = "settings belong into this profile's own tables; everything else lies elsewhere";
        problems.at(node, &format!("{pointer}/path"), message, help);
    }
    for (i, name) in file.systems.iter().enumerate() {
        system(name, &format!("{pointer}/systems/{i}"), node, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn versions_are_numbers_with_dots_and_perhaps_a_tail() {
        for good in ["1", "1.4.2", "1.4.2~rc1", "2026.11", "1.0+git3"] {
            assert!(is_version(good), "{good}");
        }
        for bad in [
            "", "v1", "1.", "1..2", "1.0 beta", "1-2", "1:2", "1.0~", "../1", "1.0\n",
        ] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
