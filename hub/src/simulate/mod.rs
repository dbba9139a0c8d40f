//! A fleet that is not there: devices with keys and certificates of their own that enrol, call, wait, verify and report over
//! the real wire. Only the apply is pretended: what a state asks for is not done, and how it ends is drawn by lot.
//!
//! What a hub cannot tell from real devices: mutual TLS on a connection that is kept, heartbeats with jitter, a long poll
//! in between, a report for each version, the way to another CA. What is shared by the whole fleet, to leave the machine to
//! the hub: the trust document and the verification of each version and of each word on the CA, done once.

mod connection;
mod device;
pub mod figures;
mod fleet;
mod word;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use jos_link::Token;
use jos_schemas::text::Name;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{ca, tls};
use figures::Figures;
use fleet::Fleet;

/// Ports that one source address has for us, some left for others.
const PORTS: usize = 20_000;

/// What a simulation cannot begin without.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoStart(String);

fn no_start(error: impl std::fmt::Display) -> NoStart {
    NoStart(error.to_string())
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How many devices.
    pub devices: usize,
    /// Where the hub is, `https://HOST:PORT`; the token says it when absent.
    pub hub: Option<String>,
    /// An enrolment token with as many uses.
    pub token: Token,
    /// The agent's name: which states it takes.
    pub name: Name,
    /// The devices come up over so long.
    pub ramp: Duration,
    /// And are there for so long after that.
    pub stay: Duration,
    /// Between two heartbeats of a device, a tenth more or less.
    pub interval: Duration,
    /// An apply takes so long.
    pub apply: Duration,
    /// So many of a million applies fail.
    pub fail: u32,
    /// So many of a million devices say nothing more after they got a version.
    pub silent: u32,
    /// What the lots are drawn from.
    pub seed: u64,
    /// Addresses that the devices call from; chosen when empty.
    pub from: Vec<IpAddr>,
}

/// Runs a simulation until its time is over or `ending` becomes true. `progress` is called each ten seconds.
pub async fn run(
    asked: Asked,
    mut ending: watch::Receiver<bool>,
    progress: impl Fn(&Figures),
) -> Result<Arc<Figures>, NoStart> {
    let url = asked.hub.clone().or_else(|| asked.token.addresses.first().cloned());
    let url = url.ok_or_else(|| no_start("the token names no address; say --hub https://HOST:PORT"))?;
    let authority = url
        .strip_prefix("https://")
        .unwrap_or(&url)
        .trim_end_matches('/')
        .to_owned();
    let (hub, host) = resolved(&authority)?;
    let figures = Arc::new(Figures::default());
    let connector = connection::Connector {
        hub,
        name: ServerName::try_from(host).map_err(no_start)?,
        host: authority,
        roots: Arc::new(roots(&url, &asked.token).await?),
        from: sources(&asked, hub.ip()),
    };
    let until = asked.ramp + asked.stay;
    let (over, ended) = watch::channel(false);
    let fleet = Arc::new(Fleet::new(asked, connector, figures.clone()));
    let mut devices = JoinSet::new();
    for number in 0..fleet.asked.devices {
        devices.spawn(device::live(fleet.clone(), number, ended.clone()));
    }
    let begun = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    tick.tick().await;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(begun + until) => break,
            _ = ending.wait_for(|ending| *ending) => break,
            _ = tick.tick() => progress(&figures),
        }
    }
    figures.freeze();
    over.send_replace(true);
    devices.shutdown().await;
    Ok(figures)
}

fn resolved(authority: &str) -> Result<(SocketAddr, String), NoStart> {
    let with_port = if authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        authority.to_owned()
    } else {
        format!("{authority}:443")
    };
    let mut found = with_port
        .to_socket_addrs()
        .map_err(|error| no_start(format!("{authority}: {error}")))?;
    let address = found
        .next()
        .ok_or_else(|| no_start(format!("{authority}: no address")))?;
    let host = with_port.rsplit_once(':').map_or("", |(host, _)| host);
    Ok((address, host.trim_matches(['[', ']']).to_owned()))
}

/// The CA that the token names, over a connection that is not believed.
async fn roots(url: &str, token: &Token) -> Result<RootCertStore, NoStart> {
    let (url, expected) = (url.to_owned(), token.ca);
    let pem = tokio::task::spawn_blocking(move || {
        let tls = ureq::tls::TlsConfig::builder()
            .disable_verification(true)
            .unversioned_rustls_crypto_provider(tls::provider())
            .build();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let reply = agent.get(format!("{url}{}", jos_link::wire::path::CA)).call();
        reply
            .and_then(|mut reply| reply.body_mut().read_to_string())
            .map_err(|error| no_start(format!("{url}: {error}")))
    });
    let pem = pem.await.map_err(no_start)??;
    let pem = ca::of_fingerprint(&pem, expected)
        .ok_or_else(|| no_start("the hub has another CA than the token says: it is another hub's token"))?;
    let der = ca::der(&pem).ok_or_else(|| no_start("the hub's CA is no PEM"))?;
    let mut roots = RootCertStore::empty();
    roots.add(der).map_err(no_start)?;
    Ok(roots)
}

/// On loopback as many addresses as the devices need ports; else whatever the system takes.
fn sources(asked: &Asked, hub: IpAddr) -> Vec<IpAddr> {
    if !asked.from.is_empty() {
        return asked.from.clone();
    }
    match hub {
        IpAddr::V4(address) if address.is_loopback() => (0..=asked.devices / PORTS)
            .map(|n| IpAddr::V4(Ipv4Addr::from_bits(0x7f00_0001 + u32::try_from(n).unwrap_or(0))))
            .collect(),
        IpAddr::V4(_) | IpAddr::V6(_) => Vec::new(),
    }
}
