use serde_json::json;

use super::*;

fn declared(agents: &[(&str, Value)], schedules: &[Value], model: Option<&str>) -> Declared {
    let table = |value: &Value| value.as_object().expect("a table").clone();
    Declared {
        agents: agents
            .iter()
            .map(|(name, value)| (Name::new(*name).expect("a name"), table(value)))
            .collect(),
        schedules: schedules.iter().map(table).collect(),
        model: model.map(|text| jos_schemas::read::from_json(&json!({ "provider": text })).expect("a model")),
    }
}

fn greeter(word: &str) -> (&'static str, Value) {
    let document = json!({ "kind": "jos.runtime_agent", "name": "greeter", "argv": ["sh", "-c", word] });
    ("greeter", document)
}

fn hourly() -> Value {
    json!({ "kind": "jos.schedule", "name": "hourly", "agent": "greeter", "every": 3600 })
}

struct Here {
    _dir: tempfile::TempDir,
    data: DataDir,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, _) = DataDir::create(&dir.path().join("data")).expect("made");
        Self { _dir: dir, data }
    }

    fn fit(&self, declared: &Declared) -> Fitted {
        let queue = Queue::folder(&self.data).expect("a queue");
        fit(&self.data, &queue, declared).expect("the directory is sound")
    }

    fn text(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.data.path(file)).ok()
    }

    fn put(&self, file: &str, text: &str) {
        std::fs::write(self.data.path(file), text).expect("written");
    }
}

#[test]
fn what_is_declared_comes_is_kept_and_goes_with_its_table() {
    let here = Here::new();
    let all = declared(&[greeter("one")], &[hourly()], Some("uppercase"));
    let files = ["agents/greeter.json", "config/llm.toml", "schedules/hourly.json"];
    assert_eq!(here.fit(&all).written, files);
    assert_eq!(
        here.text("config/llm.toml").as_deref(),
        Some("provider = \"uppercase\"\n")
    );
    schedules::parse("hourly", here.text("schedules/hourly.json").expect("there").as_bytes()).expect("a schedule");
    assert_eq!(here.fit(&all), Fitted::default(), "nothing is left to do");
    let other = declared(&[greeter("two")], &[hourly()], None);
    let fitted = here.fit(&other);
    assert_eq!(fitted.written, ["agents/greeter.json"]);
    assert_eq!(fitted.removed, ["config/llm.toml"]);
    std::fs::create_dir_all(here.data.path("state/schedules")).expect("a folder");
    here.put("state/schedules/hourly.json", "{\"last\":1,\"fired\":1}");
    let none = here.fit(&Declared::default());
    assert_eq!(none.removed, ["agents/greeter.json", "schedules/hourly.json"]);
    assert!(files.iter().all(|file| here.text(file).is_none()));
    assert!(
        here.text("state/schedules/hourly.json").is_none(),
        "its cursor goes with it"
    );
}

#[test]
fn a_file_that_people_made_is_never_written_over_nor_taken_away() {
    let here = Here::new();
    here.put("agents/greeter.json", "by hand");
    here.put("config/llm.toml", "provider = \"echo\"\n");
    let all = declared(&[greeter("one")], &[], Some("uppercase"));
    let fitted = here.fit(&all);
    let named: Vec<&str> = fitted.clashes.iter().map(|clash| clash.file.as_str()).collect();
    assert_eq!(named, ["agents/greeter.json", "config/llm.toml"]);
    assert!(
        fitted.clashes[0].reason.contains("Remove the file, or the table"),
        "{fitted:?}"
    );
    assert_eq!(here.text("agents/greeter.json").as_deref(), Some("by hand"));
    assert_eq!(here.fit(&Declared::default()), Fitted::default());
    assert_eq!(here.text("config/llm.toml").as_deref(), Some("provider = \"echo\"\n"));
    // Somebody made room: the declared one comes.
    std::fs::remove_file(here.data.path("agents/greeter.json")).expect("removed");
    assert_eq!(here.fit(&all).written, ["agents/greeter.json"]);
}

#[test]
fn a_declared_file_that_was_edited_is_written_again_and_stays_when_its_table_goes() {
    let here = Here::new();
    let all = declared(&[greeter("one")], &[], None);
    here.fit(&all);
    let text = here.text("agents/greeter.json").expect("there");
    here.put("agents/greeter.json", "edited");
    assert_eq!(here.fit(&all).written, ["agents/greeter.json"]);
    assert_eq!(here.text("agents/greeter.json"), Some(text));
    here.put("agents/greeter.json", "edited");
    assert_eq!(here.fit(&Declared::default()).removed, [""; 0]);
    assert_eq!(here.text("agents/greeter.json").as_deref(), Some("edited"));
    // It is somebody's own now.
    assert_eq!(here.fit(&all).clashes.len(), 1);
}

#[test]
fn a_start_that_was_cut_off_between_list_and_file_takes_no_file_for_somebody_elses() {
    let here = Here::new();
    here.fit(&declared(&[greeter("one")], &[], None));
    let before = here.text("agents/greeter.json").expect("there");
    here.fit(&declared(&[greeter("two")], &[], None));
    // As after a power cut: the list knows both, the file is still the one before.
    let both = Known {
        files: [("agents/greeter.json".to_owned(), {
            let now = here.text("agents/greeter.json").expect("there");
            [&before, &now]
                .map(|text| jos_trust::sha256(text.as_bytes()).to_hex())
                .to_vec()
        })]
        .into(),
    };
    put(&here.data, &both).expect("written");
    here.put("agents/greeter.json", &before);
    assert_eq!(here.fit(&Declared::default()).removed, ["agents/greeter.json"]);
}

#[test]
fn a_link_that_stands_in_the_way_is_named_and_not_followed() {
    let here = Here::new();
    let target = here.data.path("artifacts/target");
    std::fs::write(&target, "mine").expect("written");
    std::os::unix::fs::symlink(&target, here.data.path("agents/greeter.json")).expect("a link");
    assert_eq!(here.fit(&declared(&[greeter("one")], &[], None)).clashes.len(), 1);
    assert_eq!(std::fs::read_to_string(&target).expect("there"), "mine");
}
