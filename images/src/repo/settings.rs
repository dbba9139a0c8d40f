//! `repo.json`: what a repository is called, where it is found, and the public keys that sign it.

use serde::{Deserialize, Serialize};

use super::{Keys, openpgp};
use crate::formats::deb::check_maintainer;

/// Its file.
pub(super) const FILE: &str = "repo.json";
const KIND: &str = "jos.image.repository";

/// The settings of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    kind: String,
    /// Names files on devices: lower case letters, digits, `-`.
    pub name: String,
    /// For people.
    pub title: String,
    /// Who answers for it, `Name <address>`: the OpenPGP user of APT's key, and the keyring package's maintainer.
    pub maintainer: String,
    /// Where devices find it, without a slash at the end.
    pub url: String,
    /// APT's suite and codename.
    pub suite: String,
    /// The vendor's colour on the page, `#rrggbb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accent: Option<String>,
    /// Days after which devices no longer believe APT's index, so that an old one cannot be kept before them for ever.
    pub valid_days: u32,
    /// Version of the keyring package; rises with each new key.
    pub keyring_version: u32,
    /// The OpenPGP fingerprint of APT's key.
    #[serde(default)]
    pub apt_fingerprint: String,
    /// The number of opkg's key.
    #[serde(default)]
    pub opkg_number: String,
    /// The id of apk's key.
    #[serde(default)]
    pub apk_id: String,
    /// While keys change: the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<Also>,
}

/// The other keys of a repository whose keys change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Also {
    /// The OpenPGP fingerprint of APT's key.
    pub apt_fingerprint: String,
    /// The number of opkg's key.
    pub opkg_number: String,
    /// The id of apk's key.
    pub apk_id: String,
}

impl Also {
    fn of(keys: &Keys) -> Self {
        Self {
            apt_fingerprint: openpgp::fingerprint(&keys.apt.public()),
            opkg_number: jos_trust::release::key_number(&keys.opkg.public()),
            apk_id: keys.apk.public().id_hex(),
        }
    }
}

/// A setting outside its grammar.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: found {found:?}, expected {expected}")]
pub struct BadSetting {
    field: &'static str,
    found: String,
    expected: &'static str,
}

impl Settings {
    /// Settings of a new repository; [`Settings::check`] says whether they will do.
    #[must_use]
    pub fn new(name: &str, title: &str, maintainer: &str, url: &str) -> Self {
        Self {
            kind: KIND.to_owned(),
            name: name.to_owned(),
            title: title.to_owned(),
            maintainer: maintainer.to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            suite: "stable".to_owned(),
            accent: None,
            valid_days: 30,
            keyring_version: 1,
            apt_fingerprint: String::new(),
            opkg_number: String::new(),
            apk_id: String::new(),
            also: None,
        }
    }

    /// Reads `repo.json`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let settings: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if settings.kind != KIND {
            return Err(format!("kind: found {:?}, expected {KIND:?}", settings.kind));
        }
        settings.check().map_err(|e| e.to_string())?;
        Ok(settings)
    }

    /// `repo.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The keyring's file name.
    #[must_use]
    pub fn keyring_file(&self) -> String {
        format!("{}-archive-keyring.gpg", self.name)
    }

    /// Notes the public halves of the keys; with other APT keys, the keyring package is a new one.
    pub(super) fn take_keys(&mut self, keys: &Keys) {
        let also = keys.also.as_deref().map(Also::of);
        let other = |also: &Option<Also>| also.as_ref().map(|also| also.apt_fingerprint.clone());
        let Also {
            apt_fingerprint,
            opkg_number,
            apk_id,
        } = Also::of(keys);
        let same = self.apt_fingerprint == apt_fingerprint && other(&self.also) == other(&also);
        if !self.apt_fingerprint.is_empty() && !same {
            self.keyring_version += 1;
        }
        self.apt_fingerprint = apt_fingerprint;
        self.opkg_number = opkg_number;
        self.apk_id = apk_id;
        self.also = also;
    }

    /// Refuses a setting outside its grammar.
    ///
    /// # Errors
    /// [`BadSetting`].
    pub fn check(&self) -> Result<(), BadSetting> {
        let word = |text: &str| {
            let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            text.len() >= 2 && text.len() <= 60 && text.as_bytes()[0].is_ascii_lowercase() && text.bytes().all(ok)
        };
        let url_ok = ["https://", "http://"]
            .iter()
            .any(|s| self.url.starts_with(s) && self.url.len() > s.len())
            && !self
                .url
                .contains(|c: char| c.is_control() || c.is_whitespace() || "\"'`\\<>$".contains(c));
        let title_ok = !self.title.trim().is_empty()
            && self.title.len() <= 80
            && !self.title.contains(|c: char| c.is_control() || "<>\"()".contains(c));
        let refuse = |field, found: &str, expected| {
            Err(BadSetting {
                field,
                found: found.to_owned(),
                expected,
            })
        };
        if !word(&self.name) {
            return refuse(
                "name",
                &self.name,
                "2 to 60 of a-z, 0-9 and -, a letter first, such as acme",
            );
        }
        if !word(&self.suite) {
            return refuse(
                "suite",
                &self.suite,
                "2 to 60 of a-z, 0-9 and -, a letter first, such as stable",
            );
        }
        if !title_ok {
            return refuse(
                "title",
                &self.title,
                "one line of up to 80 characters without < > \" ( )",
            );
        }
        if check_maintainer(&self.maintainer).is_err() {
            return refuse("maintainer", &self.maintainer, "`Name <address@example.org>`");
        }
        if !url_ok {
            return refuse(
                "url",
                &self.url,
                "http:// or https:// and where devices will find the folder",
            );
        }
        let colour = |text: &String| {
            let digits = text.strip_prefix('#').unwrap_or_default();
            digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())
        };
        if let Some(accent) = self.accent.as_ref().filter(|accent| !colour(accent)) {
            return refuse("accent", accent, "a colour as #1f6feb");
        }
        if !(1..=3650).contains(&self.valid_days) {
            return refuse("valid-days", &self.valid_days.to_string(), "1 to 3650 days");
        }
        Ok(())
    }
}
