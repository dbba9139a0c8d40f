//! The service control manager: what a service's state is, and bringing something about.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::ptr::{null, null_mut};
use std::time::Duration;

use jos_runtime::world::{ServiceCommand, ServiceState, Services};
use windows_service::Error;
use windows_service::service::{Service, ServiceAccess, ServiceStartType, ServiceState as State, ServiceStatus};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_NOT_ACTIVE,
};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfigW, SERVICE_AUTO_START, SERVICE_DEMAND_START, SERVICE_NO_CHANGE,
};

/// A service that takes longer to start or stop is treated as one that does not.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Between two looks at one that starts or stops.
const LOOK: Duration = Duration::from_millis(200);

/// The services of this machine.
pub(crate) struct Manager;

impl Services for Manager {
    fn init(&self) -> &'static str {
        "windows"
    }

    fn state(&self, service: &str) -> Result<ServiceState, String> {
        let Some(found) = open(service, ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG)? else {
            return Ok(ServiceState::default());
        };
        let status = found.query_status().map_err(|e| said(service, &e))?;
        let config = found.query_config().map_err(|e| said(service, &e))?;
        Ok(ServiceState {
            known: true,
            enabled: matches!(
                config.start_type,
                ServiceStartType::AutoStart | ServiceStartType::BootStart | ServiceStartType::SystemStart
            ),
            active: is_active(&status),
        })
    }

    fn command(&self, service: &str, command: ServiceCommand) -> Result<(), String> {
        match command {
            ServiceCommand::Enable => start_at_boot(&must(service, ServiceAccess::CHANGE_CONFIG)?, service, true),
            ServiceCommand::Disable => start_at_boot(&must(service, ServiceAccess::CHANGE_CONFIG)?, service, false),
            ServiceCommand::Start => start(
                &must(service, ServiceAccess::START | ServiceAccess::QUERY_STATUS)?,
                service,
            ),
            ServiceCommand::Stop => stop(
                &must(service, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?,
                service,
            ),
            // A service reads its settings again in its own way, if at all: there is no word for it that all know.
            ServiceCommand::Restart | ServiceCommand::Reload => {
                let access = ServiceAccess::START | ServiceAccess::STOP | ServiceAccess::QUERY_STATUS;
                let found = must(service, access)?;
                stop(&found, service)?;
                start(&found, service)
            }
        }
    }

    fn refresh(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Whether it runs, or is about to.
pub(crate) fn is_active(status: &ServiceStatus) -> bool {
    matches!(
        status.current_state,
        State::Running | State::StartPending | State::ContinuePending
    )
}

/// The service of this name; none where none is registered.
pub(crate) fn open(name: &str, access: ServiceAccess) -> Result<Option<Service>, String> {
    let manager = ServiceManager::local_computer(None::<&OsStr>, ServiceManagerAccess::CONNECT);
    let manager = manager.map_err(|e| said("the service control manager", &e))?;
    match manager.open_service(name, access) {
        Ok(service) => Ok(Some(service)),
        Err(e) if is(&e, ERROR_SERVICE_DOES_NOT_EXIST) => Ok(None),
        Err(e) => Err(said(name, &e)),
    }
}

fn must(name: &str, access: ServiceAccess) -> Result<Service, String> {
    open(name, access)?.ok_or_else(|| format!("no service is called {name}"))
}

/// Starts it and waits until it runs.
pub(crate) fn start(service: &Service, name: &str) -> Result<(), String> {
    match service.start::<&OsStr>(&[]) {
        Err(e) if !is(&e, ERROR_SERVICE_ALREADY_RUNNING) => return Err(said(name, &e)),
        _ => {}
    }
    settle(service, name, State::Running)
}

/// Stops it and waits until it has.
pub(crate) fn stop(service: &Service, name: &str) -> Result<(), String> {
    match service.stop() {
        Err(e) if !is(&e, ERROR_SERVICE_NOT_ACTIVE) => return Err(said(name, &e)),
        _ => {}
    }
    settle(service, name, State::Stopped)
}

fn settle(service: &Service, name: &str, wanted: State) -> Result<(), String> {
    let mut waited = Duration::ZERO;
    loop {
        let status = service.query_status().map_err(|e| said(name, &e))?;
        if status.current_state == wanted {
            return Ok(());
        }
        if wanted == State::Running && status.current_state == State::Stopped {
            return Err(format!("{name}: it stopped at its start ({:?})", status.exit_code));
        }
        if waited >= TIMEOUT {
            let seconds = TIMEOUT.as_secs();
            return Err(format!(
                "{name}: it is {:?} after {seconds} s, not {wanted:?}",
                status.current_state
            ));
        }
        // The manager tells a service's state to who asks.
        crate::signals::wait(LOOK);
        crate::signals::leave_if_stopping();
        waited += LOOK;
    }
}

/// Only the way of its start changes, the rest of its settings stays; one that does not start at boot can be started still.
fn start_at_boot(service: &Service, name: &str, yes: bool) -> Result<(), String> {
    let kind = if yes { SERVICE_AUTO_START } else { SERVICE_DEMAND_START };
    // SAFETY: the handle is open, and a null pointer stands for "as it is".
    let changed = unsafe {
        let (keep, handle) = (SERVICE_NO_CHANGE, service.raw_handle());
        ChangeServiceConfigW(
            handle,
            keep,
            kind,
            keep,
            null(),
            null(),
            null_mut(),
            null(),
            null(),
            null(),
            null(),
        )
    };
    if changed == 0 {
        return Err(format!("{name}: {}", std::io::Error::last_os_error()));
    }
    Ok(())
}

fn is(error: &Error, code: u32) -> bool {
    matches!(error, Error::Winapi(e) if e.raw_os_error() == Some(code.cast_signed()))
}

/// In words, with what the system itself said.
pub(crate) fn said(what: &str, error: &Error) -> String {
    match error {
        Error::Winapi(e) => format!("{what}: {e}"),
        other => format!("{what}: {other}"),
    }
}
