//! Every operation of the hub: method, path, what goes in, what comes out, who may ask, who answers.

use axum::routing::{MethodRouter, delete, get, post, put};
use jos_link::wire::{self, path};
use jos_schemas::documents::answer::Answer;
use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::hub::{DeviceFloor, Enrolment, Heartbeat, HubCa, Renewal, StateReport};
use jos_schemas::documents::trust::Trust;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use For::{All, By, Devices};

use super::{App, admin, device, openapi};
use crate::blob::Blob;
use crate::push::Pushed;
use crate::rights::Deed;
use crate::rollout::make::{Made, New};
use crate::rotation;
use crate::store::alarms::Alarm;
use crate::store::api_tokens::ApiTokenRow;
use crate::store::devices::Device;
use crate::store::questions::Asked;
use crate::store::rollouts::{Reached, RolloutRow};
use crate::store::states::StateRow;
use crate::store::tenants::Tenant;
use crate::store::tokens::TokenRow;
use crate::store::users::User;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Devices: a client certificate, but for the few paths that get one.
    Devices,
    /// Whoever shows an API token that may do this.
    By(Deed),
    /// Anybody who reaches the listener of admins.
    All,
}

/// How a type is written as a JSON Schema.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// One operation.
pub struct Operation {
    /// `get`, `post`, `put` or `delete`.
    pub method: &'static str,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// Who may ask.
    pub whose: For,
    /// What it does.
    pub summary: &'static str,
    /// Parameters of the query.
    pub query: &'static [&'static str],
    /// What goes in, as JSON.
    pub takes: Option<Shape>,
    /// What comes out, as JSON.
    pub gives: Option<Shape>,
    /// Who answers.
    pub handler: MethodRouter<App>,
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

macro_rules! operations {
    ($($method:ident $path:expr, $whose:expr, [$($query:literal),*], $takes:ty => $gives:ty, $handler:expr, $summary:literal;)+) => {
        /// All of them. `()` stands for a body that is not JSON, or none.
        pub fn all() -> Vec<Operation> {
            vec![$(Operation {
                method: stringify!($method),
                path: $path,
                whose: $whose,
                summary: $summary,
                query: &[$($query),*],
                takes: shape_of::<$takes>(),
                gives: shape_of::<$gives>(),
                handler: $method($handler),
            }),+]
        }
    };
}

fn shape_of<T: JsonSchema + 'static>() -> Option<Shape> {
    let nothing = std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>();
    (!nothing).then_some(shape::<T> as Shape)
}

const STATE: &str = "/v1/state/{name}";
const TRUST: &str = "/v1/trust/{version}";
const FLOOR: &str = "/v1/floor/{name}";
const BLOB: &str = "/v1/blob/{sha256}";
const ANSWER: &str = "/v1/answer/{id}";

operations! {
    get path::CA, Devices, [], () => (), device::ca, "The CA as PEM; no certificate needed";
    post path::ENROL, Devices, [], Enrolment => wire::Enrolled, device::enrol, "Enrol a device; no certificate needed";
    get path::CHALLENGE, Devices, ["device"], () => wire::Challenge, device::challenge, "A challenge for a renewal by the ledger key; no certificate needed";
    post path::RECOVER, Devices, [], Renewal => wire::Certificate, device::recover, "Renew by the ledger key; no certificate needed";
    post path::RENEW, Devices, [], wire::RenewRequest => wire::Certificate, device::renew, "Renew by the TLS peer";
    post path::HEARTBEAT, Devices, [], Heartbeat => wire::HeartbeatReply, device::heartbeat, "Say that the device is there; answered by a freshness statement";
    post path::REPORT, Devices, [], StateReport => (), device::report, "Say how an apply ended; 204 once it is on disk";
    post ANSWER, Devices, [], Answer => (), device::answer, "Answer an open question; 204 once it is on disk";
    get STATE, Devices, ["wait"], () => DesiredState, device::state, "The desired state; waits for a change where If-None-Match names the one offered";
    get TRUST, Devices, [], () => Trust, device::trust, "One version of the trust document";
    get path::HUB_CA, Devices, [], () => HubCa, device::hub_ca, "What the tenant's admins say of the hub's CA";
    get FLOOR, Devices, ["nonce"], () => DeviceFloor, device::floor, "The highest version that the device tried, signed";
    get BLOB, Devices, [], () => (), device::blob, "A blob, whole or by Range";

    get "/api/v1/tenants", By(Deed::Look), [], () => Vec<Tenant>, admin::tenants::list, "List tenants";
    post "/api/v1/tenants", By(Deed::Run), [], admin::tenants::New => Tenant, admin::tenants::new, "Make a tenant";
    get "/api/v1/tokens", By(Deed::Enrol), ["tenant"], () => Vec<TokenRow>, admin::tokens::list, "List enrolment tokens";
    post "/api/v1/tokens", By(Deed::Enrol), [], admin::tokens::New => admin::tokens::Made, admin::tokens::new, "Make an enrolment token";
    delete "/api/v1/tokens/{id}", By(Deed::Enrol), [], () => (), admin::tokens::revoke, "Revoke an enrolment token";
    get "/api/v1/devices", By(Deed::Look), ["tenant", "after", "limit"], () => Vec<Device>, admin::devices::list, "List devices, by id";
    get "/api/v1/devices/{id}", By(Deed::Look), [], () => admin::devices::Shown, admin::devices::show, "Show a device";
    put "/api/v1/devices/{id}/labels", By(Deed::Tend), [], admin::devices::Labels => Device, admin::devices::label, "Set and remove labels of a device";
    post "/api/v1/devices/{id}/quarantine", By(Deed::Tend), [], admin::devices::Because => Device, admin::devices::quarantine, "Serve a device nothing until it is released";
    post "/api/v1/devices/{id}/release", By(Deed::Tend), [], admin::devices::Because => Device, admin::devices::release, "Take a device out of quarantine and clear its alarms";
    post "/api/v1/devices/{id}/hold", By(Deed::Tend), [], admin::devices::Because => Device, admin::devices::hold, "Keep a device at the version that it has";
    post "/api/v1/devices/{id}/unhold", By(Deed::Tend), [], admin::devices::Because => Device, admin::devices::unhold, "Let a held device go on";
    get "/api/v1/devices/{id}/history", By(Deed::Look), ["agent", "metric", "since", "until"], () => Vec<admin::history::Step>, admin::history::show, "What a device measured, by steps";
    post "/api/v1/devices/{id}/revoke", By(Deed::Discard), [], admin::devices::Because => Device, admin::devices::revoke, "Put a device out for good";
    post "/api/v1/devices/{id}/questions", By(Deed::Ask), [], admin::questions::Ask => Asked, admin::questions::ask, "Ask a device for the end of its log, its last records, or why a path is so";
    get "/api/v1/devices/{id}/questions", By(Deed::Look), [], () => Vec<Asked>, admin::questions::list, "List what a device was asked and what it answered, the newest first";
    get "/api/v1/trust", By(Deed::Look), ["tenant"], () => Vec<admin::states::TrustVersion>, admin::states::trusts, "List the versions of a tenant's trust document";
    post "/api/v1/trust", By(Deed::Vouch), ["tenant"], Trust => Pushed, admin::states::push_trust, "Hand over the next trust document";
    get "/api/v1/states", By(Deed::Look), ["tenant"], () => Vec<StateRow>, admin::states::list, "List every version of every state";
    post "/api/v1/states", By(Deed::Push), ["tenant"], DesiredState => Pushed, admin::states::push, "Hand over a signed state";
    get "/api/v1/states/{name}/{version}", By(Deed::Look), ["tenant"], () => DesiredState, admin::states::show, "One version of a state, as it was signed";
    post "/api/v1/states/{name}/{version}/retire", By(Deed::Retire), ["tenant"], admin::devices::Because => (), admin::states::retire, "Offer a version no longer";
    get "/api/v1/rollouts", By(Deed::Look), ["tenant"], () => Vec<RolloutRow>, admin::rollouts::list, "List rollouts, the newest first";
    post "/api/v1/rollouts", By(Deed::Push), ["tenant"], New => Made, admin::rollouts::new, "Hand over a signed state and the plan by which it reaches its audience";
    get "/api/v1/rollouts/{id}", By(Deed::Look), [], () => admin::rollouts::Shown, admin::rollouts::show, "Show a rollout, its phases in numbers and its curve";
    get "/api/v1/rollouts/{id}/devices", By(Deed::Look), ["outcome", "after", "limit"], () => Vec<Reached>, admin::rollouts::devices, "List the devices whose turn has come, by id";
    post "/api/v1/rollouts/{id}/approve", By(Deed::Steer), [], admin::devices::Because => RolloutRow, admin::rollouts::approve, "Approve a rollout that somebody else made";
    post "/api/v1/rollouts/{id}/pause", By(Deed::Steer), [], admin::devices::Because => RolloutRow, admin::rollouts::pause, "Offer the version to no more devices for now";
    post "/api/v1/rollouts/{id}/resume", By(Deed::Steer), [], admin::devices::Because => RolloutRow, admin::rollouts::resume, "Go on; failures so far are passed over";
    post "/api/v1/rollouts/{id}/abort", By(Deed::Abort), [], admin::devices::Because => RolloutRow, admin::rollouts::abort, "Offer the version to no more devices, for good";
    get "/api/v1/blobs", By(Deed::Look), ["tenant"], () => Vec<Blob>, admin::states::blobs, "List blobs";
    post "/api/v1/blobs", By(Deed::Push), ["tenant"], () => Blob, admin::states::push_blob, "Hand over a blob";
    get "/api/v1/ca/rotation", By(Deed::LookAtHub), [], () => rotation::Shown, admin::ca::show, "Show the hub's CAs, and how far a rotation has come";
    post "/api/v1/ca/rotation", By(Deed::Run), [], () => rotation::Shown, admin::ca::rotate, "Make the next CA, for devices to learn";
    post "/api/v1/ca/words", By(Deed::Vouch), [], HubCa => Pushed, admin::ca::push, "Hand over what a tenant's admins say of the next CA";
    post "/api/v1/ca/finish", By(Deed::Run), [], rotation::Finish => rotation::Shown, admin::ca::finish, "Go over to the next CA, and take nothing of the one before any more";
    post "/api/v1/ca/abort", By(Deed::Run), [], () => rotation::Shown, admin::ca::abort, "Give up the next CA";
    get "/api/v1/keys", By(Deed::LookAtHub), [], () => rotation::keys::Shown, admin::ca::keys, "Show the hub's own keys";
    post "/api/v1/keys/freshness", By(Deed::Run), [], () => rotation::keys::Shown, admin::ca::rotate_freshness, "Make the next freshness key";
    post "/api/v1/keys/server", By(Deed::Run), [], () => rotation::keys::Shown, admin::ca::rotate_server, "Let every hub make itself another server key";
    get "/api/v1/alarms", By(Deed::Look), ["tenant", "all"], () => Vec<Alarm>, admin::logs::alarms, "List alarms";
    get "/api/v1/audit", By(Deed::Audit), ["tenant", "before", "limit"], () => admin::logs::Audit, admin::logs::audit, "Show the audit log, the newest first, and whether it is whole";
    get "/api/v1/users", By(Deed::Run), [], () => Vec<User>, admin::users::list, "List the users of the dashboard";
    post "/api/v1/users", By(Deed::Run), [], admin::users::New => admin::users::Added, admin::users::new, "Add a user";
    post "/api/v1/users/{name}/password", By(Deed::Run), [], admin::users::NewPassword => admin::users::Added, admin::users::password, "Set a user's password and end their sessions";
    put "/api/v1/users/{name}/role", By(Deed::Run), [], admin::users::NewRole => User, admin::users::role, "Set what a user may do in a tenant";
    delete "/api/v1/users/{name}", By(Deed::Run), [], () => (), admin::users::remove, "Remove a user and end their sessions";
    get "/api/v1/api-tokens", By(Deed::Run), [], () => Vec<ApiTokenRow>, admin::api_tokens::list, "List API tokens";
    post "/api/v1/api-tokens", By(Deed::Run), [], admin::api_tokens::New => admin::api_tokens::Made, admin::api_tokens::new, "Make an API token of a user";
    delete "/api/v1/api-tokens/{id}", By(Deed::Run), [], () => (), admin::api_tokens::revoke, "Revoke an API token";
    get "/api/v1/export", By(Deed::Run), [], () => admin::export::Export, admin::export::export, "Everything but secrets and blobs' content";

    get "/api/v1/openapi.json", All, [], () => (), openapi::serve, "This description";
    get "/api/v1/ca", All, [], () => (), device::ca, "The CA as PEM";
    get "/metrics", All, [], () => (), admin::health::metrics, "Metrics in the text format of Prometheus";
    get "/healthz", All, [], () => (), admin::health::live, "200 while the process runs";
    get "/readyz", All, [], () => (), admin::health::ready, "200 while the database takes writes";
}
