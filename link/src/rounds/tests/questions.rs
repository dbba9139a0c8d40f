use super::*;

fn question(id: &str) -> Question {
    Question {
        id: id.into(),
        about: "logs".into(),
        most: None,
        path: None,
    }
}

impl World {
    /// The question is open no longer, unless the hub is broken.
    pub(super) fn answered(&mut self, path: &str) -> Reply {
        let id = path.rsplit('/').next().unwrap_or_default();
        let before = self.questions.len();
        self.questions.retain(|question| question.id != id || id == "broken");
        let status = if id == "broken" {
            500
        } else if self.questions.len() < before {
            204
        } else {
            404
        };
        Reply::Answer {
            status,
            retry_after: None,
            etag: None,
            body: br#"{"code":"not-found","message":"none"}"#.to_vec(),
        }
    }
}

#[test]
fn questions_are_answered_once_behind_the_heartbeat_that_brought_them() {
    let mut world = World::new(Some("d1"), 41);
    world.version = 1;
    world.run(HOUR);
    assert_eq!(world.count(path::ANSWER), 0);
    world.questions = vec![question("q-1"), question("q-2")];
    world.run(2 * HOUR);
    let asked: Vec<&str> = world.asked.iter().map(|(_, r)| r.path.as_str()).collect();
    let at = asked.iter().position(|path| *path == "/v1/answer/q-1").unwrap();
    assert_eq!((asked[at - 1], asked[at + 1]), (path::HEARTBEAT, "/v1/answer/q-2"));
    assert!(asked[at + 2].starts_with(path::STATE));
    assert_eq!((world.count(path::ANSWER), world.turn.trouble()), (2, None));
}

#[test]
fn a_hub_that_takes_no_answer_is_told_once_for_each_heartbeat_and_nothing_else_stops() {
    let mut world = World::new(Some("d1"), 42);
    world.version = 1;
    world.questions = vec![question("broken")];
    world.run(HOUR);
    let (answers, heartbeats) = (world.count(path::ANSWER), world.count(path::HEARTBEAT));
    assert_eq!(answers, heartbeats);
    assert!((50..=75).contains(&heartbeats), "{heartbeats}");
    assert_eq!((&*world.states, world.turn.trouble()), (&[1][..], None));
}

#[test]
fn an_id_that_would_be_another_path_is_no_question_and_too_many_are_not_looked_at() {
    let mut world = World::new(Some("d1"), 43);
    world.questions = ["", "a/../../v1/renew", "a b", "q\r\nX: y", &"a".repeat(65)]
        .map(question)
        .into();
    world.run(HOUR);
    assert_eq!(world.count(path::ANSWER), 0);
    world.questions = (0..100).map(|n| question(&format!("q-{n}"))).collect();
    let before = world.count(path::HEARTBEAT);
    while world.count(path::HEARTBEAT) < before + 2 {
        world.run(world.now + 10 * SECOND);
    }
    assert!(world.count(path::ANSWER) <= 2 * crate::wire::MAX_QUESTIONS);
}
