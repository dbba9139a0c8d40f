//! The health check: asked after a change, with retries; its answer decides whether the change is kept.

use std::time::Duration;

use jos_schemas::documents::desired_state::HealthCheck;
use jos_schemas::documents::policy::Source;

use crate::gate::Gate;
use crate::world::{Invocation, World};

/// Tries after the first.
const RETRIES: u32 = 5;
/// Seconds for each try.
const TIMEOUT: u32 = 3;
/// Between two tries; a service that has just been restarted needs a moment.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks until it is good or the tries are used up. `Ok` and `Err` both say in words what was found.
pub(crate) fn check(world: World<'_>, gate: &Gate<'_>, source: Source, check: &HealthCheck) -> Result<String, String> {
    let (retries, timeout) = match check {
        HealthCheck::Http(c) => (c.retries, c.timeout),
        HealthCheck::Tcp(c) => (c.retries, c.timeout),
        HealthCheck::Command(c) => (c.retries, c.timeout),
        HealthCheck::Service(c) => (c.retries, c.timeout),
    };
    let timeout = Duration::from_secs(u64::from(timeout.unwrap_or(TIMEOUT)));
    let tries = retries.unwrap_or(RETRIES).saturating_add(1);
    let mut last = String::new();
    for attempt in 1..=tries {
        if attempt > 1 {
            world.clock.pause(PAUSE);
        }
        match once(world, gate, source, check, timeout) {
            Ok(good) => return Ok(format!("{good} (try {attempt})")),
            Err(bad) => last = bad,
        }
    }
    Err(format!("{last} ({tries} tries)"))
}

fn once(
    world: World<'_>,
    gate: &Gate<'_>,
    source: Source,
    check: &HealthCheck,
    timeout: Duration,
) -> Result<String, String> {
    match check {
        HealthCheck::Http(c) => match world.probe.http(&c.url, timeout) {
            Ok(status @ 200..=399) => Ok(format!("GET {} answered {status}", c.url)),
            Ok(status) => Err(format!("GET {} answered {status}", c.url)),
            Err(e) => Err(format!("GET {}: {e}", c.url)),
        },
        HealthCheck::Tcp(c) => match world.probe.tcp(&c.host, c.port, timeout) {
            Ok(()) => Ok(format!("{}:{} accepts connections", c.host, c.port)),
            Err(e) => Err(format!("{}:{}: {e}", c.host, c.port)),
        },
        HealthCheck::Command(c) => {
            let argv = gate
                .command(source, &c.command)
                .ok_or("the health command is not listed")?;
            let ran = world.processes.run(&Invocation {
                argv,
                env: Vec::new(),
                timeout,
            })?;
            if ran.ok() {
                Ok("the health command succeeded".into())
            } else {
                Err(format!("the health command ended with {}", ran.ending()))
            }
        }
        HealthCheck::Service(c) => {
            let name = c.name.as_str();
            match world.services.state(name) {
                Ok(state) if state.active => Ok(format!("service {name} is active")),
                Ok(state) if !state.known => Err(format!("service {name} is not known")),
                Ok(_) => Err(format!("service {name} is not active")),
                Err(e) => Err(format!("service {name}: {e}")),
            }
        }
    }
}
