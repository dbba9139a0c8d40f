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
