//! Being a Windows service: the service control manager starts the program, is told how it goes, and stops it.
#![allow(unsafe_code)] // the entry that the library's macro writes

use std::ffi::OsString;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};

use crate::cli::agent::SERVICE;
use crate::cli::{Done, Failure};
use crate::daemon::{Daemon, Source};
use crate::{logger, signals};

/// What the service keeps: given before the manager calls back, which it does with nothing of ours.
static SOURCE: Mutex<Option<Box<dyn Source>>> = Mutex::new(None);
static STATUS: OnceLock<ServiceStatusHandle> = OnceLock::new();
static ENDED: Mutex<Option<Done>> = Mutex::new(None);

/// As long as a stop or a start may take, for the manager's patience.
const HINT: Duration = Duration::from_secs(30);

define_windows_service!(entry, service_main);

/// Runs as the service until the manager stops it. Fails where no manager started this.
pub(crate) fn become_it(source: Box<dyn Source>) -> Done {
    *SOURCE.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    service_dispatcher::start(SERVICE, entry).map_err(|e| {
        let why = crate::world::services::said("the service control manager", &e);
        Failure::failed(why).help("--service is for it alone; without it the agent runs in the foreground")
    })?;
    let ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner).take();
    ended.unwrap_or(Ok(1))
}

fn service_main(_: Vec<OsString>) {
    logger::to_file();
    let heard = |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown => {
            tell(ServiceState::StopPending, ServiceExitCode::NO_ERROR);
            signals::stop();
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    match service_control_handler::register(SERVICE, heard) {
        Ok(handle) => {
            let _ = STATUS.set(handle);
        }
        Err(e) => {
            log::error!("{}", crate::world::services::said("the service control manager", &e));
            return;
        }
    }
    signals::before_leaving(|| tell(ServiceState::Stopped, ServiceExitCode::NO_ERROR));
    tell(ServiceState::StartPending, ServiceExitCode::NO_ERROR);
    let source = SOURCE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let done = match source.map(Daemon::new) {
        Some(Ok(mut daemon)) => daemon.serve(&|| tell(ServiceState::Running, ServiceExitCode::NO_ERROR)),
        Some(Err(failure)) => Err(failure),
        None => Ok(1),
    };
    let code = match &done {
        Ok(0) => ServiceExitCode::NO_ERROR,
        Ok(code) => ServiceExitCode::ServiceSpecific(u32::from(*code)),
        Err(failure) => {
            log::error!("{failure}");
            ServiceExitCode::ServiceSpecific(1 + u32::from(failure.is_bad_use()))
        }
    };
    *ENDED.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    tell(ServiceState::Stopped, code);
}

fn tell(state: ServiceState, code: ServiceExitCode) {
    let Some(handle) = STATUS.get() else { return };
    let accepted = if state == ServiceState::Running {
        ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN
    } else {
        ServiceControlAccept::empty()
    };
    let pending = matches!(state, ServiceState::StartPending | ServiceState::StopPending);
    let status = ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepted,
        exit_code: code,
        checkpoint: u32::from(pending),
        wait_hint: if pending { HINT } else { Duration::ZERO },
        process_id: None,
    };
    if let Err(e) = handle.set_service_status(status) {
        log::warn!("{}", crate::world::services::said("the service control manager", &e));
    }
}
