//! A database that is reached over a network: believed by its certificate and its name, with real TLS.

use jos_hub::ca::{self, Ca};
use jos_hub::clock::Clock;
use jos_tests::postgres::{self, Cluster};
use tempfile::TempDir;

use crate::process::{command, done, refused};

#[test]
fn a_database_over_tls_is_believed_by_its_certificate_and_its_name_alone() {
    if !postgres::is_wanted() {
        return;
    }
    let (folder, now) = (TempDir::new().expect("a folder"), Clock::default().now());
    let authority = || ca::make(now).expect("a CA");
    let (own, other) = (authority(), authority());
    let signer = Ca::open(&own.certificate, &own.key, 1).expect("it is one");
    let server = signer.server(&["localhost".to_owned()], now).expect("a certificate");
    let (_cluster, port) = Cluster::over_tls(&server.certificate, &server.key);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (good, bad) = (file("own.pem", &own.certificate), file("other.pem", &other.certificate));
    let init = |name: &str, host: &str, how: &str| {
        let url = format!("postgres://hub@{host}:{port}/postgres?{how}");
        let mut init = command(&["init", "--address", "https://127.0.0.1:1", "--data"]);
        init.arg(folder.path().join(name)).env("JOS_HUB_DATABASE_URL", url);
        init.output().expect("it runs")
    };
    let full = |ca: &str| format!("sslmode=verify-full&sslrootcert={ca}");
    refused(&init("a", "localhost", &full(&bad)), 1, "UnknownIssuer");
    refused(&init("b", "localhost", "sslmode=verify-full"), 1, "UnknownIssuer");
    refused(&init("c", "127.0.0.1", &full(&good)), 1, "not valid for name");
    refused(&init("d", "localhost", "sslmode=disable"), 1, "no encryption");
    for name in ["a", "b", "c", "d"] {
        assert!(!folder.path().join(name).exists(), "a folder was made for {name}");
    }
    done(&init("hub", "localhost", &full(&good)));
    // Later commands, and the hub itself, find it as it was named then.
    let shown = command(&["key", "show", "--data"])
        .arg(folder.path().join("hub"))
        .output();
    done(&shown.expect("it runs"));
}
