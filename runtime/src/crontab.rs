//! Crontabs: how an entry is written so that exactly its command runs, and where it stands in a file that others share.
//!
//! Owns the text of an entry and of the marks around it. Touches no disk.

use crate::marked;

/// Which program reads the file: they differ in what they do to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Vixie cron and its heirs (Debian's cron, cronie), a file of `/etc/cron.d`: with a user; `%` ends the command.
    Vixie,
    /// BusyBox crond (OpenWrt): a crontab of one user.
    BusyBox,
}

/// Vixie cron takes no longer lines.
const LONGEST: usize = 990;

/// The line that runs `command`, or why no line would run just that.
pub(crate) fn line(reader: Reader, schedule: &str, user: &str, command: &str) -> Result<String, String> {
    let no = |what: &str| {
        Err(format!(
            "cron would not run this command as it is: {what}; put it into a script"
        ))
    };
    if command.contains(['\n', '\r']) {
        return no("it has more than one line");
    }
    if command.starts_with([' ', '\t']) || command.ends_with([' ', '\t']) {
        return no("cron drops the space at its ends");
    }
    let line = match reader {
        Reader::Vixie if command.contains("\\\\") || command.contains("\\%") => {
            return no("what cron makes of \\\\ and \\% differs from version to version");
        }
        Reader::Vixie => format!("{schedule} {user} {}\n", command.replace('%', "\\%")),
        Reader::BusyBox if command.contains('#') => return no("some versions take the # for a comment"),
        Reader::BusyBox => format!("{schedule} {command}\n"),
    };
    if line.len() > LONGEST {
        return no(&format!(
            "the line would have {} bytes, expected {LONGEST} at most",
            line.len()
        ));
    }
    Ok(line)
}

/// A file of its own for one entry.
pub(crate) fn whole(agent: &str, name: &str, line: &str) -> String {
    format!("# Entry {name} of the jos agent {agent}. Kept by jos: what is changed here is put back.\n{line}")
}

/// A crontab with our entry, or (`None`) without it; every other line stays. `None` when it is so already.
pub(crate) fn edited(text: Option<&str>, agent: &str, name: &str, line: Option<&str>) -> Option<String> {
    let begin = format!("# jos {agent}/{name}: begin. Kept by jos; put your own lines elsewhere.");
    let end = format!("# jos {agent}/{name}: end");
    marked::put(text.unwrap_or_default(), &begin, &end, line.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Reader, edited, line};

    #[test]
    fn a_line_runs_just_the_command_or_there_is_none() {
        let vixie = |command| line(Reader::Vixie, "*/5 * * * *", "root", command);
        assert_eq!(
            vixie("date +%F >> /tmp/x").unwrap(),
            "*/5 * * * * root date +\\%F >> /tmp/x\n"
        );
        assert_eq!(vixie("echo a\\b # c").unwrap(), "*/5 * * * * root echo a\\b # c\n");
        let busybox = |command| line(Reader::BusyBox, "0 3 * * *", "root", command);
        assert_eq!(busybox("date +%F \\% \\\\").unwrap(), "0 3 * * * date +%F \\% \\\\\n");
        for bad in ["a\nb", " a", "a ", "a \\\\", "a \\%F", &"x".repeat(1000)] {
            assert!(vixie(bad).is_err(), "{bad:?}");
        }
        assert!(busybox("a # b").is_err() && busybox("a\rb").is_err());
    }

    #[test]
    fn only_our_entry_changes() {
        let theirs = "# mine\n0 0 * * * /root/mine";
        let one = edited(Some(theirs), "portal", "a", Some("1 1 * * * a\n")).unwrap();
        let mark = |what: &str| format!("# jos portal/a: {what}");
        let begin = mark("begin. Kept by jos; put your own lines elsewhere.");
        assert_eq!(one, format!("{theirs}\n{begin}\n1 1 * * * a\n{}\n", mark("end")));
        assert_eq!(edited(Some(&one), "portal", "a", Some("1 1 * * * a\n")), None);
        let two = edited(Some(&one), "portal", "b", Some("2 2 * * * b\n")).unwrap();
        assert!(two.starts_with(&one));
        // Drift within our marks is put right; another agent's entry of the same name is another entry.
        let drifted = two.replace("1 1 * * * a\n", "1 1 * * * evil\nx\n");
        assert_eq!(
            edited(Some(&drifted), "portal", "a", Some("1 1 * * * a\n")).unwrap(),
            two
        );
        assert_eq!(edited(Some(&two), "other", "a", None), None);
        assert_eq!(edited(Some(&two), "portal", "b", None).unwrap(), one);
        assert_eq!(edited(Some(&one), "portal", "a", None).unwrap(), format!("{theirs}\n"));
        // A begin without its end swallows nothing.
        let cut = format!("{begin}\n9 9 * * * /root/mine\n");
        let new = edited(Some(&cut), "portal", "a", Some("1 1 * * * a\n")).unwrap();
        assert!(new.starts_with(&cut));
        assert_eq!(edited(Some(&new), "portal", "a", None).unwrap(), cut);
    }
}
