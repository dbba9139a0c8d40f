//! The rules of `[image]` that its types cannot say.

use jos_schemas::documents::profile::{Image, Profile, RootMode, Update};
use jos_schemas::node::Node;

use super::files::Problems;
use crate::image::{self, BOARDS, Firmware, Reference};

/// A base that is brought comes with a kernel, packages, mounts and a network of its own.
fn brought(base: &str, image: &Image, node: &Node, problems: &mut Problems<'_>) {
    if let Err((message, help)) = Reference::parse(base) {
        problems.at(node, "/image/base", message, help);
    }
    if image.boards.len() > 1 {
        let message = format!(
            "found {} boards with a base: expected the one that it is for",
            image.boards.len()
        );
        problems.at(node, "/image/boards", message, "write a profile for each board");
    }
    for (key, given) in [
        ("suite", image.suite.is_some()),
        ("mirror", image.mirror.is_some()),
        ("kernel", image.kernel.is_some()),
        ("cmdline", image.cmdline.is_some()),
        ("packages", !image.packages.is_empty()),
        ("size", image.size.is_some()),
        ("root", image.root == Some(RootMode::Ro)),
        ("update", image.update.is_some()),
        ("wifi", image.wifi.is_some()),
    ] {
        if given {
            let message =
                format!("`{key}` is for images made of Debian's packages: a base that is brought has its own");
            let help = "leave it out, and bring a base that is as you want it";
            problems.at(node, &format!("/image/{key}"), message, help);
        }
    }
}

pub(super) fn check(image: &Image, profile: &Profile, node: &Node, problems: &mut Problems<'_>) {
    let targets = profile.target.clone().unwrap_or_default().targets;
    for (i, name) in image.boards.iter().enumerate() {
        let pointer = format!("/image/boards/{i}");
        let Some(board) = image::find(name) else {
            let known = BOARDS.map(|b| b.name).join(", ");
            let help = match image::nearest(name) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("expected one of {known}"),
            };
            problems.at(node, &pointer, format!("{name:?} is no board"), help);
            continue;
        };
        if image.boards[..i].contains(name) {
            problems.at(
                node,
                &pointer,
                format!("{name:?} is there twice"),
                "name each board once",
            );
        } else if !targets.is_empty() && !targets.iter().any(|t| t == board.target) {
            let help = format!(
                "add {:?} to targets under [target]: its package goes into the image",
                board.target
            );
            problems.at(
                node,
                &pointer,
                format!("{name:?} needs the target {}", board.target),
                help,
            );
        }
    }
    slots(image, node, problems);
    if let Some(base) = &image.base {
        brought(base, image, node, problems);
    }
    if let Some(mirror) = &image.mirror
        && !((mirror.starts_with("https://") || mirror.starts_with("http://"))
            && !mirror.contains(|c: char| c.is_control() || c.is_whitespace() || "\"'[]<>@".contains(c)))
    {
        let message = format!("found {mirror:?}, expected an address as https://deb.example.org/debian");
        problems.at(node, "/image/mirror", message, "without a name or password in it");
    }
    if let Some(size) = &image.size
        && image::bytes_of(size).is_none()
    {
        problems.at(
            node,
            "/image/size",
            format!("found {size:?}, expected 900M or 2G"),
            "a whole number, then M or G",
        );
    }
    let host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(hostname) = &image.hostname {
        let plain = hostname.replace("{serial}", "0");
        if plain.is_empty()
            || plain.len() > 63
            || !plain.chars().all(host)
            || plain.starts_with('-')
            || plain.ends_with('-')
        {
            let message = format!("found {hostname:?}, expected a-z, 0-9 and -, and perhaps {{serial}}");
            problems.at(node, "/image/hostname", message, "as kiosk-{serial}");
        }
    }
    if let Some(cmdline) = &image.cmdline
        && cmdline.chars().any(|c| c.is_control())
    {
        problems.at(
            node,
            "/image/cmdline",
            "found a control character",
            "words between blanks, on one line",
        );
    }
    if let Some(locale) = &image.locale {
        let sound = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
        if locale.is_empty() || !locale.chars().all(sound) {
            let message = format!("found {locale:?}, expected one as en_GB.UTF-8");
            problems.at(node, "/image/locale", message, "C.UTF-8 needs no further package");
        }
    }
    if let Some(wifi) = &image.wifi {
        match &wifi.country {
            Some(country) if country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase()) => {}
            found => {
                let (pointer, what) = match found {
                    Some(country) => (
                        "/image/wifi/country",
                        format!("found {country:?}, expected two capital letters"),
                    ),
                    None => ("/image/wifi", "`country` is missing".to_owned()),
                };
                let help = "country = \"MX\": without it a radio keeps to what is allowed everywhere";
                problems.at(node, pointer, what, help);
            }
        }
        if let Some(ssid) = &wifi.ssid
            && let Err(expected) = image::sound_ssid(ssid)
        {
            problems.at(node, "/image/wifi/ssid", expected, "as the access point shows it");
        }
        if wifi.passphrase.is_some() && wifi.ssid.is_none() {
            let help = "name the network, or leave both to each device's seed";
            problems.at(node, "/image/wifi/passphrase", "a passphrase without `ssid`", help);
        }
    }
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    for (i, name) in image.packages.iter().enumerate() {
        if name.len() < 2 || !name.chars().all(word) || name.starts_with(['-', '.', '+']) {
            let message = format!("found {name:?}, expected the name of a Debian package");
            problems.at(node, &format!("/image/packages/{i}"), message, "one name a list item");
        }
    }
    for (i, user) in image.users.iter().enumerate() {
        let pointer = format!("/image/users/{i}");
        if user.name.as_str().contains(':') {
            problems.at(
                node,
                &format!("{pointer}/name"),
                "found a group with it",
                "write the login name alone",
            );
        }
        for (k, key) in user.ssh_keys.iter().enumerate() {
            let kind = key.split(' ').next().unwrap_or_default();
            let sound = (kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-"))
                && !key.chars().any(char::is_control)
                && key.split(' ').nth(1).is_some_and(|k| k.starts_with("AAAA"));
            if !sound {
                let message = "expected one line of an OpenSSH public key";
                problems.at(
                    node,
                    &format!("{pointer}/ssh_keys/{k}"),
                    message,
                    "as ssh-ed25519 AAAA… name",
                );
            }
        }
    }
}

/// Two root file systems.
fn slots(image: &Image, node: &Node, problems: &mut Problems<'_>) {
    if image.update != Some(Update::Rauc) {
        if image.rauc.is_some() {
            let help = "update = \"rauc\" under [image] gives devices two root file systems, and makes bundles";
            problems.at(node, "/image/rauc", "a signer of bundles, and no bundles", help);
        }
        return;
    }
    if let Some(cmdline) = &image.cmdline
        && cmdline.contains(['"', '\'', '\\'])
    {
        let help = "GRUB would hand them on with a backslash each; leave them out, or `update`";
        problems.at(node, "/image/cmdline", "found a quote or a backslash", help);
    }
    if image.root != Some(RootMode::Ro) {
        let help = "add root = \"ro\": what is written to a root is gone with the next update";
        problems.at(node, "/image/update", "expected a root that is never written to", help);
    }
    for (i, name) in image.boards.iter().enumerate() {
        if image::find(name).is_some_and(|board| board.firmware == Firmware::RaspberryPi) {
            let message = format!("{name:?} has no loader that falls back to another root");
            let help = "leave the board out, or `update`: boards with UEFI have one";
            problems.at(node, &format!("/image/boards/{i}"), message, help);
        }
    }
}
