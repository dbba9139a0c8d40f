//! Files that other programs of a device write and read.

use jos_runtime::uci::{Config, EditError, Section, Value};

/// A file of `/etc/config`. What reads comes out byte for byte; an edit makes it say what it should and nothing else.
pub fn uci(data: &[u8]) {
    let mut config = match Config::read(data) {
        Ok(config) => config,
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && !error.what.is_empty());
            return;
        }
    };
    assert_eq!(config.to_bytes(), data);
    // What is edited follows from the file, so that one input gives one outcome.
    let before = config.sections().to_vec();
    let value: Vec<u8> = data.iter().rev().take(12).copied().collect();
    match config.add("fuzz", Some("fuzz_made")) {
        Ok(at) => assert_eq!((at, &config.sections()[..at]), (before.len(), &before[..])),
        Err(EditError::Unwritable(_)) => assert!(before.iter().any(|s| s.name == "fuzz_made")),
        Err(EditError::Differs) => panic!("a section at the end changes the others"),
    }
    let sections = config.sections().to_vec();
    let at = data.len() % sections.len();
    let option = sections[at]
        .options
        .first()
        .map_or("o", |(name, _)| name.as_str())
        .to_owned();
    let value = if data.len().is_multiple_of(2) {
        Value::Many(vec![value, b"x".to_vec()])
    } else {
        Value::One(value)
    };
    match config.set(at, &option, &value) {
        Ok(_) => {
            assert_eq!(config.sections()[at].get(&option), Some(&value));
            assert_eq!(but(config.sections(), at, &option), but(&sections, at, &option));
            config.unset(at, &option).expect("what could be set can be taken away");
            assert_eq!(but(config.sections(), at, &option), but(&sections, at, &option));
        }
        Err(EditError::Unwritable(_)) => assert!(value == Value::One(Vec::new())),
        Err(EditError::Differs) => panic!("the file cannot be edited"),
    }
    let again = Config::read(&config.to_bytes()).expect("what was written reads");
    assert_eq!(again.sections(), config.sections());
}

/// All that an edit of one option leaves alone.
fn but(sections: &[Section], at: usize, option: &str) -> Vec<Section> {
    let mut all = sections.to_vec();
    all[at].options.retain(|(name, _)| name != option);
    all
}
