//! Agents and tools that are programs: started by a confined copy of this program that then becomes them.
//!
//! The node's side ([`Confined`]) starts `jos` under the name [`NAME`]; that process gives up all it can ([`confine`]) and
//! executes the program in its own place. So the program never lives a moment unconfined, and no code of ours runs between a
//! fork and what it becomes.

mod confine;
mod talk;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use jos_node::agents::program::{Launch, Programs, Talk};
use jos_node::contract::AgentError;

/// The name under which this program confines itself and becomes another.
pub(crate) const NAME: &str = "jos-confined";
/// Set to `1` where a kernel cannot confine and its owner runs programs all the same.
const UNCONFINED: &str = "JOS_UNCONFINED_PROGRAMS";

/// Seconds for one question, besides what the node itself takes to serve it, where it is not this.
const SECONDS: u64 = 30;
/// Says other seconds.
const TIME: &str = "JOS_PROGRAM_SECONDS";

/// Starts programs, each confined and for one question.
pub(crate) struct Confined {
    /// For one question.
    time: Duration,
    /// Programs run also where the kernel cannot hold them.
    unconfined_too: bool,
}

impl Confined {
    /// As the environment says.
    pub(crate) fn of_environment() -> Self {
        let seconds = std::env::var(TIME).ok().and_then(|text| text.parse().ok());
        Self {
            time: Duration::from_secs(seconds.unwrap_or(SECONDS).clamp(1, 3600)),
            unconfined_too: std::env::var_os(UNCONFINED).is_some_and(|word| word == "1"),
        }
    }
}

impl Programs for Confined {
    fn start(&self, launch: &Launch) -> Result<Box<dyn Talk>, AgentError> {
        let this = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().map_err(|e| AgentError::Failed(format!("cannot find this program: {e}")))?
        };
        let mut command = Command::new(this);
        command.arg0(NAME).env_clear().current_dir("/");
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8");
        if self.unconfined_too {
            command.arg("--unconfined-too");
        }
        for file in &launch.files {
            command.arg("--read").arg(file);
        }
        command.arg("--").args(&launch.argv);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|e| AgentError::Failed(format!("cannot start it: {e}")))?;
        Ok(Box::new(talk::Started::new(child, self.time)?))
    }
}

/// Whether this process was started to become a program.
pub(crate) fn is_meant() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// Confines this process and becomes the program that its words name. Returns only when that failed.
pub(crate) fn become_it() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let mut files = Vec::new();
    let mut unconfined_too = false;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--unconfined-too") => unconfined_too = true,
            Some("--read") => files.extend(words.next().map(PathBuf::from)),
            Some("--") => break,
            _ => return failed("started with words that it does not know"),
        }
    }
    let Some(program) = words.next() else {
        return failed("started without a program");
    };
    files.extend(Some(PathBuf::from(&program)).filter(|path| path.is_absolute()));
    if let Err(why) = confine::confine(&files)
        && !unconfined_too
    {
        return failed(&format!(
            "it cannot be confined here ({why}), so it was not started; {UNCONFINED}=1 in the node's environment starts it all the same"
        ));
    }
    let error = Command::new(&program).args(words).exec();
    failed(&format!("cannot start {}: {error}", program.to_string_lossy()))
}

fn failed(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(126)
}
