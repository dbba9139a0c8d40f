//! Who asks for something, as the audit log names it.

/// Whoever may read the data directory, by the name of their account.
pub fn local() -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let user: String = user
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .take(64)
        .collect();
    if user.is_empty() {
        return format!("local:uid-{}", nix::unistd::geteuid());
    }
    format!("local:{user}")
}

/// A request's actor, set by whoever authenticated it; never by anything in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(pub String);

impl Actor {
    /// Who shows an API token: its user, with the token named behind. The one that `init` made is nobody's.
    pub fn of_token(id: &str, user: Option<&str>) -> Self {
        Self(user.map_or_else(|| format!("token:{id}"), |user| format!("user:{user}/{id}")))
    }
}

/// The person behind a name as it is written down. Whoever came by a token is who they are in the browser.
pub fn person(name: &str) -> &str {
    name.split_once('/').map_or(name, |(person, _)| person)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_the_same_under_every_token_of_theirs_and_in_the_browser() {
        let (laptop, ci) = (Actor::of_token("a-1", Some("ana")), Actor::of_token("a-2", Some("ana")));
        assert_ne!(laptop, ci);
        assert_eq!([person(&laptop.0), person(&ci.0)], ["user:ana", "user:ana"]);
        assert_eq!(person(&Actor::of_token("admin", None).0), "token:admin");
        assert_eq!(person("local:ana"), "local:ana");
    }
}
