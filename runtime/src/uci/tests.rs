//! What UCI files say and how they change. The odd cases were compared with libuci's own program.

use proptest::prelude::*;

use super::{Config, EditError, Value};

fn read(text: &str) -> Config {
    Config::read(text.as_bytes()).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn one(text: &str) -> Value {
    Value::One(text.as_bytes().to_vec())
}

fn many(items: &[&str]) -> Value {
    Value::Many(items.iter().map(|i| i.as_bytes().to_vec()).collect())
}

/// Sections as `type name: option=value|option=[item,item]`.
fn said(config: &Config) -> Vec<String> {
    let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
    let value = |v: &Value| match v {
        Value::One(v) => text(v),
        Value::Many(v) => format!("[{}]", v.iter().map(|i| text(i)).collect::<Vec<_>>().join(",")),
    };
    let section = |s: &super::Section| {
        let name = if s.anonymous { "-" } else { &s.name };
        let options: Vec<String> = s.options.iter().map(|(n, v)| format!("{n}={}", value(v))).collect();
        format!("{} {name}: {}", s.kind, options.join("|"))
    };
    config.sections().iter().map(section).collect()
}

const NETWORK: &str = "\
package network

# The loopback
config interface 'loopback'
\toption device 'lo'
\tlist ipaddr '127.0.0.1/8'   # always

config interface 'lan'
\toption device 'br-lan'
\t# the office
\toption ipaddr 192.168.1.1
\tlist dns '1.1.1.1'
\tlist dns \"9.9.9.9\"

config route
\toption target '10.0.0.0/8'
";

#[test]
fn a_file_is_read_and_comes_out_byte_for_byte() {
    let config = read(NETWORK);
    assert_eq!(
        said(&config),
        [
            "interface loopback: device=lo|ipaddr=[127.0.0.1/8]",
            "interface lan: device=br-lan|ipaddr=192.168.1.1|dns=[1.1.1.1,9.9.9.9]",
            "route -: target=10.0.0.0/8",
        ]
    );
    assert_eq!(config.to_bytes(), NETWORK.as_bytes());
    assert!(read("").sections().is_empty());
}

#[test]
fn odd_but_good_files_mean_what_libuci_takes_them_to_mean() {
    for (text, expected) in [
        // Pieces without space between them are one word; quotes go over lines.
        ("config t n\noption a 'it'\\''s'\n", &["t n: a=it's"][..]),
        ("config t n\noption a x'y z'\"q\"\n", &["t n: a=xy zq"]),
        ("config t n\noption a 'one\ntwo'\n", &["t n: a=one\ntwo"]),
        ("config t n\noption a \"one\ntwo\\\"\"\n", &["t n: a=one\ntwo\""]),
        // A backslash joins lines outside of quotes and in double ones, and protects one character.
        ("config t n\noption a b\\\nc\n", &["t n: a=bc"]),
        ("config t n\noption a \"b\\\nc\"\n", &["t n: a=bc"]),
        ("config t n\noption a b\\\r\nc\r\n", &["t n: a=bc"]),
        ("config t n\noption a 'b\\\nc'\n", &["t n: a=b\\\nc"]),
        ("config t n\noption a b\\ c\\#d\n", &["t n: a=b c#d"]),
        ("config t n\noption a b\\", &["t n: a=b"]),
        // A # begins a comment even inside a bare word; in quotes it is text.
        ("config t n\noption a b#c\n", &["t n: a=b"]),
        ("config t n\noption a 'b#c' # d\n", &["t n: a=b#c"]),
        ("config t n # here\n", &["t n: "]),
        // One-letter keywords; any white space.
        ("c t n\no a b\nl d e\n\tp q\n", &["t n: a=b|d=[e]"]),
        ("\x0b\x0c config\tt\x0bn\r\n  option\ta\tb\r\n", &["t n: a=b"]),
        // The last option wins at the place of the first; an empty one says nothing; a list takes an option in.
        ("config t n\noption a 1\noption b 2\noption a 3\n", &["t n: a=3|b=2"]),
        ("config t n\noption a 1\noption a ''\noption b\n", &["t n: a=1"]),
        ("config t n\noption a 1\nlist a 2\n", &["t n: a=[1,2]"]),
        ("config t n\nlist a 1\noption a 2\n", &["t n: a=2"]),
        ("config t n\nlist a ''\nlist a\n", &["t n: a=[,]"]),
        // A name seen before opens the section again.
        (
            "config t n\noption a 1\nconfig u m\nconfig t n\noption b 2\n",
            &["t n: a=1|b=2", "u m: "],
        ),
        ("config t ''\nconfig t\n", &["t -: ", "t -: "]),
        // `;` behind quotes or a blank separates commands; behind a bare word libuci drops the rest of the line.
        ("config t 'n'; option a 'b'; option c 'd'\n", &["t n: a=b|c=d"]),
        ("config t n\noption a b ; option c d\n", &["t n: a=b|c=d"]),
        ("config t n\noption a b; option c d\n", &["t n: a=b"]),
        ("config t n\noption a b;c\noption d e\n", &["t n: a=b|d=e"]),
        ("config t n\noption a 'b'; # c\n", &["t n: a=b"]),
        ("config t n\noption a ;; option c d\n", &["t n: c=d"]),
        ("config t n\noption a 'b' '' option c d\n", &["t n: a=b|c=d"]),
        ("config !#x n\n", &["! -: "]),
        ("config a/b.c{} n\n", &["a/b.c{} n: "]),
    ] {
        match Config::read(text.as_bytes()) {
            Ok(config) => {
                assert_eq!(said(&config), expected, "{text:?}");
                assert_eq!(config.to_bytes(), text.as_bytes());
            }
            Err(e) => panic!("{text:?}: {e}"),
        }
    }
}

#[test]
fn what_libuci_refuses_is_refused_with_line_and_column() {
    for (text, line, column, word) in [
        ("config t n\n\toption a 'b\n", 2, 11, "nothing closes"),
        ("config t n\n\toption a b\"c\n\n", 2, 12, "nothing closes"),
        ("config t n\n  optio a b\n", 2, 3, "no command"),
        ("config\n", 1, 1, "no command"),
        ("config", 1, 7, "ends here"),
        ("config \n", 1, 8, "type"),
        ("config t n m\n", 1, 12, "too many"),
        ("config t n\noption a b c\n", 2, 12, "too many"),
        ("config t n-m\n", 1, 10, "section name"),
        ("config t n\noption a-b c\n", 2, 8, "a name with"),
        ("config t n\noption '' c\n", 2, 8, "expected a name"),
        ("config t\u{fc}r n\n", 1, 8, "printing"),
        ("option a b\n", 1, 1, "before the first section"),
        ("# x\nconfig t n\nconfig u n\n", 3, 1, "another type"),
        ("config t n\noption a 'b';\n", 2, 14, "no command"),
        ("package a/b\n", 1, 9, "a name with"),
        ("config t n\noption a b\0c\n", 2, 11, "NUL"),
    ] {
        let error = Config::read(text.as_bytes()).expect_err(text);
        assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
        assert!(error.what.contains(word), "{text:?}: {error}");
    }
}

#[test]
fn nameless_sections_get_the_names_that_libuci_makes_up() {
    let config = read("config defaults\nconfig zone 'x'\nconfig zone\n");
    let names: Vec<&str> = config.sections().iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["cfg01e63d", "x", "cfg03dc81"]);
    assert_eq!(
        (config.indexed("zone", 1), config.indexed("zone", 2), config.named("x")),
        (Some(2), None, Some(1))
    );
}

fn edited(text: &str, edit: impl Fn(&mut Config) -> Result<bool, EditError>) -> String {
    let mut config = read(text);
    assert!(edit(&mut config).unwrap(), "{text:?}: nothing changed");
    let once = config.to_bytes();
    assert!(
        matches!(edit(&mut config), Ok(false) | Err(_)) || config.to_bytes() == once,
        "{text:?}: twice is not once"
    );
    String::from_utf8(once).unwrap()
}

#[test]
fn only_the_touched_line_differs() {
    let lan = |c: &Config| c.named("lan").unwrap();
    let new = edited(NETWORK, |c| c.set(lan(c), "ipaddr", &one("10.0.0.1")));
    assert_eq!(new, NETWORK.replace("192.168.1.1\n", "'10.0.0.1'\n"));
    let new = edited(NETWORK, |c| c.set(lan(c), "gateway", &one("it's 'x'")));
    assert_eq!(
        new,
        NETWORK.replace(
            "\"9.9.9.9\"\n",
            "\"9.9.9.9\"\n\toption gateway 'it'\\''s '\\''x'\\'''\n"
        )
    );
    let new = edited(NETWORK, |c| {
        c.set(lan(c), "dns", &many(&["1.1.1.1", "8.8.8.8", "9.9.9.9"]))
    });
    assert_eq!(new, NETWORK.replace("'1.1.1.1'\n", "'1.1.1.1'\n\tlist dns '8.8.8.8'\n"));
    let new = edited(NETWORK, |c| c.set(lan(c), "dns", &many(&["9.9.9.9"])));
    assert_eq!(
        new,
        NETWORK.replace(
            "\tlist dns '1.1.1.1'\n\tlist dns \"9.9.9.9\"\n",
            "\tlist dns '9.9.9.9'\n"
        )
    );
    let new = edited(NETWORK, |c| {
        c.set(c.named("loopback").unwrap(), "ipaddr", &many(&["::1"]))
    });
    assert_eq!(new, NETWORK.replace("'127.0.0.1/8'   # always", "'::1'   # always"));
    let new = edited(NETWORK, |c| c.unset(lan(c), "dns"));
    assert_eq!(
        new,
        NETWORK.replace("\tlist dns '1.1.1.1'\n\tlist dns \"9.9.9.9\"\n", "")
    );
    let new = edited(NETWORK, |c| c.retype(lan(c), "bridge"));
    assert_eq!(new, NETWORK.replace("interface 'lan'", "bridge 'lan'"));
    let new = edited(NETWORK, |c| c.add("interface", Some("wan")).map(|_| true));
    assert!(
        new.starts_with(NETWORK) && new.ends_with("\n\nconfig interface 'wan'\n"),
        "{new}"
    );
    let lan_lines = &NETWORK[NETWORK.find("config interface 'lan'").unwrap()..NETWORK.find("config route").unwrap()];
    let mut config = read(NETWORK);
    config.remove(lan(&config)).unwrap();
    assert_eq!(
        String::from_utf8(config.to_bytes()).unwrap(),
        NETWORK.replace(lan_lines, "")
    );
}

#[test]
fn edits_of_oddly_written_files_do_what_they_say() {
    for (text, expected) in [
        (
            "config t 'n'; option a 'b'; option c 'd'",
            "config t 'n'\n\toption a 'x'\n\toption c 'd'\n",
        ),
        (
            "config t n\noption c d\noption a b;c",
            "config t n\noption c d\noption a 'x'\n",
        ),
        ("config t n\noption a b\\", "config t n\noption a 'x'\n"),
        (
            "config t n\noption a 1\noption c 2\nlist a 3\noption a ''\n",
            "config t n\noption a 'x'\noption c 2\n",
        ),
        (
            "config t n\noption a ''\noption c 2\n",
            "config t n\noption c 2\noption a 'x'\n",
        ),
        ("config t n", "config t n\n\toption a 'x'\n"),
        (
            "config t n\nconfig t m\n\nconfig t n\n# end",
            "config t n\nconfig t m\n\nconfig t n\n\toption a 'x'\n# end",
        ),
        ("config t n # why\n", "config t n # why\n\toption a 'x'\n"),
        ("config t n\n    option a b#c\n", "config t n\n    option a 'x'#c\n"),
    ] {
        let new = edited(text, |c| c.set(c.named("n").unwrap(), "a", &one("x")));
        assert_eq!(new, expected, "{text:?}");
    }
    let mut config = read("config t n\noption a b\\");
    config.add("t", None).unwrap();
    assert_eq!(config.to_bytes(), b"config t n\noption a 'b'\n\nconfig t\n");
    // What ends the file must not take in what comes behind it.
    for text in [
        "config t n\noption a b\\\r",
        "config t n\noption a 'b'; option c d\\",
        "config t n\noption a 'b';",
        "config t n\noption a b ; ",
        "config t n\noption a b \\\n ",
    ] {
        let mut config = read(text);
        config.add("t", None).unwrap();
        assert_eq!(config.sections()[0], read(text).sections()[0], "{text:?}");
    }
}

#[test]
fn what_uci_has_no_place_for_is_refused() {
    let mut config = read("config t n\n");
    for (option, value) in [
        ("a-b", one("x")),
        ("", one("x")),
        ("a", one("")),
        ("a", many(&[])),
        ("a", one("x\0y")),
    ] {
        assert!(
            matches!(config.set(0, option, &value), Err(EditError::Unwritable(_))),
            "{option:?}"
        );
    }
    assert!(config.add("t", Some("a-b")).is_err() && config.add("", None).is_err() && config.add("a b", None).is_err());
    assert_eq!(config.to_bytes(), b"config t n\n");
}

/// Lines out of pieces that meet each other's edges.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "config ", "config t n\n", "config u m\n", "\nconfig t\n", "option a ", "\toption b ", "list a ", "option a 1\n",
            "list a 2\n", "package p\n", "\n", "\n", "\n", " ", "\t", "'", "'", "\"", "\"", "\\", "\\\n", "\\\r\n", ";", " ; ",
            "'; ", "#", " # x\n", "n", "a", "x y", "'x y'", "\"x\\\"y\"", "''", "'a\nb'", "o ", "c t 'n'", "l ", "\r\n", "\x0b", "@",
        ]).prop_map(|s| s.as_bytes().to_vec()),
        1 => any::<u8>().prop_filter("no NUL", |b| *b != 0).prop_map(|b| vec![b]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|p| p.concat())
}

/// Files that read, with sections to change.
fn good() -> impl Strategy<Value = Config> {
    let value = prop_oneof![prop::sample::select(vec![
        "x",
        "'x y'",
        "\"q\\\"r\"",
        "'a\nb'",
        "it\\'s",
        "''",
        "b#c",
        "1\\\n2"
    ]),];
    let line = (0..9_u8, 0..3_u8, value).prop_map(|(what, n, value)| match what {
        0 => format!("config t n{n}\n"),
        1 => "\nconfig u\n".into(),
        2..=4 => format!("\toption o{n} {value}\n"),
        5 | 6 => format!("  list o{n} {value} # {n}\n"),
        7 => format!("option o{n} {value}  ; list o{n} 'z'\n"),
        _ => "# comment\n\n".into(),
    });
    prop::collection::vec(line, 0..20).prop_map(|lines| read(&format!("config t n0\n{}", lines.concat())))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![prop::sample::select(b"a'\"\\#; \n\r\t$".to_vec()), 1..=255_u8],
        1..8,
    )
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn reading_never_panics_and_writing_gives_back_what_was_read(bytes in files()) {
        if let Ok(config) = Config::read(&bytes) {
            prop_assert_eq!(config.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_value_is_read_as_it_was_written(value in bytes(), items in prop::collection::vec(bytes(), 1..4), start in good()) {
        let mut config = start;
        let at = config.add("t", Some("new")).unwrap();
        config.set(at, "a", &Value::One(value.clone())).unwrap();
        config.set(at, "b", &Value::Many(items.clone())).unwrap();
        let again = Config::read(&config.to_bytes()).unwrap();
        prop_assert_eq!(again.sections(), config.sections());
        prop_assert_eq!(again.sections()[at].get("a"), Some(&Value::One(value)));
        prop_assert_eq!(again.sections()[at].get("b"), Some(&Value::Many(items)));
    }

    #[test]
    fn an_edit_changes_what_it_says_and_every_other_line_stays(
        start in good(), at in any::<prop::sample::Index>(), option in 0..4_u8, value in bytes(), list in any::<bool>(),
    ) {
        let mut config = start.clone();
        let at = at.index(config.sections().len());
        let option = format!("o{option}");
        let value = if list { Value::Many(vec![value.clone(), b"x".to_vec()]) } else { Value::One(value) };
        config.set(at, &option, &value).unwrap();
        for (n, (old, new)) in start.sections().iter().zip(config.sections()).enumerate() {
            let others = |s: &super::Section| s.options.iter().filter(|(o, _)| n != at || *o != option).cloned().collect::<Vec<_>>();
            prop_assert_eq!(others(old), others(new));
        }
        prop_assert_eq!(config.sections()[at].get(&option), Some(&value));
        // Lines without a command, and those of other options, are still there in their order.
        let text = config.to_bytes();
        let mut from = 0;
        for line in start.lines.iter().filter(|l| l.commands.is_empty()) {
            let found = text[from..].windows(line.raw.len().max(1)).position(|w| w == line.raw);
            prop_assert!(found.is_some(), "{:?}", String::from_utf8_lossy(&line.raw));
            from += found.unwrap_or_default() + line.raw.len();
        }
        // Taking it away, and the section, works on the same file.
        config.unset(at, &option).unwrap();
        prop_assert_eq!(config.sections()[at].get(&option), None);
        let others = config.sections().len() - 1;
        config.remove(at).unwrap();
        prop_assert_eq!(config.sections().len(), others);
    }
}
