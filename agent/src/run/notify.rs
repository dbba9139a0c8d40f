//! Telling whoever started us how it goes: systemd by sd_notify(3), our own supervisor by a line.

use std::io::Write;
use std::os::unix::net::UnixDatagram;

/// Sends one state, as `READY=1` or `STATUS=…`. Nobody listening is no error.
pub(crate) fn notify(state: &str) {
    if std::env::var_os("JOS_SUPERVISED").is_some() && state == "READY=1" {
        let _ = std::io::stdout()
            .write_all(b"READY=1\n")
            .and_then(|()| std::io::stdout().flush());
    }
    // On a MIPS router procd starts us, which has no such socket, and room is short (decision 043).
    if !cfg!(target_arch = "mips") {
        systemd(state);
    }
}

fn systemd(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let send = || -> std::io::Result<usize> {
        let socket = UnixDatagram::unbound()?;
        #[cfg(target_os = "linux")]
        if let Some(name) = path.to_str().and_then(|p| p.strip_prefix('@')) {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            return socket.send_to_addr(state.as_bytes(), &address);
        }
        socket.send_to(state.as_bytes(), &path)
    };
    if let Err(error) = send() {
        log::debug!("sd_notify: {error}");
    }
}
