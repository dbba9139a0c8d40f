//! Where things lie on a device: one table for the agent that reads them and the pipeline that bakes them.

/// Below an agent's own data: there while a change is under way, and after a crash in the middle of one.
pub const TRIAL: &str = "journal/trial.json";

/// The places of one system. All are directories or files under absolute paths without links, since the plane follows
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The program.
    pub program: &'static str,
    /// Configuration: `agent.toml`, `policy.toml`, `secrets/`.
    pub etc: &'static str,
    /// The configuration of the baked agent.
    pub config: &'static str,
    /// What was granted.
    pub policy: &'static str,
    /// Secrets, one file each.
    pub secrets: &'static str,
    /// What only the package writes: trust root, baseline, brand.
    pub share: &'static str,
    /// The first trust root.
    pub trust: &'static str,
    /// Data: floors, and a folder for each agent.
    pub state: &'static str,
}

impl Layout {
    /// Debian and other Linux systems (FHS 3.0).
    pub const LINUX: Layout = Layout {
        program: "/usr/bin/jos",
        etc: "/etc/jos",
        config: "/etc/jos/agent.toml",
        policy: "/etc/jos/policy.toml",
        secrets: "/etc/jos/secrets",
        share: "/usr/share/jos",
        trust: "/usr/share/jos/trust.json",
        state: "/var/lib/jos",
    };
    /// OpenWrt: `/var` is a RAM disk, and what lies below `/etc` can be kept over sysupgrade.
    pub const OPENWRT: Layout = Layout {
        state: "/etc/jos/state",
        ..Layout::LINUX
    };
    /// macOS: `/etc` and `/var` are links, and `/usr/share` is sealed.
    pub const MACOS: Layout = Layout {
        program: "/usr/local/bin/jos",
        etc: "/Library/Application Support/jos",
        config: "/Library/Application Support/jos/agent.toml",
        policy: "/Library/Application Support/jos/policy.toml",
        secrets: "/Library/Application Support/jos/secrets",
        share: "/Library/Application Support/jos/share",
        trust: "/Library/Application Support/jos/share/trust.json",
        state: "/Library/Application Support/jos/state",
    };
    /// Windows: below the drive that it is on. Only the system and administrators may write there: `jos agent install` makes
    /// the folder so.
    pub const WINDOWS: Layout = Layout {
        program: "/Program Files/jos/jos.exe",
        etc: "/ProgramData/jos",
        config: "/ProgramData/jos/agent.toml",
        policy: "/ProgramData/jos/policy.toml",
        secrets: "/ProgramData/jos/secrets",
        share: "/ProgramData/jos/share",
        trust: "/ProgramData/jos/share/trust.json",
        state: "/ProgramData/jos/state",
    };
    /// The system that this program was compiled for. OpenWrt is Linux; its packages name their data folder in agent.toml.
    pub const HERE: Layout = if cfg!(target_os = "macos") {
        Layout::MACOS
    } else if cfg!(windows) {
        Layout::WINDOWS
    } else {
        Layout::LINUX
    };
}
