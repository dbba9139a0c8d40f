use super::*;

#[test]
fn the_word_on_a_new_ca_is_taken_under_the_newest_trust_and_confirmed_at_once() {
    let mut world = World::new(Some("d1"), 31);
    world.run(HOUR);
    assert_eq!((world.turn.hub_ca(), world.count(path::HUB_CA)), (None, 0));
    world.hub_ca = 2;
    world.run(3 * HOUR);
    // Its signers are not known yet: tried seldom, and nothing is confirmed.
    assert_eq!(world.turn.hub_ca(), None);
    assert!(
        (1..=4).contains(&world.count(path::HUB_CA)),
        "{}",
        world.count(path::HUB_CA)
    );
    world.trust = 2;
    world.run(3 * HOUR + 120 * SECOND);
    assert_eq!(world.turn.hub_ca(), Some(2));
    let at = world.asked.iter().rposition(|(_, r)| r.path == path::HUB_CA).unwrap();
    assert_eq!(world.asked[at + 1].1.path, path::HEARTBEAT);
    let asked = world.count(path::HUB_CA);
    world.run(5 * HOUR);
    assert_eq!(world.count(path::HUB_CA), asked);
    // A hub that boasts of a number that nobody signed is asked seldom, and gets no other answer.
    world.hub_ca = 9;
    world.run(8 * HOUR);
    assert_eq!(world.turn.hub_ca(), Some(2));
    assert!((1..=5).contains(&(world.count(path::HUB_CA) - asked)));
    // One that speaks of none any more is told nothing that it may not know.
    world.hub_ca = 0;
    world.run(9 * HOUR);
    assert_eq!(world.turn.hub_ca(), None);
}
