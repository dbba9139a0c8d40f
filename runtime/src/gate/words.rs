//! Steps as people read them.

use jos_schemas::documents::desired_state::Step;

use super::uci_words;

/// A step in words.
pub(crate) fn label(at: usize, step: &Step) -> String {
    match step_path(step) {
        Some(path) => format!("step {} ({} {path})", at + 1, kind(step)),
        None => match step {
            Step::Service(s) => format!("step {} (service {})", at + 1, s.name),
            Step::Package(p) => format!("step {} (package {})", at + 1, p.name),
            Step::Uci(u) => format!("step {} (uci {})", at + 1, uci_words(u)),
            Step::Cron(c) => format!("step {} (cron {})", at + 1, c.name),
            Step::Sysctl(s) => format!("step {} (sysctl {})", at + 1, s.key),
            Step::Image(i) => format!("step {} (image {})", at + 1, i.compatible),
            _ => format!("step {} ({})", at + 1, kind(step)),
        },
    }
}

/// Whether `words` is the [`label`] of this step.
pub(crate) fn is_label(words: &str, at: usize, step: &Step) -> bool {
    let Some(path) = step_path(step) else {
        return label(at, step) == words;
    };
    let rest = words.strip_prefix("step ").and_then(|rest| rest.split_once(" ("));
    rest.is_some_and(|(number, rest)| {
        let own = number.parse() == Ok(at + 1) && !number.starts_with(['0', '+']);
        let listed = rest.strip_prefix(kind(step)).and_then(|rest| rest.strip_prefix(' '));
        own && listed.and_then(|rest| rest.strip_suffix(')')) == Some(path)
    })
}

/// The path of a step that has one.
pub(crate) fn step_path(step: &Step) -> Option<&str> {
    match step {
        Step::File(s) => Some(s.path.as_str()),
        Step::Directory(s) => Some(s.path.as_str()),
        Step::Link(s) => Some(s.path.as_str()),
        Step::Absent(s) => Some(s.path.as_str()),
        _ => None,
    }
}

/// The `type` of a step.
const fn kind(step: &Step) -> &'static str {
    match step {
        Step::File(_) => "file",
        Step::Directory(_) => "directory",
        Step::Link(_) => "link",
        Step::Absent(_) => "absent",
        Step::Service(_) => "service",
        Step::Package(_) => "package",
        Step::Uci(_) => "uci",
        Step::User(_) => "user",
        Step::Group(_) => "group",
        Step::Cron(_) => "cron",
        Step::Sysctl(_) => "sysctl",
        Step::Image(_) => "image",
        Step::Shell(_) => "shell",
    }
}
