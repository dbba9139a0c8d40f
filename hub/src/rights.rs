//! Who may do what: one table, for the pages, for the API and for whoever shows one of its tokens.
//!
//! An operation names its deed and the deed its role; whoever asks has roles by tenant. What is of a tenant in which they have
//! none is, to them, not there.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::actor::Actor;
use crate::fault::{Done, Fault};
use crate::hub::DEFAULT_TENANT;
use crate::store::users::{EVERY_TENANT, Role};

/// What somebody may want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Look at devices, states, rollouts and alarms.
    Look,
    /// Make, list and revoke enrolment tokens.
    Enrol,
    /// Label, hold, quarantine and release a device.
    Tend,
    /// Ask a device for its log, its ledger, or why a path is so.
    Ask,
    /// Hand over signed states, blobs and rollouts.
    Push,
    /// Approve, pause and resume a rollout.
    Steer,
    /// Read the audit log.
    Audit,
    /// Put a device out for good.
    Discard,
    /// Offer a version no longer.
    Retire,
    /// End a rollout for good.
    Abort,
    /// Hand over trust documents, and what admins say of the hub's CA.
    Vouch,
    /// Make, list and revoke API tokens of one's own: on the dashboard alone, as no token makes another.
    OwnTokens,
    /// List and revoke the API tokens of others that are of a tenant.
    OthersTokens,
    /// Look at the hub's own CAs and keys.
    LookAtHub,
    /// Run the hub: tenants, users, API tokens, its CAs and keys, all that it knows.
    Run,
}

impl Deed {
    /// The role that it takes.
    pub const fn role(self) -> Role {
        match self {
            Self::Look | Self::OwnTokens | Self::LookAtHub => Role::Viewer,
            Self::Enrol | Self::Tend | Self::Ask | Self::Push | Self::Steer | Self::Audit => Role::Operator,
            Self::Discard | Self::Retire | Self::Abort | Self::Vouch | Self::OthersTokens | Self::Run => Role::Admin,
        }
    }

    /// Whether it is of the whole hub: it takes the role in every tenant.
    pub const fn is_of_the_hub(self) -> bool {
        matches!(self, Self::LookAtHub | Self::Run)
    }
}

/// What somebody may do, by tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(BTreeMap<String, Role>);

impl Rights {
    /// Those of whoever may read the data directory, or has the token that `init` made.
    pub fn all() -> Self {
        Self([(EVERY_TENANT.to_owned(), Role::Admin)].into())
    }

    /// Those of a user with these roles.
    pub fn of(roles: &BTreeMap<String, Role>) -> Self {
        Self(roles.clone())
    }

    /// At most this role, and in this tenant alone unless it is every one.
    #[must_use]
    pub fn at_most(&self, role: Role, tenant: &str) -> Self {
        if tenant == EVERY_TENANT {
            return Self(self.0.iter().map(|(t, own)| (t.clone(), role.min(*own))).collect());
        }
        Self(
            self.role(tenant)
                .map(|own| (tenant.to_owned(), role.min(own)))
                .into_iter()
                .collect(),
        )
    }

    /// In a tenant, if anything.
    pub fn role(&self, tenant: &str) -> Option<Role> {
        self.0.get(tenant).copied().max(self.everywhere())
    }

    /// In every tenant, if anything.
    pub fn everywhere(&self) -> Option<Role> {
        self.0.get(EVERY_TENANT).copied()
    }

    /// Anywhere, if anything.
    pub fn anywhere(&self) -> Option<Role> {
        self.0.values().copied().max()
    }

    /// The tenants that are named in which it is at least this role.
    fn named(&self, role: Role) -> Vec<&str> {
        let enough = self.0.iter().filter(|(_, own)| **own >= role);
        enough.map(|(tenant, _)| tenant.as_str()).collect()
    }
}

/// Whoever is at the other end: set by whoever authenticated them, never by anything in the request.
#[derive(Clone, Debug)]
pub struct Known {
    /// As the audit log names them.
    pub actor: Actor,
    /// What they may do.
    pub rights: Rights,
}

/// Somebody who wants to do something that they may do somewhere; where, each operation asks by [`Asker::may`].
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who.
    pub actor: Actor,
    rights: Rights,
    deed: Deed,
}

impl Asker {
    /// Refused where they may do it nowhere.
    pub fn new(known: Known, deed: Deed) -> Done<Self> {
        let Known { actor, rights } = known;
        let own = if deed.is_of_the_hub() {
            rights.everywhere()
        } else {
            rights.anywhere()
        };
        if own < Some(deed.role()) {
            let place = if deed.is_of_the_hub() {
                "every tenant"
            } else {
                "a tenant"
            };
            return Err(lacking(deed.role(), place));
        }
        Ok(Self { actor, rights, deed })
    }

    /// Whether there is, to them, this tenant.
    pub fn sees(&self, tenant: &str) -> bool {
        self.rights.role(tenant).is_some()
    }

    /// Whether they may do it in this tenant.
    pub fn may(&self, tenant: &str) -> Done<()> {
        match self.rights.role(tenant) {
            Some(role) if role >= self.deed.role() => Ok(()),
            Some(_) => Err(lacking(self.deed.role(), tenant)),
            None => Err(Fault::not_found(format!("there is no tenant {tenant:?}"))),
        }
    }

    /// The tenant that is meant: the one that was named, else the only one that is theirs, else `default`.
    pub fn one(&self, named: Option<&str>) -> Done<String> {
        let tenant = named.or_else(|| self.only()).unwrap_or(DEFAULT_TENANT);
        self.may(tenant)?;
        Ok(tenant.to_owned())
    }

    /// The same for lists, where naming none means all: of all tenants, or of the only one that is theirs.
    pub fn some(&self, named: Option<&str>) -> Done<Option<String>> {
        let role = self.deed.role();
        match named.or_else(|| self.only()) {
            Some(tenant) => {
                self.may(tenant)?;
                Ok(Some(tenant.to_owned()))
            }
            None if self.rights.everywhere() >= Some(role) => Ok(None),
            None => {
                let theirs = self.rights.named(role).join(", ");
                Err(lacking(role, "every tenant").help(format!("name one of {theirs}: --tenant NAME")))
            }
        }
    }

    fn only(&self) -> Option<&str> {
        match self.rights.named(self.deed.role()).as_slice() {
            [only] if *only != EVERY_TENANT => Some(only),
            _ => None,
        }
    }
}

/// It takes more than they may.
pub fn lacking(role: Role, place: &str) -> Fault {
    Fault::forbidden("role", format!("this takes the role {} in {place}", role.word()))
        .help("an admin of every tenant gives it: `jos-hub user role`")
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let known = parts.extensions.get::<Known>().cloned();
        let deed = parts.extensions.get::<Deed>().copied();
        match (known, deed) {
            (Some(known), Some(deed)) => Self::new(known, deed),
            _ => Err(Fault::inside("an operation of admins was reached without its deed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(roles: &[(&str, Role)]) -> Rights {
        Rights(roles.iter().map(|(t, role)| ((*t).to_owned(), *role)).collect())
    }

    fn asker(rights: &Rights, deed: Deed) -> Done<Asker> {
        let actor = Actor("user:bo".to_owned());
        let rights = rights.clone();
        Asker::new(Known { actor, rights }, deed)
    }

    #[test]
    fn a_token_may_do_no_more_than_its_user_and_no_more_than_it_says() {
        let bo = rights(&[("*", Role::Viewer), ("acme", Role::Admin)]);
        let token = bo.at_most(Role::Operator, "acme");
        assert_eq!([token.role("acme"), token.role("other")], [Some(Role::Operator), None]);
        let token = bo.at_most(Role::Operator, "other");
        assert_eq!([token.role("acme"), token.role("other")], [None, Some(Role::Viewer)]);
        let token = bo.at_most(Role::Operator, EVERY_TENANT);
        assert_eq!(
            [token.role("acme"), token.role("other")],
            [Some(Role::Operator), Some(Role::Viewer)]
        );
    }

    #[test]
    fn whoever_has_one_tenant_need_not_name_it_and_whoever_has_two_must() {
        let one = asker(&rights(&[("acme", Role::Operator)]), Deed::Enrol).expect("somewhere");
        assert_eq!(one.one(None).expect("acme"), "acme");
        assert_eq!(one.some(None).expect("acme").as_deref(), Some("acme"));
        let hidden = one.one(Some("other")).expect_err("not theirs");
        assert_eq!(hidden.code(), jos_link::wire::code::NOT_FOUND);
        let two = asker(
            &rights(&[("acme", Role::Operator), ("beta", Role::Operator)]),
            Deed::Enrol,
        );
        let refused = two.expect("somewhere").some(None).expect_err("which?");
        let help = refused.problem().help.clone().unwrap_or_default();
        assert!(help.contains("acme, beta"), "{help}");
        let every = asker(&Rights::all(), Deed::Enrol).expect("everywhere");
        assert_eq!(every.one(None).expect("the first one"), DEFAULT_TENANT);
        assert_eq!(every.some(None).expect("all"), None);
    }

    #[test]
    fn what_is_of_the_whole_hub_takes_the_role_in_every_tenant() {
        let one = rights(&[("acme", Role::Admin)]);
        assert_eq!(asker(&one, Deed::Run).expect_err("of one").code(), "role");
        assert!(asker(&one, Deed::Abort).is_ok());
        assert!(asker(&Rights::all(), Deed::Run).is_ok());
    }
}
