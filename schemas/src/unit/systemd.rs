//! The systemd unit: systemd.service(5), systemd.exec(5), systemd.syntax(7).

use super::{UnitError, fill, login_name, printable, writable};
use crate::documents::policy::{FileGrant, Policy};

const TEMPLATE: &str = include_str!("../../../profiles/units/jos-agent.service.in");
const GUARDIAN: &str = include_str!("../../../profiles/units/jos-upgrade.service.in");
const RECOVER: &str = include_str!("../../../profiles/units/jos-agent-recover.service.in");
/// What both units may not do.
const SANDBOX: &str = include_str!("../../../profiles/units/sandbox.in");

/// Whose service manager runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The machine's.
    System,
    /// One login user's (`systemctl --user`).
    User,
}

/// Keys that the service manager of a login user cannot honour (systemd.exec(5)).
const SYSTEM_ONLY: [&str; 22] = [
    "After",
    "StateDirectory",
    "StateDirectoryMode",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "ProtectSystem",
    "ReadWritePaths",
    "ProtectHome",
    "PrivateTmp",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "PrivateDevices",
    "PrivateMounts",
    "DevicePolicy",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
];

/// What the unit of one agent says.
#[derive(Clone, Copy)]
pub struct Systemd<'a> {
    /// Who writes the file, for the first line.
    pub banner: &'a str,
    /// One line for people.
    pub description: &'a str,
    /// The command: an absolute path to the program, then its arguments.
    pub command: &'a [String],
    /// Whose service manager.
    pub scope: Scope,
    /// `User=`; `None` for root and in user units.
    pub user: Option<&'a str>,
    /// What the agent was granted; the unit lets it write there.
    pub policy: &'a Policy,
    /// Its data; `/var/lib/jos` becomes `StateDirectory=jos`.
    pub state_dir: &'a str,
    /// The data directory of the node that its daemon runs, where it runs one.
    pub node: Option<&'a str>,
    /// What it only reads, besides the system: its program, the folder of its artifact and configuration.
    pub reads: &'a [&'a str],
    /// Whether a folder exists on the machine that will run it. An image builder answers for what every system has:
    /// [`writable::everywhere`].
    pub exists: &'a dyn Fn(&str) -> bool,
}

impl Systemd<'_> {
    /// The unit of the agent itself.
    pub fn render(&self) -> Result<String, UnitError> {
        let text = self.fill(TEMPLATE, self.command, "AF_UNIX AF_INET AF_INET6 AF_NETLINK")?;
        Ok(if self.scope == Scope::User {
            without_system_keys(&text)
        } else {
            text
        })
    }

    /// The unit that puts the files of an interrupted change back early at boot, before whoever reads them: `command` is
    /// [`super::recover`]'s, `trial` the file whose presence says that a change was interrupted. A login user's service
    /// manager has no such moment.
    pub fn render_recover(&self, command: &[String], trial: &str) -> Result<String, UnitError> {
        printable("data folder", trial)?;
        let template = RECOVER.replace("@TRIAL@", &trial.replace('%', "%%"));
        self.fill(&template, command, "AF_UNIX")
    }

    fn fill(&self, template: &str, command: &[String], families: &str) -> Result<String, UnitError> {
        printable("banner", self.banner)?;
        printable("description", self.description)?;
        let exec = exec_start(command)?;
        let user = match self.user {
            Some(name) => {
                login_name(name)?;
                format!("User={name}")
            }
            None => String::new(),
        };
        let ours = self.state_dir == "/var/lib/jos";
        let directories = if ours {
            "StateDirectory=jos\nStateDirectoryMode=0700\nRuntimeDirectory=jos\nRuntimeDirectoryMode=0755\n\
             RuntimeDirectoryPreserve=yes"
        } else {
            ""
        };
        let mut paths = writable::folders(self.policy, self.exists);
        let node = self.node.map(|dir| writable::existing(dir, self.exists));
        for own in (!ours).then(|| self.state_dir.to_owned()).into_iter().chain(node) {
            if !paths.iter().any(|p| writable::within(&own, p)) {
                paths.retain(|p| !writable::within(p, &own));
                paths.push(own);
                paths.sort();
            }
        }
        let mut read_write = String::new();
        for path in &paths {
            printable("writable path", path)?;
            // '-': a folder that is not there at the start does not stop the agent.
            read_write.push_str(&format!("ReadWritePaths={}\n", word(&format!("-{path}"), false)));
        }
        let read = || self.reads.iter().copied();
        let touches = |root: &str| {
            paths
                .iter()
                .map(String::as_str)
                .chain(read())
                .any(|p| writable::within(p, root))
        };
        let opens = |root: &str| paths.iter().any(|p| writable::within(root, p));
        let homes = ["/home", "/root", "/run/user"];
        let protect_home = if homes.iter().any(|h| opens(h)) {
            "no"
        } else if homes.iter().any(|h| touches(h)) {
            "read-only"
        } else {
            "yes"
        };
        let temporary = ["/tmp", "/var/tmp"].iter().any(|t| touches(t) || opens(t));
        let grants = || self.policy.all_grants();
        let tunables = grants().any(|g| !g.sysctl.is_empty());
        let setuid = grants()
            .flat_map(|g| &g.files)
            .any(|f| matches!(f, FileGrant::Wide(wide) if wide.setuid));
        // What writing another owner's files, handing them over and dropping the network half's rights needs.
        let mut capabilities = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID".to_owned();
        if setuid {
            capabilities.push_str(" CAP_FSETID");
        }
        if tunables {
            capabilities.push_str(" CAP_NET_ADMIN");
        }
        if self.user.is_some() {
            capabilities.clear();
        }
        let yes_no = |b: bool| if b { "yes" } else { "no" };
        fill(
            &template.replace("@SANDBOX@\n", SANDBOX),
            &[
                ("BANNER", self.banner),
                ("DESCRIPTION", &self.description.replace('%', "%%")),
                ("EXEC_START", &exec),
                ("USER", &user),
                ("STATE_DIR", &word(self.state_dir, false)),
                ("ADDRESS_FAMILIES", families),
                ("STATE_DIRECTORIES", directories),
                ("READ_WRITE_PATHS", read_write.trim_end()),
                ("PROTECT_HOME", protect_home),
                ("PRIVATE_TMP", yes_no(!temporary)),
                ("CAPABILITIES", &capabilities),
                ("PROTECT_TUNABLES", yes_no(!tunables)),
                ("RESTRICT_SUID", yes_no(!setuid)),
                ("REMOVE_IPC", yes_no(self.user.is_some())),
                (
                    "WANTED_BY",
                    if self.scope == Scope::User {
                        "default.target"
                    } else {
                        "multi-user.target"
                    },
                ),
            ],
        )
    }
}

fn without_system_keys(text: &str) -> String {
    let keep = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default();
        !SYSTEM_ONLY.contains(&key)
            && key != "RemoveIPC"
            && key != "KeyringMode"
            && !line.starts_with("# Data below")
            && !line.starts_with("# Everything else")
    };
    text.split_inclusive('\n').filter(keep).collect()
}

/// The unit that takes an interrupted upgrade of the agent back at boot, whether or not the program that is installed by
/// then runs: `command` is a copy of the earlier one, `trial` as for [`Systemd::render_recover`]. No sandbox: it runs the
/// package manager.
pub fn guardian(command: &[String], trial: &str) -> Result<String, UnitError> {
    printable("data folder", trial)?;
    let values = [
        ("TRIAL", &*trial.replace('%', "%%")),
        ("EXEC_START", &*exec_start(command)?),
    ];
    super::fill(GUARDIAN, &values)
}

fn exec_start(command: &[String]) -> Result<String, UnitError> {
    let program = command.first().map_or("", String::as_str);
    // systemd takes prefixes (`-`, `@`, `:`, `+`, `!`) and no escapes before the program: only plain paths are safe there.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-".contains(&b);
    if !program.starts_with('/') || !program.bytes().all(plain) {
        let expected = "an absolute path of letters, digits and /._+-";
        return Err(UnitError::Unfit {
            field: "program",
            found: program.to_owned(),
            expected,
        });
    }
    let mut out = program.to_owned();
    for argument in &command[1..] {
        if argument.contains('\0') {
            let expected = "an argument without NUL";
            return Err(UnitError::Unfit {
                field: "argument",
                found: argument.clone(),
                expected,
            });
        }
        out.push(' ');
        out.push_str(&word(argument, true));
    }
    Ok(out)
}

/// One word by systemd.syntax(7): quoted where needed, C escapes, `%` doubled (specifiers), on command lines `$` too.
fn word(text: &str, command_line: bool) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-=:,@".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '%' => out.push_str("%%"),
            '$' if command_line => out.push_str("$$"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
