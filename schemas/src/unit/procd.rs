//! The OpenWrt init script: works as it lies in the feed; only the values of its `JOS_` lines change.

use super::{UnitError, printable};

/// The script of the feed.
pub(crate) const SCRIPT: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos-agent.init");

/// The script of early recovery.
pub(crate) const RECOVER: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos-agent-recover.init");

/// What the script of one agent says.
#[derive(Clone, Copy)]
pub struct Procd<'a> {
    /// The program.
    pub program: &'a str,
    /// `agent.toml`.
    pub config: &'a str,
    /// Artifact or desired state; named on the command line where it exists.
    pub artifact: &'a str,
    /// As whom; empty for root.
    pub user: &'a str,
    /// The section of `/etc/config/jos` that feeds it; empty for none.
    pub uci: &'a str,
}

impl Procd<'_> {
    /// The script.
    pub fn render(&self) -> Result<String, UnitError> {
        let values = [
            ("JOS_PROGRAM=", self.program),
            ("JOS_CONFIG=", self.config),
            ("JOS_ARTIFACT=", self.artifact),
            ("JOS_USER=", self.user),
            ("JOS_UCI=", self.uci),
        ];
        valued(SCRIPT, &values)
    }
}

/// The script of early recovery, for an agent of root's: as root it must not follow a journal that somebody else can write.
#[derive(Clone, Copy)]
pub struct ProcdRecover<'a> {
    /// The program.
    pub program: &'a str,
    /// `agent.toml`.
    pub config: &'a str,
}

impl ProcdRecover<'_> {
    /// The script.
    pub fn render(&self) -> Result<String, UnitError> {
        valued(RECOVER, &[("JOS_PROGRAM=", self.program), ("JOS_CONFIG=", self.config)])
    }
}

/// `script` with these values in the lines that begin so.
fn valued(script: &str, values: &[(&str, &str)]) -> Result<String, UnitError> {
    let mut out = String::with_capacity(script.len() + 128);
    for line in script.split_inclusive('\n') {
        match values.iter().find(|(key, _)| line.starts_with(key)) {
            Some((key, value)) => {
                printable("script value", value)?;
                out.push_str(&format!("{key}{}\n", quoted(value)));
            }
            None => out.push_str(line),
        }
    }
    Ok(out)
}

/// POSIX shell single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
