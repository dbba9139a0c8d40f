//! What must never lie in a package: private keys, passphrases, tokens.
//!
//! Owns: the marks by which they are recognised in texts that a vendor brings. A package is copied to every device and
//! every mirror; a secret belongs to one device and reaches it by its own way.
//! Never: claims to find every secret. It finds those whose form is known.

use jos_schemas::documents::desired_state::{Content, DesiredState, Step};
use jos_schemas::documents::profile::Profile;
use jos_schemas::node::Node;

use crate::profile::Problems;

/// What to do about one.
pub const HELP: &str = "a package goes to every device and mirror: name the secret ({\"secret\": NAME}) and put its value into \
                        /etc/jos/secrets/NAME on each device";

/// A secret that was found. Never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Line, from 1.
    pub line: usize,
    /// What it is.
    pub what: &'static str,
}

/// Texts that open a token of a well-known service, with the fewest characters that follow.
const TOKENS: [(&str, usize, &str); 7] = [
    ("ghp_", 30, "an access token (ghp_…)"),
    ("github_pat_", 30, "an access token (github_pat_…)"),
    ("glpat-", 20, "an access token (glpat-…)"),
    ("AKIA", 16, "a cloud access key (AKIA…)"),
    ("xoxb-", 20, "a chat token (xoxb-…)"),
    ("sk-ant-", 20, "an API key (sk-…)"),
    ("jos1-", 120, "an enrolment token (jos1-…)"),
];

/// Settings whose value is a passphrase, as hostapd, wpa_supplicant, NetworkManager and UCI write them.
const SETTINGS: [&str; 8] = [
    "wpa_passphrase=",
    "sae_password=",
    "psk=",
    "wep_key0=",
    "option key ",
    "option password ",
    "enrolment_token=",
    "enrol_token=",
];

/// The first secret in a file, if its form is known.
#[must_use]
pub fn find(bytes: &[u8]) -> Option<Found> {
    let text = String::from_utf8_lossy(bytes);
    for (i, line) in text.lines().enumerate() {
        if let Some(what) = in_line(line) {
            return Some(Found { line: i + 1, what });
        }
    }
    None
}

fn in_line(line: &str) -> Option<&'static str> {
    if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") {
        return Some("a private key (PEM)");
    }
    if line.contains("AGE-SECRET-KEY-1") {
        return Some("a private key (age)");
    }
    // A key file of ours: `{"kind":"jos.key", …}` in either grammar.
    let squeezed: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    if ["\"kind\":\"jos.key\"", "kind=\"jos.key\"", "kind='jos.key'"]
        .iter()
        .any(|k| squeezed.contains(k))
    {
        return Some("a secret key of jos");
    }
    for (start, least, what) in TOKENS {
        let more = line.split(start).skip(1).any(|rest| {
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-')
                .count()
                >= least
        });
        if more {
            return Some(what);
        }
    }
    let plain = line.trim_start();
    if plain.starts_with(['#', ';']) || plain.starts_with("//") {
        return None;
    }
    let lower = plain.to_ascii_lowercase().replace(" = ", "=").replace("= ", "=");
    for setting in SETTINGS {
        let Some(value) = lower.strip_prefix(setting) else {
            continue;
        };
        let value = value.trim().trim_matches(['"', '\'']);
        if !value.is_empty() && !value.starts_with(['{', '$', '@', '<']) {
            return Some("a passphrase in plain text");
        }
    }
    None
}

/// Looks through the texts of a profile itself.
pub fn profile_texts(profile: &Profile, node: &Node, problems: &mut Problems<'_>) {
    let motd = profile.brand.as_ref().and_then(|b| b.motd.as_deref());
    if let Some(found) = motd.and_then(|m| find(m.as_bytes())) {
        problems.at(node, "/brand/motd", format!("found {}", found.what), HELP);
    }
}

/// The steps of a state whose text holds a secret: JSON pointer and what it is.
#[must_use]
pub fn in_state(state: &DesiredState) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for (i, step) in state.spec.apply.iter().enumerate() {
        let (text, member) = match step {
            Step::File(file) => match &file.content {
                Some(Content::Text(text)) => (text, "content"),
                _ => continue,
            },
            Step::Shell(shell) => (&shell.command, "command"),
            _ => continue,
        };
        if let Some(found) = find(text.as_bytes()) {
            all.push((format!("/spec/apply/{i}/{member}"), found.what));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn secrets_of_known_form_are_found_with_their_line() {
        let pem = format!("x\n-----BEGIN {} KEY-----\n", "EC PRIVATE");
        let token = format!("token: ghp_{}", "a".repeat(36));
        let own = "{ \"kind\" : \"jos.key\", \"alg\": \"ed25519\" }";
        for (text, line) in [
            (pem.as_str(), 2),
            (token.as_str(), 1),
            (own, 1),
            ("ssid=x\nwpa_passphrase=correct horse\n", 2),
            ("config wifi-iface\n\toption key 'correct horse'\n", 2),
            ("psk = \"correct horse\"", 1),
        ] {
            assert_eq!(find(text.as_bytes()).map(|f| f.line), Some(line), "{text}");
        }
    }

    #[test]
    fn certificates_public_keys_empty_settings_and_comments_are_no_secrets() {
        for text in [
            "-----BEGIN CERTIFICATE-----",
            "ssh-ed25519 AAAA… me",
            "option key ''",
            "wpa_passphrase=",
            "# psk=example",
            "psk={secret}",
        ] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }
}
