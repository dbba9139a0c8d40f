//! The page that a person sees at a repository's address: what to type on a device.

use super::{Offers, Settings};

const STYLE: &str = include_str!("page.css");

/// The page. It loads nothing from elsewhere and runs no script.
pub(super) fn render(settings: &Settings, offers: &Offers) -> String {
    let (title, url, name) = (escape(&settings.title), escape(&settings.url), escape(&settings.name));
    let mut sections = String::new();
    if !offers.apt.is_empty() {
        let keyring = escape(&settings.keyring_file());
        let lines = [
            format!("curl -fsSLo /usr/share/keyrings/{keyring} {url}/keys/{keyring}"),
            format!("curl -fsSLo /etc/apt/sources.list.d/{name}.sources {url}/apt/{name}.sources"),
            "apt update".to_owned(),
            format!("apt install {}", example(&offers.apt.names)),
        ];
        let more = format!(
            "<p>Then <code>apt install {name}-archive-keyring</code> keeps the key up to date. The key’s fingerprint is \
             <code class=\"key\">{}</code>{}.</p>",
            spaced(&settings.apt_fingerprint),
            settings.also.as_ref().map_or_else(String::new, |also| format!(
                "; while keys change, <code class=\"key\">{}</code> signs as well",
                spaced(&also.apt_fingerprint)
            ))
        );
        sections.push_str(&section(
            "apt",
            "Debian, Ubuntu, Raspberry Pi OS",
            "as root",
            &lines,
            &offers.apt.names,
            &offers.apt.architectures,
            &more,
        ));
    }
    if !offers.apk.is_empty() {
        let lines = [
            format!("wget -O /etc/apk/keys/{name}-apk.pem {url}/keys/{name}-apk.pem"),
            format!("echo {url}/apk/$(cat /etc/apk/arch)/packages.adb >> /etc/apk/repositories.d/customfeeds.list"),
            "apk update".to_owned(),
            format!("apk add {}", example(&offers.apk.names)),
        ];
        let more = "<p>apk says the same of a file without a signature as of one by an unknown key: \
                    “UNTRUSTED signature”. Look whether the key is in <code>/etc/apk/keys</code>.</p>";
        sections.push_str(&section(
            "apk",
            "OpenWrt 25.12 and later",
            "on the router",
            &lines,
            &offers.apk.names,
            &offers.apk.architectures,
            more,
        ));
    }
    if !offers.opkg.is_empty() {
        let number = escape(&settings.opkg_number);
        let lines = [
            format!("wget -O /etc/opkg/keys/{number} {url}/keys/{name}-opkg.pub"),
            "arch=$(opkg print-architecture | tail -n 1 | cut -d' ' -f2)".to_owned(),
            format!(
                "echo \"src/gz {} {url}/opkg/$arch\" >> /etc/opkg/customfeeds.conf",
                name.replace('-', "_")
            ),
            "opkg update".to_owned(),
            format!("opkg install {}", example(&offers.opkg.names)),
        ];
        let more = "<p>Where the signature is wrong, opkg prints “Signature check failed”, drops the list and ends \
                    as if all were well: look for these words.</p>";
        sections.push_str(&section(
            "opkg",
            "OpenWrt up to 24.10",
            "on the router",
            &lines,
            &offers.opkg.names,
            &offers.opkg.architectures,
            more,
        ));
    }
    if !offers.macos.is_empty() {
        let lines: Vec<_> = offers
            .macos
            .names
            .iter()
            .flat_map(|file| {
                let file = escape(file);
                [
                    format!("curl -fsSLO {url}/macos/{file}"),
                    format!("sudo installer -pkg {file} -target /"),
                ]
            })
            .collect();
        sections.push_str(&section(
            "macos",
            "macOS 11 and later",
            "in a terminal",
            &lines,
            &[],
            &[],
            "<p><code>SHA256SUMS</code> lies beside them. The installer asks whether you trust a package that Apple did not check.</p>",
        ));
    }
    if !offers.windows.is_empty() {
        let lines: Vec<_> = offers
            .windows
            .names
            .iter()
            .flat_map(|file| {
                let file = escape(file);
                [
                    format!("curl.exe -fsSLO {url}/windows/{file}"),
                    format!("msiexec /i {file} /qn /l*v install.log"),
                ]
            })
            .collect();
        sections.push_str(&section(
            "windows",
            "Windows 10 and later",
            "in a terminal of an administrator",
            &lines,
            &[],
            &[],
            "<p><code>SHA256SUMS</code> lies beside them. Windows asks whether you trust a package that nobody known to it signed.</p>",
        ));
    }
    let lists = [&offers.apt, &offers.apk, &offers.opkg];
    let lead = match lists.iter().all(|offer| offer.is_empty()) {
        true => "Packages for your devices.",
        false => "Packages for your devices. Every list is signed; a device that has the key takes nothing else.",
    };
    let accent = settings
        .accent
        .as_deref()
        .map_or_else(String::new, |accent| format!(":root {{ --accent: {accent}; }}\n"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}: packages</title>\n<style>\n{STYLE}{accent}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"lead\">{lead}</p>\n{sections}<footer>{url}</footer>\n</main>\n</body>\n</html>\n"
    )
}

fn section(
    id: &str,
    heading: &str,
    place: &str,
    lines: &[String],
    names: &[String],
    architectures: &[String],
    more: &str,
) -> String {
    let mut facts = String::new();
    for (what, all) in [("Packages", names), ("Architectures", architectures)] {
        if !all.is_empty() {
            let all: Vec<_> = all.iter().map(|one| format!("<code>{}</code>", escape(one))).collect();
            facts.push_str(&format!("<dt>{what}</dt><dd>{}</dd>", all.join(" ")));
        }
    }
    let facts = if facts.is_empty() {
        facts
    } else {
        format!("<dl>{facts}</dl>\n")
    };
    format!(
        "<section id=\"{id}\">\n<h2>{heading} <small>{place}</small></h2>\n<pre tabindex=\"0\">{}</pre>\n{facts}{more}</section>\n",
        lines.join("\n")
    )
}

fn example(names: &[String]) -> String {
    escape(names.first().map_or("", String::as_str))
}

fn spaced(fingerprint: &str) -> String {
    let groups: Vec<_> = fingerprint.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
