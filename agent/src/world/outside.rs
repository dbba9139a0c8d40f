//! What changes packages, or the system as a whole, runs outside of the agent's own service.
//!
//! The agent's unit is a sandbox: most of the disk is read-only, capabilities are few, no set-user-id bit may be set. A
//! package and its scripts need all of that, and no list of exceptions would be right for every package; so under systemd
//! the service manager is asked to run the tool in a unit of its own, where it also outlives a restart of the agent.
//! Granting a package is trusting its scripts as root, inside or outside.

use std::path::Path;

use jos_runtime::world::{Invocation, Ran};
use jos_schemas::layout::Layout;

use crate::world::processes;

/// Whether this process is a service of the machine's systemd. Under another init system, and at a shell, there is no
/// sandbox to leave.
pub(super) fn needed() -> bool {
    cfg!(target_os = "linux")
        && std::env::var_os("INVOCATION_ID").is_some()
        && Path::new("/run/systemd/system").is_dir()
        && nix::unistd::geteuid().is_root()
}

/// Runs the tool in a unit of its own and waits for its end.
#[cfg(target_os = "linux")]
pub(super) fn run(invocation: &Invocation) -> Result<Ran, String> {
    use nix::sys::memfd::{MFdFlags, memfd_create};

    let failed = |e: &dyn std::fmt::Display| format!("systemd-run: {e}");
    // A file and no pipe: the tool goes on when the agent is restarted, and must not die of writing.
    let file = memfd_create("jos-outside", MFdFlags::MFD_CLOEXEC).map_err(|e| failed(&e))?;
    let outside = Invocation {
        argv: argv(invocation),
        env: Vec::new(),
        timeout: invocation.timeout,
    };
    processes::run_into(file.into(), &outside).map_err(|e| failed(&e))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn run(_: &Invocation) -> Result<Ran, String> {
    Err("there is no systemd here".into())
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn argv(invocation: &Invocation) -> Vec<String> {
    let mut argv: Vec<String> = [
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        "--collect",
        "--service-type=exec",
    ]
    .map(str::to_owned)
    .into();
    argv.push(format!(
        "--description=A change of the system, for {}",
        Layout::HERE.program
    ));
    argv.push(format!("--property=RuntimeMaxSec={}", invocation.timeout.as_secs()));
    let path = ("PATH".to_owned(), processes::PATH.to_owned());
    let env = std::iter::once(&path).chain(&invocation.env);
    argv.extend(env.map(|(name, value)| format!("--setenv={name}={value}")));
    argv.push("--".into());
    argv.extend(invocation.argv.iter().cloned());
    argv
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tool_keeps_its_words_its_environment_and_its_time() {
        let invocation = Invocation {
            argv: ["apt-get", "install", "--", "-x"].map(str::to_owned).into(),
            env: vec![("LC_ALL".into(), "C".into())],
            timeout: Duration::from_secs(90),
        };
        let argv = argv(&invocation);
        let at = argv.iter().position(|w| w == "--").unwrap();
        assert_eq!(argv[at + 1..], invocation.argv);
        for word in ["--setenv=LC_ALL=C", "--property=RuntimeMaxSec=90", "--wait", "--pipe"] {
            assert!(argv[..at].iter().any(|w| w == word), "{word} is not in {argv:?}");
        }
    }
}
