//! The command list: exact bytes run by a shell, argv templates run without one.

use std::net::IpAddr;

use jos_schemas::documents::policy::{CommandGrant, Grant};
use jos_schemas::text::AbsPath;

/// What runs a listed text. On Windows the world finds it in the system's own folder, and hands the text on as it stands.
const SHELL: &[&str] = if cfg!(windows) {
    &["cmd.exe", "/d", "/s", "/c"]
} else {
    &["/bin/sh", "-c"]
};

/// The argv of a listed command, or `None` when the list does not cover it.
pub(crate) fn resolve(grant: &Grant, text: &str) -> Option<Vec<String>> {
    if text.contains('\0') {
        return None;
    }
    let mut templates = Vec::new();
    for listed in &grant.shell {
        match listed {
            CommandGrant::Exact(exact) if exact == text => {
                let shell = SHELL.iter().copied().chain([text]);
                return Some(shell.map(str::to_owned).collect());
            }
            CommandGrant::Exact(_) => {}
            CommandGrant::Template(template) => templates.push(&template.argv),
        }
    }
    // Words are separated by exactly one space. There is no quoting: a word is what stands between two spaces, and
    // no hole takes a character that a shell would act on, were there one.
    let words: Vec<&str> = text.split(' ').collect();
    let fits = |argv: &&&Vec<String>| argv.len() == words.len() && argv.iter().zip(&words).all(|(t, w)| hole(t, w));
    templates
        .iter()
        .find(fits)
        .filter(|argv| argv.first().is_some_and(|p| p.starts_with('/')))?;
    Some(words.into_iter().map(str::to_owned).collect())
}

/// Whether `word` is the literal `template`, or fits it where it is a hole.
fn hole(template: &str, word: &str) -> bool {
    match template {
        "{int}" => {
            let digits = word.strip_prefix('-').unwrap_or(word);
            !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit())
        }
        "{word}" => plain(word, "_.-@:+,", 128),
        "{ip}" => word.parse::<IpAddr>().is_ok(),
        "{host}" => word.parse::<IpAddr>().is_ok() || host(word),
        "{path}" => AbsPath::new(word).is_ok() && plain(&word[1..], "_.-@:+,/", 4096),
        literal => literal == word && !word.is_empty(),
    }
}

/// Letters, digits and `more`; not empty, and not starting with a dash, which would make it an option.
fn plain(word: &str, more: &str, limit: usize) -> bool {
    !word.is_empty()
        && word.len() <= limit
        && !word.starts_with('-')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// A host name (RFC 1123 §2.1).
fn host(word: &str) -> bool {
    let label = |l: &str| plain(l, "-", 63) && !l.ends_with('-');
    word.len() <= 253 && word.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use jos_schemas::documents::policy::{CommandGrant, CommandTemplate, Grant};

    use super::resolve;

    fn grant() -> Grant {
        let argv = |w: &[&str]| {
            CommandGrant::Template(CommandTemplate {
                argv: w.iter().map(|s| (*s).into()).collect(),
            })
        };
        let shell = vec![
            CommandGrant::Exact("echo a; echo b".into()),
            argv(&["/sbin/ip", "route", "add", "{ip}", "metric", "{int}"]),
            argv(&["/bin/ping", "{host}"]),
            argv(&["/bin/cat", "{path}"]),
            argv(&["/bin/say", "{word}"]),
        ];
        Grant {
            shell,
            ..Grant::default()
        }
    }

    #[test]
    fn an_exact_command_is_its_bytes_and_nothing_else() {
        let g = grant();
        assert_eq!(
            resolve(&g, "echo a; echo b").unwrap(),
            ["/bin/sh", "-c", "echo a; echo b"]
        );
        for other in [
            "echo a;  echo b",
            " echo a; echo b",
            "echo a; echo b ",
            "echo a; echo b; id",
            "echo a",
            "ECHO a; echo b",
            "echo a; echo b\n",
        ] {
            assert_eq!(resolve(&g, other), None, "{other:?}");
        }
    }

    #[test]
    fn a_template_takes_only_what_its_holes_take() {
        let g = grant();
        assert!(resolve(&g, "/sbin/ip route add 10.0.0.1 metric 5").is_some());
        for bad in [
            "/sbin/ip route add 10.0.0.1 metric 5;id",
            "/sbin/ip route add $(id) metric 5",
            "/sbin/ip  route add 10.0.0.1 metric 5",
            "/sbin/ip route add 10.0.0.1 metric 5 ",
            "/sbin/ip route add 10.0.0.1",
            "/bin/ping -f",
            "/bin/ping a..b",
            "/bin/ping a;b",
            "/bin/cat ../etc/shadow",
            "/bin/cat /a/../b",
            "/bin/cat -n",
            "/bin/cat /a b",
            "/bin/say -x",
            "/bin/say a'b",
            "/bin/say a\tb",
            "/bin/say ",
            "/bin/say a\u{a0}b",
        ] {
            assert_eq!(resolve(&g, bad), None, "{bad:?}");
        }
        assert!(resolve(&g, "/bin/ping hub.example.com").is_some());
        assert!(resolve(&g, "/bin/ping ::1").is_some());
        assert!(resolve(&g, "/bin/cat /var/log/messages").is_some());
    }
}
