//! The bases that every `jos-image` carries, so that `extends = "base/openwrt"` works anywhere.

/// A base that is built in.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    /// As `extends` names it.
    pub name: &'static str,
    /// For people.
    pub about: &'static str,
    /// Its text.
    pub text: &'static str,
    /// What `new` writes for an appliance on this base.
    pub scaffold: &'static str,
}

/// Every base, sorted by name. One source: the files under `profiles/base/`.
pub const BASES: [Base; 4] = [
    Base {
        name: "base/debian",
        about: "Debian and Raspberry Pi OS: .deb, systemd",
        text: include_str!("../../../profiles/base/debian.toml"),
        scaffold: "debian/arm64",
    },
    Base {
        name: "base/macos",
        about: "macOS 11 and later: .pkg, launchd",
        text: include_str!("../../../profiles/base/macos.toml"),
        scaffold: "macos/universal",
    },
    Base {
        name: "base/openwrt",
        about: "OpenWrt up to 24.10: .ipk, procd",
        text: include_str!("../../../profiles/base/openwrt.toml"),
        scaffold: "openwrt/mipsel_24kc",
    },
    Base {
        name: "base/windows",
        about: "Windows 10 and later: .msi, the service manager",
        text: include_str!("../../../profiles/base/windows.toml"),
        scaffold: "windows/amd64",
    },
];

/// The built-in base of this name, with or without `base/` and `.toml`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Base> {
    let plain = name.strip_suffix(".toml").unwrap_or(name);
    BASES
        .iter()
        .find(|b| b.name == plain || b.name.strip_prefix("base/") == Some(plain))
}
