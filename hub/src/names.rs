//! The names that the hub's own certificate carries.

/// The hosts of `https://HOST[:PORT]`, and those of this machine's loopback.
pub fn of(addresses: &[String]) -> Vec<String> {
    let mut names: Vec<String> = addresses.iter().filter_map(|address| host(address)).collect();
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|name| name == own) {
            names.push(own.to_owned());
        }
    }
    names
}

fn host(address: &str) -> Option<String> {
    let authority = address.strip_prefix("https://")?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_is_found_with_and_without_a_port_and_in_brackets() {
        let addresses = [
            "https://hub.example:8443",
            "https://192.0.2.7",
            "https://[2001:db8::1]:8443",
        ]
        .map(str::to_owned);
        let names = super::of(&addresses);
        assert_eq!(
            names[..3],
            ["hub.example", "192.0.2.7", "2001:db8::1"].map(str::to_owned)
        );
        assert!(names.contains(&"localhost".to_owned()));
    }
}
