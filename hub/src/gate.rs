//! Which device a connection is, and whether it is served.

use axum::http::StatusCode;
use jos_link::wire::code;

use crate::ca::Peer;
use crate::fault::{Done, Fault};
use crate::lookups::Lookups;
use crate::store::Conn;
use crate::store::devices::{self, Device, Status};

/// The device at the other end: by its key in the registry, never by anything that it says. With the database's generation
/// as of then.
pub async fn device(lookups: &Lookups, peer: Option<&Peer>) -> Done<(Device, u64)> {
    let Some(peer) = peer else {
        return Err(Fault::new(
            StatusCode::UNAUTHORIZED,
            code::NO_CERTIFICATE,
            "this path is for enrolled devices, which show a certificate of this hub",
        )
        .help("`jos agent enrol TOKEN` gets one"));
    };
    let found = lookups.by_tls(peer.key.to_string()).await?;
    let (device, generation) = found.ok_or_else(|| {
        Fault::forbidden(code::UNKNOWN_DEVICE, "no device of this hub has the certificate's key")
            .help("enrol again, with a token")
    })?;
    served(&device)?;
    Ok((device, generation))
}

/// Whether a device gets anything.
pub fn served(device: &Device) -> Done<()> {
    let reason = device.reason.as_deref().unwrap_or("no reason was given");
    match device.status {
        Status::Active => Ok(()),
        Status::Quarantined => Err(Fault::forbidden(
            code::QUARANTINED,
            format!("this device is in quarantine: {reason}"),
        )
        .help("the hub's admin looks at it and releases or revokes it")
        .retry_after(3600)),
        Status::Revoked => Err(Fault::forbidden(
            code::REVOKED,
            format!("this device was revoked: {reason}"),
        )),
    }
}

/// The same device as it is inside a writing transaction.
pub async fn still_served(conn: &mut Conn, id: &str) -> Done<Device> {
    let device = devices::by_id(conn, id).await?;
    let device = device.ok_or_else(|| Fault::forbidden(code::UNKNOWN_DEVICE, "the device is gone"))?;
    served(&device)?;
    Ok(device)
}
