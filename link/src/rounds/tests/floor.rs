use super::*;

#[test]
fn a_device_that_knows_its_floor_never_asks_for_it() {
    let mut world = World::new(Some("d1"), 41);
    world.version = 1;
    world.run(DAY);
    assert_eq!((world.count(path::FLOOR), world.states.clone()), (0, vec![1]));
}

#[test]
fn a_device_that_lost_its_floor_asks_for_it_before_any_state() {
    let mut world = World::new(Some("d1"), 42);
    (world.version, world.lost) = (3, Some(Taken::Done));
    world.run(HOUR);
    let first = |path: &str| world.asked.iter().position(|(_, r)| r.path.starts_with(path)).unwrap();
    assert!(first(path::HEARTBEAT) < first(path::FLOOR) && first(path::FLOOR) < first(path::STATE));
    assert_eq!((world.count(path::FLOOR), world.states.clone()), (1, vec![3]));
    // It is lost while the device runs, and a state was fetched already: it is looked at anew.
    world.turn.doubt_floor();
    world.run(2 * HOUR);
    assert_eq!((world.count(path::FLOOR), world.states.clone()), (2, vec![3, 3]));
}

#[test]
fn without_a_word_that_counts_no_state_is_asked_for_and_the_hub_is_not_pestered() {
    let mut world = World::new(Some("d1"), 43);
    (world.version, world.lost, world.waiting) = (3, Some(Taken::Refused), 5);
    world.run(10 * HOUR);
    assert_eq!((world.count(path::STATE), world.states.len()), (0, 0));
    assert!(
        (60..200).contains(&world.count(path::FLOOR)),
        "{}",
        world.count(path::FLOOR)
    );
    assert!(
        (500..800).contains(&world.count(path::HEARTBEAT)),
        "{}",
        world.count(path::HEARTBEAT)
    );
    assert_eq!(world.reported, 5, "reports wait for no floor");
    // Both addresses were asked: another hub may say it right.
    let asked = |address| {
        world
            .asked
            .iter()
            .filter(|(_, r)| r.path.starts_with(path::FLOOR) && r.address == address)
            .count()
    };
    assert!(asked(0) > 10 && asked(1) > 10);
    world.lost = Some(Taken::Done);
    world.run(11 * HOUR);
    assert_eq!(world.states, [3]);
}
