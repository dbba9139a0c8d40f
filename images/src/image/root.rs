//! What an image needs beyond its packages: names, network, users, and what runs at first boot.
//!
//! Never: puts anything in that must differ between two devices.

use jos_schemas::documents::profile::{Image, RootMode};

use super::accounts::{self, Account};
use super::board::Board;
use super::layer::{Item, Kind, Layer};
use super::{Ids, ImageError, package, slots, wifi};
use crate::bake::{self, Appliance};

/// What our files are below.
const OURS: &str = "usr/lib/jos-image";

/// What a first boot makes, and a device with a read-only root keeps on its data partition: patterns below `/`.
const KEPT: [&str; 4] = [
    "etc/hostname",
    "etc/machine-id",
    "etc/ssh/ssh_host_*",
    "etc/wpa_supplicant/jos.conf",
];

/// What else lies on the data partition and is nobody's but the device's own. Where it is mounted or linked the agent sees that by
/// itself; not what is copied over the root at each boot, nor what the first boot and the initial RAM disk still have in hand.
const OWN: [&str; 6] = [
    "/data/identity",
    "/data/identity.new",
    "/data/settings",
    "/data/settings.work",
    "/data/state",
    "/data/state.new",
];

/// Whether the root is never written to.
pub(super) fn read_only(image: &Image) -> bool {
    image.root == Some(RootMode::Ro)
}

/// Takes away what belongs to one machine or one moment, and what a base may hold of the machine it was made on.
pub(super) fn clean(layer: &mut Layer) {
    individual(layer);
    layer.remove_below("var/log", |_, item| item.kind != Kind::Dir);
    // debconf's answers lie there too, and are no cache.
    layer.remove_below("var/cache", |name, item| {
        item.kind != Kind::Dir && (!name.starts_with("debconf/") || name.ends_with("-old"))
    });
    layer.remove_below("tmp", |_, _| true);
    layer.remove_below("var/tmp", |_, _| true);
    layer.remove_below("run", |_, _| true);
    layer.remove_below("dev", |_, _| true);
    layer.remove_below("var/lib/apt/lists", |_, item| item.kind != Kind::Dir);
    layer.remove_below("etc", |name, _| {
        ["passwd-", "group-", "shadow-", "gshadow-", "subuid-", "subgid-"].contains(&name)
    });
    for path in [
        "etc/hostname",
        "var/lib/dbus/machine-id",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/available-old",
    ] {
        layer.remove(path);
    }
    layer.file("etc/machine-id", 0o444, "");
}

/// Takes away what no two devices may share, and nothing else.
pub(super) fn individual(layer: &mut Layer) {
    layer.remove_below("etc/ssh", |name, _| name.starts_with("ssh_host_"));
    for path in ["var/lib/systemd/random-seed", "var/lib/systemd/credential.secret"] {
        layer.remove(path);
    }
    // A link leads to /etc/machine-id.
    if matches!(
        layer.get("var/lib/dbus/machine-id"),
        Some(Item {
            kind: Kind::File(_),
            ..
        })
    ) {
        layer.remove("var/lib/dbus/machine-id");
    }
    // Empty: systemd makes one at first boot, and this is no "first boot" that would ask questions. A base whose own is
    // none yet ("uninitialized") stays as it is.
    let id = layer.text("etc/machine-id").unwrap_or_default();
    if id.trim().len() == 32 {
        layer.file("etc/machine-id", 0o444, "");
    }
}

/// Puts it in.
pub(super) fn complete(
    layer: &mut Layer,
    app: &Appliance,
    image: &Image,
    board: &Board,
    ids: &Ids<'_>,
) -> Result<(), ImageError> {
    names(layer, app, image);
    network(layer);
    users(layer, image)?;
    wifi::install(layer, image, app.wifi_passphrase.as_deref());
    let boot = board.firmware.mount();
    let (first, mode, grows) = if read_only(image) {
        // The initial RAM disk has put the root together, and its data beside it.
        (String::new(), "ro,", "/data")
    } else {
        let line = format!("UUID={} / ext4 defaults,errors=remount-ro 0 1\n", ids.root());
        (line, "", "/")
    };
    // The loader's environment lies there; it is written seldom, and then at once.
    let mode = if slots::wanted(image) { "sync,noatime," } else { mode };
    let fstab = format!(
        "# Written by jos-image.\n{first}UUID={} /{boot} vfat {mode}umask=0077,nofail 0 2\n",
        volume_id(&ids.serial())
    );
    layer.file("etc/fstab", 0o644, fstab);
    if read_only(image) {
        layer.dir("data", 0o755, 0, 0);
        layer.dir("var/lib/jos", 0o700, 0, 0);
        layer.file(&format!("{OURS}/kept"), 0o644, KEPT.join("\n") + "\n");
        let own = format!("# Written by jos-image: what no step may touch.\n{}\n", OWN.join("\n"));
        layer.file("usr/share/jos/protected", 0o644, own);
    }
    layer.dir(boot, 0o700, 0, 0);
    first_boot(layer, board, boot, grows);
    Ok(())
}

/// Puts into a base that a vendor brought what its profile asks for; network and mounts are the base's own. `boot` is where
/// its boot partition is mounted, if it takes seeds.
pub(super) fn complete_brought(
    layer: &mut Layer,
    image: &Image,
    board: &Board,
    boot: Option<&str>,
) -> Result<(), ImageError> {
    if let Some(hostname) = &image.hostname {
        layer.remove("etc/hostname");
        host_name(layer, hostname);
    }
    locale(layer, image);
    users(layer, image)?;
    first_boot(layer, board, boot.unwrap_or(board.firmware.mount()), "/");
    Ok(())
}

/// What only the device itself knows, it does at its first boot.
fn first_boot(layer: &mut Layer, board: &Board, boot: &str, grows: &str) {
    let script = include_str!("scripts/first-boot.sh")
        .replace("@BOOT@", boot)
        .replace("@GROWS@", grows);
    layer.file(&format!("{OURS}/first-boot"), 0o755, script);
    let unit = include_str!("scripts/first-boot.service").replace("@MOUNT@", &boot.replace('/', "-"));
    unit_file(layer, "jos-image-first-boot.service", &unit);
    layer.file(&format!("{OURS}/board"), 0o644, format!("{}\n", board.name));
}

pub(super) fn unit_file(layer: &mut Layer, name: &str, text: &str) {
    layer.file(&format!("usr/lib/systemd/system/{name}"), 0o644, text);
    package::enable(layer, name, text);
}

fn names(layer: &mut Layer, app: &Appliance, image: &Image) {
    host_name(layer, image.hostname.as_deref().unwrap_or(app.name.as_str()));
    layer.file(
        "etc/hosts",
        0o644,
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    );
    // What Debian says there is the base's name, and the last word on a screen without a keyboard.
    layer.file("etc/issue", 0o644, bake::issue(app));
    locale(layer, image);
}

fn host_name(layer: &mut Layer, hostname: &str) {
    if hostname.contains("{serial}") {
        layer.file(&format!("{OURS}/hostname"), 0o644, format!("{hostname}\n"));
    } else {
        layer.file("etc/hostname", 0o644, format!("{hostname}\n"));
    }
}

fn locale(layer: &mut Layer, image: &Image) {
    if let Some(locale) = &image.locale {
        layer.file("etc/default/locale", 0o644, format!("LANG={locale}\n"));
        layer.file("etc/locale.conf", 0o644, format!("LANG={locale}\n"));
    }
}

/// systemd-networkd asks for an address on every wire.
fn network(layer: &mut Layer) {
    layer.file(
        "etc/systemd/network/80-wired.network",
        0o644,
        "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n",
    );
    for (at, name) in [
        ("multi-user.target.wants", "systemd-networkd.service"),
        ("sockets.target.wants", "systemd-networkd.socket"),
        ("network-online.target.wants", "systemd-networkd-wait-online.service"),
        ("multi-user.target.wants", "systemd-resolved.service"),
        ("sysinit.target.wants", "systemd-timesyncd.service"),
    ] {
        if layer.get(&format!("usr/lib/systemd/system/{name}")).is_some() {
            layer.link(
                &format!("etc/systemd/system/{at}/{name}"),
                &format!("/lib/systemd/system/{name}"),
            );
        }
    }
    layer.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
}

fn users(layer: &mut Layer, image: &Image) -> Result<(), ImageError> {
    for user in &image.users {
        let name = user.name.as_str().split(':').next().unwrap_or_default();
        let home = format!("/home/{name}");
        let id = accounts::add(
            layer,
            &Account {
                name,
                comment: "",
                home: &home,
                shell: "/bin/bash",
                first: 1000,
            },
        )?;
        layer.dir(&home, 0o700, id, id);
        layer.dir(&format!("{home}/.ssh"), 0o700, id, id);
        let kind = Kind::File(super::layer::Content::Bytes(
            (user.ssh_keys.join("\n") + "\n").into_bytes(),
        ));
        let (mode, uid, gid) = (0o600, id, id);
        layer.put(&format!("{home}/.ssh/authorized_keys"), Item { mode, uid, gid, kind });
    }
    Ok(())
}

/// A FAT serial as `UUID=` of fstab(5) has it.
fn volume_id(serial: &str) -> String {
    format!("{}-{}", &serial[..4], &serial[4..])
}

/// Bytes of the root file system: what the profile says, else its content and a quarter more.
pub(super) fn size(image: &Image, layer: &Layer) -> Result<u64, ImageError> {
    let weight = layer.weight()?;
    let least = weight + weight / 4 + (96 << 20);
    match &image.size {
        None => Ok(least.next_multiple_of(64 << 20)),
        Some(text) => {
            let bytes = bytes_of(text)
                .ok_or_else(|| ImageError::Unfit(format!("[image] size {text:?}: expected 2G or 900M")))?;
            if bytes < weight + (48 << 20) {
                return Err(ImageError::Unfit(format!(
                    "[image] size {text:?} is too small: the content takes {} MiB",
                    weight >> 20
                )));
            }
            Ok(bytes)
        }
    }
}

/// `900M`, `2G`.
#[must_use]
pub fn bytes_of(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let shift = match unit {
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    (1..=4096 << 10).contains(&number).then_some(number << shift)
}

#[cfg(test)]
mod tests {
    use super::OWN;

    #[test]
    fn what_the_scripts_keep_on_the_data_partition_is_protected() {
        let scripts = [
            include_str!("scripts/init.sh"),
            include_str!("scripts/first-boot.sh"),
            include_str!("scripts/slot.sh"),
        ];
        let mut named: Vec<&str> = Vec::new();
        for script in scripts {
            for (at, _) in script.match_indices("/data/") {
                let path = |c: char| c.is_ascii_alphanumeric() || "/._".contains(c);
                let end = script[at..].find(|c| !path(c)).map_or(script.len(), |end| at + end);
                named.push(script[at..end].trim_end_matches(['/', '.']));
            }
        }
        assert!(
            named.contains(&"/data/identity") && named.contains(&"/data/settings.work"),
            "{named:?}"
        );
        // RAUC's folder is RAUC's: whoever may mark slots is granted it by name.
        for name in named.iter().filter(|name| !name.starts_with("/data/rauc")) {
            assert!(OWN.contains(name), "{name}");
        }
    }
}
