//! What the network half is told at its start, and where that lets it connect to.

use serde::{Deserialize, Serialize};

/// See the module. It holds the `tls` key, so no `Debug` shows it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    /// `https://HOST[:PORT]`, best first.
    pub(crate) addresses: Vec<String>,
    /// `http://[USER:PASSWORD@]HOST:PORT`: whose `CONNECT` leads to them.
    pub(crate) proxy: Option<String>,
    /// The hub's CA as PEM, once it is known.
    pub(crate) ca: Option<String>,
    /// Our certificate as PEM, once there is one.
    pub(crate) certificate: Option<String>,
    /// The `tls` key: PKCS #8, base64.
    pub(crate) key: String,
    /// Seconds since 1970 before which no clock is believed.
    pub(crate) floor: i64,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name or address, without brackets.
    pub(crate) host: String,
    /// TCP.
    pub(crate) port: u16,
    /// `USER:PASSWORD`, of a proxy.
    pub(crate) login: Option<String>,
}

impl Place {
    /// From an address that begins with `scheme`.
    pub(crate) fn of(address: &str, scheme: &str, port: u16) -> Result<Self, String> {
        let rest = address
            .strip_prefix(scheme)
            .ok_or_else(|| format!("found an address that does not begin with {scheme}"))?;
        let rest = rest.split('/').next().unwrap_or_default();
        let (login, authority) = match rest.rsplit_once('@') {
            Some((login, authority)) => (Some(login.to_owned()), authority),
            None => (None, rest),
        };
        let (host, port) = match authority.rfind(':').filter(|at| !authority[*at..].contains(']')) {
            Some(at) => (
                &authority[..at],
                authority[at + 1..]
                    .parse()
                    .map_err(|_| format!("found the port {:?}, expected 1 to 65535", &authority[at + 1..]))?,
            ),
            None => (authority, port),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("found an address without a host".into());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            login,
        })
    }

    /// As `CONNECT` and `Host` write it.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Setup {
    /// The hub's places, in order.
    pub(crate) fn places(&self) -> Result<Vec<Place>, String> {
        self.addresses.iter().map(|a| Place::of(a, "https://", 443)).collect()
    }

    /// The proxy, where there is one.
    pub(crate) fn proxy(&self) -> Result<Option<Place>, String> {
        let place = self.proxy.as_deref().map(|p| Place::of(p, "http://", 3128));
        place.transpose().map_err(|e| format!("proxy: {e}"))
    }

    /// The TCP ports that it needs: the proxy's alone where there is one. 53 is for names whose answers are long.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let proxy = self.proxy().ok().flatten();
        let mut ports: Vec<u16> = match proxy {
            Some(proxy) => vec![proxy.port],
            None => self.places().unwrap_or_default().iter().map(|p| p.port).collect(),
        };
        ports.push(53);
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_or_refused() {
        let place = |host: &str, port| {
            Ok(Place {
                host: host.into(),
                port,
                login: None,
            })
        };
        assert_eq!(Place::of("https://h", "https://", 443), place("h", 443));
        assert_eq!(Place::of("https://[::1]:8443", "https://", 443), place("::1", 8443));
        assert_eq!(place("::1", 8443).unwrap().authority(), "[::1]:8443");
        let proxy = Place::of("http://u:p@proxy:8080/", "http://", 3128).unwrap();
        assert_eq!((proxy.login.as_deref(), proxy.port), (Some("u:p"), 8080));
        for bad in ["http://h", "https://", "https://h:99999", "https://a b"] {
            assert!(Place::of(bad, "https://", 443).is_err(), "{bad}");
        }
    }
}
