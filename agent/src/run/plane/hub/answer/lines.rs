//! The end of the agent's log, as `jos agent logs` shows it; of an agent that no init system runs, what it keeps in memory.

use std::path::Path;
use std::time::Duration;

use jos_runtime::world::Invocation;

use super::super::Agent;
use super::clean;
use crate::place::Place;
use crate::{files, installed, logger};

/// How long an init system may take to print it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a line, at most.
const LENGTH: usize = 400;
/// Bytes that all lines take in JSON, at most: there is room for the rest of the answer beside them.
const ROOM: usize = 56 << 10;
/// What stands in the place of a secret.
const HIDDEN: &str = "[secret]";
/// Shorter ones are words as well; whoever uses such a secret has none.
const SHORTEST: usize = 6;
/// Bytes of a secret that is looked for, at most.
const LONGEST: usize = 64 << 10;

impl Agent<'_> {
    /// The last lines, the oldest first.
    pub(super) fn log_lines(&self, most: u32) -> Vec<String> {
        let all = self.kept_by_init().unwrap_or_else(logger::last);
        let hidden = self.hidden();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        shortened(&all, &hidden, most)
    }

    /// What the init system has; none where this process is not its service, or it keeps nothing.
    fn kept_by_init(&self) -> Option<Vec<String>> {
        let place = Place::new(None);
        let found = installed::find(&place, &self.settings.name);
        let agent = found.filter(|agent| agent.state_dir() == self.settings.state_dir)?;
        let command = agent.log_command(&place, false);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let ran = self.world.processes.run(&Invocation {
            argv: words.map(|word| word.to_string_lossy().into_owned()).collect(),
            env: Vec::new(),
            timeout: PATIENCE,
        });
        let ran = ran.ok().filter(|ran| ran.ok() && !ran.output.is_empty())?;
        Some(
            String::from_utf8_lossy(&ran.output)
                .lines()
                .map(str::to_owned)
                .collect(),
        )
    }

    /// What no answer shows. jos itself logs none of it; a program that it runs may.
    fn hidden(&self) -> Vec<String> {
        let values = self.settings.environment.iter().map(|(_, value)| value.clone());
        let mut all: Vec<String> = values.chain(secrets(&self.settings.secrets)).collect();
        // A long one first: a shorter one may be a part of it.
        all.sort_by_key(|value| std::cmp::Reverse(value.len()));
        all.retain(|value| value.len() >= SHORTEST);
        all
    }
}

/// The lines of the values of all secrets.
fn secrets(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let values = entries.filter_map(|entry| files::read(&entry.path(), LONGEST).ok());
    values
        .flat_map(|value| {
            let text = String::from_utf8_lossy(&value).into_owned();
            text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

/// The last `most` lines that there is room for, clean, with nothing in them that is hidden.
fn shortened(all: &[String], hidden: &[String], most: usize) -> Vec<String> {
    let (mut lines, mut room) = (Vec::new(), ROOM);
    for line in all.iter().rev() {
        let shown = hidden
            .iter()
            .fold(line.clone(), |line, secret| line.replace(secret.as_str(), HIDDEN));
        let shown = clean(shown.trim_end(), LENGTH);
        if shown.is_empty() {
            continue;
        }
        // Quotes, a comma, and a backslash for each that needs one.
        let takes = shown.len() + 3 + shown.bytes().filter(|b| b"\"\\".contains(b)).count();
        if lines.len() == most || takes > room {
            break;
        }
        room -= takes;
        lines.push(shown);
    }
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[&str]) -> Vec<String> {
        of.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn the_last_lines_are_told_without_a_secret_in_them() {
        let all = lines(&["first", "", "login with hunter2hunter2 and hunter2!", "\u{1b}[31mred"]);
        let hidden = lines(&["hunter2hunter2", "hunter2"]);
        assert_eq!(
            shortened(&all, &hidden, 2),
            ["login with [secret] and [secret]!", " [31mred"]
        );
        assert_eq!(shortened(&all, &hidden, 9).len(), 3);
    }

    #[test]
    fn lines_of_any_kind_fit_into_an_answer() {
        for text in ["\"\\".repeat(1000), "ä".repeat(1000), "a".into()] {
            let told = shortened(&vec![text; 20_000], &[], 20_000);
            let written = serde_json::to_vec(&told).expect("plain data").len();
            assert!(written <= ROOM + 2 && written > ROOM / 2, "{written}");
        }
    }

    #[test]
    fn the_values_of_secrets_are_known_line_by_line() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("wifi"), "correct horse\nbattery staple\n").expect("a file");
        assert_eq!(secrets(dir.path()), ["correct horse", "battery staple"]);
        assert!(secrets(&dir.path().join("none")).is_empty());
    }
}
