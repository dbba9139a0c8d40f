//! A wireless network: wpa_supplicant on every radio, its settings in one file.
//!
//! The radio has no name that is known beforehand (`wlan0`, `wlp2s0`): udev starts a unit for each that appears.

use std::fmt::Write;

use jos_schemas::documents::profile::{Image, Wifi};

use super::layer::Layer;

/// What a base needs for it.
pub(super) const PACKAGES: [&str; 2] = ["wireless-regdb", "wpasupplicant"];

/// Where the settings are; a first boot with a seed writes the same file.
const SETTINGS: &str = "etc/wpa_supplicant/jos.conf";

/// Lays it into a root.
pub(super) fn install(layer: &mut Layer, image: &Image, passphrase: Option<&str>) {
    let Some(wifi) = &image.wifi else { return };
    layer.file(
        "etc/udev/rules.d/80-jos-wifi.rules",
        0o644,
        include_str!("scripts/wifi.rules"),
    );
    let unit = include_str!("scripts/wifi.service");
    layer.file("usr/lib/systemd/system/jos-wifi@.service", 0o644, unit);
    layer.file(
        "etc/systemd/network/81-wireless.network",
        0o644,
        "[Match]\nType=wlan\n\n[Network]\nDHCP=yes\nIgnoreCarrierLoss=3s\n",
    );
    // A device on the air has no wire to wait for.
    layer.file(
        "etc/systemd/system/systemd-networkd-wait-online.service.d/any.conf",
        0o644,
        "[Service]\nExecStart=\nExecStart=/lib/systemd/systemd-networkd-wait-online --any\n",
    );
    let head = head(wifi);
    if let Some(ssid) = &wifi.ssid {
        layer.file(SETTINGS, 0o600, format!("{head}{}", network(ssid, passphrase)));
    }
    layer.file("usr/lib/jos-image/wifi", 0o644, head);
}

fn head(wifi: &Wifi) -> String {
    let country = wifi.country.as_deref().unwrap_or("00");
    format!("# Written by jos-image.\ncountry={country}\n")
}

/// A network as wpa_supplicant.conf(5) has it. Its name is in hexadecimal: it may hold any byte. The passphrase is no hash,
/// which WPA3 could not use.
fn network(ssid: &str, passphrase: Option<&str>) -> String {
    let mut text = "network={\n\tssid=".to_owned();
    for byte in ssid.bytes() {
        write!(text, "{byte:02x}").ok();
    }
    text.push('\n');
    match passphrase {
        Some(phrase) => {
            text.push_str("\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n");
            writeln!(text, "\tpsk=\"{phrase}\"").ok();
        }
        None => text.push_str("\tkey_mgmt=NONE\n"),
    }
    text.push_str("\tscan_ssid=1\n}\n");
    text
}

/// What is wrong with the name of a network.
///
/// # Errors
/// In words, what was expected.
pub fn sound_ssid(ssid: &str) -> Result<(), &'static str> {
    if ssid.is_empty() || ssid.len() > 32 || ssid.chars().any(char::is_control) {
        return Err("expected the name of a network: 1 to 32 bytes");
    }
    Ok(())
}

/// What is wrong with a passphrase.
///
/// # Errors
/// In words, what was expected; never the passphrase.
pub fn sound_passphrase(passphrase: &str) -> Result<(), &'static str> {
    if (8..=63).contains(&passphrase.len()) && passphrase.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Ok(());
    }
    Err("expected a passphrase of 8 to 63 printable characters of ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_name_in_bytes_and_its_passphrase_in_quotes() {
        let text = network("Café 1", Some("it \"is\" secret"));
        assert!(text.contains("\tssid=436166c3a92031\n"), "{text}");
        assert!(text.contains("\tpsk=\"it \"is\" secret\"\n"), "{text}");
        assert!(network("x", None).contains("key_mgmt=NONE"));
    }

    #[test]
    fn names_and_passphrases_that_no_radio_takes_are_refused() {
        assert!(sound_ssid("").is_err() && sound_ssid(&"x".repeat(33)).is_err() && sound_ssid("a\tb").is_err());
        assert!(sound_ssid(&"é".repeat(16)).is_ok());
        for wrong in ["short", &"x".repeat(64), "not of äscii"] {
            let said = sound_passphrase(wrong).expect_err("it is refused");
            assert!(!said.contains(wrong), "it was told");
        }
        assert!(sound_passphrase("eight ch").is_ok());
    }
}
