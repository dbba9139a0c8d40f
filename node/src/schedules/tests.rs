use serde_json::json;

use super::*;

fn data() -> (tempfile::TempDir, DataDir, Queue) {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::create(dir.path()).unwrap();
    let queue = Queue::folder(&data).unwrap();
    (dir, data, queue)
}

fn put(data: &DataDir, name: &str, document: &Value) -> Schedules {
    data.put(
        &format!("schedules/{name}.json"),
        document.to_string().as_bytes(),
        Durable::Derived,
    )
    .unwrap();
    Schedules::load(data).unwrap()
}

fn jobs_of(fired: &[Fired]) -> Vec<&str> {
    fired.iter().map(|fired| fired.job.as_str()).collect()
}

const NOON: i64 = 1_795_262_400; // 2026-11-21T12:00:00Z

#[test]
fn what_is_due_is_fired_once_whoever_looks_and_however_often() {
    let (_dir, data, queue) = data();
    let all = put(&data, "beat", &json!({ "agent": "advance", "every": 10 }));
    assert!(all.fire(&queue, NOON).unwrap().is_empty());
    assert_eq!(all.next(&queue, NOON), Some(NOON + 10));
    let fired = all.fire(&queue, NOON + 10).unwrap();
    assert_eq!(jobs_of(&fired), ["beat-20261121T120010Z"]);
    // Another node, and the same one after a restart.
    let again = Schedules::load(&data).unwrap();
    assert!(again.fire(&queue, NOON + 10).unwrap().is_empty());
    // The power failed between job and cursor.
    data.put(
        "state/schedules/beat.json",
        json!({ "last": NOON, "fired": 0 }).to_string().as_bytes(),
        Durable::Derived,
    )
    .unwrap();
    assert!(again.fire(&queue, NOON + 10).unwrap().is_empty());
}

#[test]
fn what_was_missed_is_dropped_made_up_once_or_made_up_each() {
    for (catch_up, expected) in [("skip", 0), ("once", 1), ("all", 6)] {
        let (_dir, data, queue) = data();
        let all = put(
            &data,
            "hourly",
            &json!({ "agent": "advance", "cron": "0 * * * *", "catch_up": catch_up }),
        );
        all.fire(&queue, NOON + 60).unwrap();
        let fired = all.fire(&queue, NOON + 6 * 3600 + 1800).unwrap();
        assert_eq!(fired.len(), expected, "{catch_up}");
        if catch_up == "once" {
            assert_eq!(jobs_of(&fired), ["hourly-20261121T180000Z"]);
        }
        assert_eq!(all.next(&queue, NOON), Some(NOON + 7 * 3600));
    }
}

#[test]
fn years_of_missed_seconds_are_neither_counted_one_by_one_nor_all_made_up() {
    let (_dir, data, queue) = data();
    let all = put(
        &data,
        "beat",
        &json!({ "agent": "advance", "every": 1, "catch_up": "all" }),
    );
    all.fire(&queue, NOON - 100_000_000).unwrap();
    let fired = all.fire(&queue, NOON).unwrap();
    assert_eq!(fired.len(), MOST);
    assert_eq!(fired.last().unwrap().due.as_str(), "2026-11-21T12:00:00Z");
}

#[test]
fn a_zone_aware_at_fires_and_stops_no_other_schedule() {
    let (_dir, data, queue) = data();
    put(&data, "beat", &json!({ "agent": "advance", "every": 60 }));
    put(
        &data,
        "offset",
        &json!({ "id": "offset", "kind": "advance", "at": "2026-11-21T14:00:00+02:00", "enabled": true }),
    );
    put(
        &data,
        "berlin",
        &json!({ "agent": "advance", "at": "2026-11-21T13:00:00", "zone": "Europe/Berlin" }),
    );
    let all = put(
        &data,
        "nowhere",
        &json!({ "agent": "advance", "cron": "0 0 * * *", "zone": "Nowhere/Land" }),
    );
    assert_eq!(all.broken.len(), 1);
    assert!(all.broken[0].reason.contains("Nowhere/Land"));
    all.fire(&queue, NOON - 60).unwrap();
    let fired = all.fire(&queue, NOON).unwrap();
    assert_eq!(
        jobs_of(&fired),
        [
            "beat-20261121T120000Z",
            "berlin-20261121T120000Z",
            "offset-20261121T120000Z"
        ]
    );
    assert_eq!(all.get(&Name::new("offset").unwrap()).unwrap().next(&queue, NOON), None);
}

#[test]
fn the_spelling_of_the_original_is_read_and_a_disabled_one_never_fires() {
    let (_dir, data, queue) = data();
    let all = put(
        &data,
        "health",
        &json!({ "id": "health", "kind": "advance", "input": {}, "every_seconds": 30, "enabled": false }),
    );
    let planned = all.get(&Name::new("health").unwrap()).unwrap();
    assert_eq!((planned.schedule.every, planned.schedule.disabled), (Some(30), true));
    assert!(all.fire(&queue, NOON).unwrap().is_empty());
    assert!(all.fire(&queue, NOON + 100).unwrap().is_empty());
    assert_eq!(all.next(&queue, NOON), None);
}

#[test]
fn a_schedule_of_the_original_has_its_id_for_a_name_whatever_its_file_is_called() {
    let (_dir, data, queue) = data();
    let document = json!({ "id": "health", "kind": "advance", "every_seconds": 30, "enabled": true });
    put(&data, "01 every half minute", &document);
    let all = put(&data, "zz", &document);
    assert_eq!(all.broken.len(), 1);
    assert!(
        all.broken[0]
            .reason
            .contains("the name health is taken by schedules/01 every half minute.json")
    );
    let name = Name::new("health").unwrap();
    let schedule = Schedule {
        disabled: true,
        ..all.get(&name).unwrap().schedule.clone()
    };
    write(&data, &schedule).unwrap();
    assert!(Schedules::load(&data).unwrap().get(&name).unwrap().schedule.disabled);
    assert!(!data.path("schedules/health.json").exists(), "it has a file already");
    // Nor is a file of another schedule written over, or removed.
    let other = Schedule {
        name: Name::new("zz").unwrap(),
        ..schedule
    };
    put(
        &data,
        "zz",
        &json!({ "id": "other", "kind": "advance", "every_seconds": 30 }),
    );
    let refused = write(&data, &other).unwrap_err().to_string();
    assert!(refused.contains("the schedule other stands in it"), "{refused}");
    assert!(!remove(&data, &queue, &other.name).unwrap());
    assert!(remove(&data, &queue, &name).unwrap());
    assert!(!data.path("schedules/01 every half minute.json").exists());
}
