//! Two hubs on one PostgreSQL: what one does the other knows, and what one alone may do is done once.
//!
//! All other tests of this folder are run on PostgreSQL as well, with two hubs: see `common::Running`.

use std::time::{Duration, Instant};

use jos_hub::clock::Clock;
use jos_hub::hub::{Hub, Place};
use jos_hub::serve::Limits;
use jos_hub::store::audit::{self, Act};
use jos_hub::store::tenants;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Running, one_more, state};
use crate::process::{command, done};
use jos_tests::postgres;

/// Well below the look that hubs take all the same.
const AT_ONCE: Duration = Duration::from_secs(6);

#[test]
fn a_push_on_one_hub_is_told_at_once_to_a_device_that_waits_on_the_other() {
    if !postgres::is_wanted() {
        return;
    }
    let running = Running::trusted();
    let device = running.device(&json!({}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| (device.state(None, 55), Instant::now()));
        while running.of_devices.waiting() == 0 {
            std::thread::yield_now();
        }
        let pushed = Instant::now();
        assert_eq!(running.push(&state(1)).0, 200);
        let ((status, _, _), told) = waiting.join().expect("it is told");
        assert_eq!(status, 200);
        assert!(told - pushed < AT_ONCE, "{:?}", told - pushed);
    });
}

#[test]
fn writers_of_two_hubs_make_one_audit_log() {
    if !postgres::is_wanted() {
        return;
    }
    let running = Running::new();
    let before = count(&running);
    running.runtime.block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..40 {
            let hub = if number % 2 == 0 {
                running.hub.clone()
            } else {
                running.of_devices.clone()
            };
            writers.spawn(async move {
                let mut tx = hub.store.write().await.expect("a turn");
                let act = Act {
                    actor: "test",
                    tenant: None,
                    action: "test.write",
                    subject: &number.to_string(),
                    detail: Value::Null,
                };
                audit::append(&mut tx, &act, number).await.expect("it is written");
                tx.commit().await.expect("it is committed");
            });
        }
        while let Some(done) = writers.join_next().await {
            done.expect("a writer");
        }
    });
    assert_eq!(count(&running), before + 40);
}

/// Entries of the audit log, which is whole.
fn count(running: &Running) -> u64 {
    let verified = running.runtime.block_on(async {
        let mut conn = running.of_devices.store.read().await.expect("a connection");
        audit::verify(&mut conn).await.expect("it is read")
    });
    assert_eq!(verified.1, None);
    verified.0
}

#[test]
fn a_hub_whose_clock_is_not_the_databases_is_not_ready() {
    if !postgres::is_wanted() {
        return;
    }
    let running = Running::new();
    let ready = || running.admin("GET", "/readyz", &Value::Null);
    assert_eq!(ready().0, 200);
    running.clock.advance(60);
    let (status, reply) = ready();
    assert_eq!((status, &reply["code"]), (503, &json!("clock")), "{reply}");
}

#[test]
fn a_hub_that_hangs_in_the_middle_of_a_write_does_not_stop_the_other() {
    if !postgres::is_wanted() {
        return;
    }
    let running = Running::new();
    running.runtime.block_on(async {
        let mut hanging = running.hub.store.write().await.expect("a turn");
        assert!(tenants::add(&mut hanging, "lost", 1).await.expect("it is written"));
        // Waits until the database ends what hangs.
        let mut tx = running.of_devices.store.write().await.expect("a turn");
        assert!(!tenants::exists(&mut tx, "lost").await.expect("it is read"));
        assert!(tenants::add(&mut tx, "kept", 2).await.expect("it is written"));
        tx.commit().await.expect("it is committed");
        assert!(hanging.commit().await.is_err(), "it was ended");
        let mut conn = running.of_devices.store.read().await.expect("a connection");
        let names = tenants::list(&mut conn).await.expect("they are read");
        let names: Vec<&str> = names.iter().map(|tenant| tenant.name.as_str()).collect();
        assert_eq!(names, ["default", "kept"]);
    });
}

#[test]
fn the_database_crashes_and_hubs_and_waiting_devices_go_on_when_it_is_back() {
    if !postgres::is_wanted() {
        return;
    }
    // Other tests go on in theirs.
    let mut running = Running::on(Some(postgres::Database::alone()), Limits::default()).with_trust();
    let device = running.device(&json!({}));
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    running.crash();
    // Connections that broke are found out one by one; what fails meanwhile says that it may be asked again.
    let begin = Instant::now();
    loop {
        let (status, reply) = device.heartbeat(&json!({}));
        if status == 200 {
            break;
        }
        assert_eq!((status, &reply["code"]), (503, &json!("busy")));
        assert!(begin.elapsed() < Duration::from_secs(60), "{reply}");
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.state(None, 55));
        while running.of_devices.waiting() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(running.push(&state(1)).0, 200);
        assert_eq!(waiting.join().expect("it is told").0, 200);
    });
}

#[test]
fn a_folder_is_not_opened_on_the_database_of_another_hub_and_no_hub_is_made_over_one() {
    if !postgres::is_wanted() {
        return;
    }
    let (database, folder) = (postgres::Database::fresh(), TempDir::new().expect("a folder"));
    let [first, other, copy] = ["first", "other", "copy"].map(|name| folder.path().join(name));
    let init = |data: &std::path::Path| {
        let mut init = command(&["init", "--address", "https://127.0.0.1:1", "--data"]);
        init.arg(data).env("JOS_HUB_DATABASE_URL", database.url());
        init.output().expect("it runs")
    };
    done(&init(&first));
    let again = init(&other);
    let text = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && text.contains("holds a hub already"),
        "{text}"
    );
    assert!(!other.exists(), "nothing was made");

    // One of SQLite, brought to the database of the first.
    done(
        &command(&["init", "--address", "https://127.0.0.1:1", "--data"])
            .arg(&other)
            .output()
            .expect("it runs"),
    );
    one_more(&other, &copy);
    std::fs::remove_file(copy.join("hub.db")).expect("it was copied");
    std::fs::copy(first.join("database.url"), copy.join("database.url")).expect("a copy");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let opened = runtime.block_on(Hub::open(&Place::folder(&copy), Clock::default()));
    let refused = opened.expect_err("it is of another hub").to_string();
    assert!(refused.contains("belongs to the hub with the CA"), "{refused}");
    assert!(!refused.contains("host="), "{refused}");
}
