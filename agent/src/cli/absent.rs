//! Commands that this build does not have, as a device's or scripts/quickstart's has not all: named, with where they are to be had.

use super::Failure;

/// Of [`super::desk`], by their first word.
const DESK: [&str; 10] = [
    "key",
    "sign",
    "verify",
    "policy",
    "validate",
    "schema",
    "hub",
    "image",
    "completions",
    "man",
];
/// Of [`super::runtime`], but for the one that draws pages.
const RUNTIME: [&str; 9] = [
    "runtime",
    "serve",
    "submit",
    "status",
    "watch",
    "logs",
    "eval",
    "add-agent",
    "schedule",
];
/// The same of `jos trust`.
const OF_TRUST: [&str; 3] = ["init", "add", "rotate"];

/// The refusal of such a command, if it is one.
pub(super) fn refusal(words: impl Iterator<Item = String>) -> Option<Failure> {
    let mut words = words.filter(|word| !word.starts_with('-'));
    let first = words.next()?;
    let (desk, node, pages) = (
        cfg!(feature = "desk"),
        cfg!(feature = "runtime"),
        cfg!(feature = "console"),
    );
    let (command, of_the_desk) = match first.as_str() {
        "trust" if !desk || cfg!(test) => {
            let verb = words.next().filter(|word| OF_TRUST.contains(&word.as_str()))?;
            (format!("{first} {verb}"), true)
        }
        other if DESK.contains(&other) && (!desk || cfg!(test)) => (first, true),
        "console" if !pages || cfg!(test) => (first, !desk),
        // A device's node has no pages.
        "runtime" if node => (
            format!(
                "{first} {}",
                words
                    .next()
                    .filter(|word| word == "console" && (!pages || cfg!(test)))?
            ),
            true,
        ),
        other if RUNTIME.contains(&other) && !node => (first, !desk),
        _ => return None,
    };
    let failure = |made: &str| Failure::invalid(format!("`jos {command}` is not in this build ({made})"));
    Some(if of_the_desk {
        failure("made for devices").help("run it on a workstation, whose program has all commands")
    } else {
        failure("made without the runtime").help("scripts/build makes the program that has all commands")
    })
}

#[cfg(test)]
mod tests {
    use super::refusal;

    fn said(words: &str) -> Option<String> {
        refusal(words.split(' ').map(str::to_owned)).map(|failure| failure.to_string())
    }

    #[test]
    fn a_command_of_the_desk_is_refused_by_name_and_no_other() {
        let said_of_sign = said("--json sign --key admin.key state.toml");
        assert_eq!(
            said_of_sign.unwrap(),
            "`jos sign` is not in this build (made for devices)"
        );
        assert!(said("trust rotate trust.json").unwrap().contains("`jos trust rotate`"));
        if cfg!(feature = "runtime") {
            assert!(said("runtime console").unwrap().contains("`jos runtime console`"));
            assert_eq!(said("runtime status"), None);
        }
        for there in [
            "trust show trust.json",
            "trust --help",
            "ledger verify",
            "agent plan sign",
            "sing",
        ] {
            assert_eq!(said(there), None, "{there}");
        }
    }

    #[cfg(feature = "full")]
    #[test]
    fn every_command_of_the_desk_is_named_and_each_that_is_named_is_one() {
        use clap::Subcommand as _;

        let named = |tree: clap::Command| {
            tree.get_subcommands()
                .map(|c| c.get_name().to_owned())
                .collect::<Vec<_>>()
        };
        let desk = crate::cli::desk::DeskCommand::augment_subcommands(clap::Command::new("jos"));
        let short = crate::cli::runtime::ShortVerb::augment_subcommands(clap::Command::new("jos"));
        let all: Vec<String> = named(desk)
            .into_iter()
            .chain(["runtime".into()])
            .chain(named(short))
            .collect();
        let mut known = [&super::DESK[..], &super::RUNTIME].concat();
        let (mut all, console): (Vec<String>, Vec<String>) = all.into_iter().partition(|name| name != "console");
        assert_eq!(console.len(), 1);
        all.sort();
        known.sort_unstable();
        assert_eq!(all, known);
        let trust = crate::cli::desk::TrustVerb::augment_subcommands(clap::Command::new("trust"));
        assert_eq!(named(trust), super::OF_TRUST);
    }
}
