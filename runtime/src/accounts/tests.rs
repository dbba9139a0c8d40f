use super::edit::{Files, User, is_hash};
use super::table::Table;

fn files() -> Files {
    let table = |text: &str| Table::read(text.as_bytes());
    Files {
        passwd: table(
            "root:x:0:0:root:/root:/bin/bash\nlp:x:7:7:lp:/var/spool/lpd:/usr/sbin/nologin\na:x:100:100:G\u{e9}:/:/bin/sh\n",
        ),
        group: table("root:x:0:\nlp:x:7:\na:x:100:\naudio:x:29:a\n"),
        shadow: Some(table(
            "root:*:19000:0:99999:7:::\nlp:*:19000:0:99999:7:::\na:$6$x$y:19000::::::\n",
        )),
        gshadow: Some(table("root:*::\nlp:*::\na:!::\naudio:*::a\n")),
    }
}

fn text(table: &Table) -> String {
    String::from_utf8(table.write()).unwrap()
}

#[test]
fn a_new_user_gets_the_first_free_numbers_a_locked_password_and_a_group_of_its_own() {
    let mut f = files();
    let said = f
        .user(&User {
            name: "kiosk",
            ..User::default()
        })
        .unwrap();
    assert_eq!(
        said,
        [
            "new (uid 101, gid 101, home /nonexistent, shell /bin/false)",
            "group kiosk (gid 101)"
        ]
    );
    assert!(text(&f.passwd).ends_with("\nkiosk:x:101:101::/nonexistent:/bin/false\n"));
    assert!(text(f.shadow.as_ref().unwrap()).ends_with("\nkiosk:!:::::::\n"));
    assert!(text(&f.group).ends_with("\nkiosk:x:101:\n"));
    assert!(text(f.gshadow.as_ref().unwrap()).ends_with("\nkiosk:!::\n"));
    assert_eq!(
        f.user(&User {
            name: "kiosk",
            ..User::default()
        }),
        Ok(vec![]),
        "and again nothing"
    );
    // Made and unmade, all four files are byte for byte what they were.
    assert_eq!(f.no_user("kiosk"), ["gone (uid 101)", "and the group kiosk"]);
    assert_eq!(f, files());
}

#[test]
fn a_user_is_changed_where_it_differs_and_nothing_else_moves() {
    let mut f = files();
    let user = User {
        name: "a",
        uid: Some(150),
        group: Some("lp"),
        groups: Some(vec!["lp"]),
        home: Some("/srv/a"),
        shell: Some("/bin/bash"),
        comment: Some("A"),
        password: Some("$6$salt$hash"),
    };
    let said = f.user(&user).unwrap();
    assert_eq!(said.len(), 8, "{said:?}");
    assert!(text(&f.passwd).ends_with("\na:x:150:7:A:/srv/a:/bin/bash\n"));
    assert_eq!(text(&f.group), "root:x:0:\nlp:x:7:a\na:x:100:\naudio:x:29:\n");
    assert!(text(f.shadow.as_ref().unwrap()).ends_with("\na:$6$salt$hash:19000::::::\n"));
    assert_eq!(f.user(&user), Ok(vec![]));
}

#[test]
fn a_removed_user_leaves_every_group_and_its_own_only_when_nobody_else_is_in_it() {
    let mut f = files();
    assert_eq!(f.no_user("a"), ["gone (uid 100)", "and the group a"]);
    assert_eq!(text(&f.group), "root:x:0:\nlp:x:7:\naudio:x:29:\n");
    assert_eq!(text(f.gshadow.as_ref().unwrap()), "root:*::\nlp:*::\naudio:*::\n");
    let mut f = files();
    f.user(&User {
        name: "b",
        group: Some("a"),
        ..User::default()
    })
    .unwrap();
    assert_eq!(f.no_user("a"), ["gone (uid 100)"]);
    assert!(f.group.has("a"));
    assert!(f.no_user("nobody-here").is_empty());
}

#[test]
fn groups_are_made_renumbered_and_removed() {
    let mut f = files();
    assert_eq!(f.group("g", None), Ok(vec!["new (gid 101)".into()]));
    assert_eq!(f.group("g", Some(300)), Ok(vec!["gid 101 → 300".into()]));
    assert_eq!(f.group("a", Some(400)), Ok(vec!["gid 100 → 400".into()]));
    assert!(
        text(&f.passwd).contains("a:x:100:400:"),
        "whose primary group it is goes along"
    );
    assert_eq!(f.no_group("g"), Ok(vec!["gone".into()]));
    assert!(f.no_group("a").unwrap_err().contains("primary group of a"));
    assert_eq!(f.no_group("g"), Ok(vec![]));
}

#[test]
fn what_would_break_the_files_is_refused() {
    let mut f = files();
    let mut refused = |user: User<'_>, why: &str| {
        let error = f.user(&user).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(
        User {
            name: "x",
            uid: Some(7),
            ..User::default()
        },
        "uid 7 is that of the user lp",
    );
    refused(
        User {
            name: "x",
            uid: Some(u32::MAX),
            ..User::default()
        },
        "is no id",
    );
    refused(
        User {
            name: "x",
            home: Some("/a:b"),
            ..User::default()
        },
        "holds a colon",
    );
    refused(
        User {
            name: "x",
            comment: Some("a\nroot2:x:0:0"),
            ..User::default()
        },
        "newline",
    );
    refused(
        User {
            name: "x",
            group: Some("none"),
            ..User::default()
        },
        "no group \"none\"",
    );
    refused(
        User {
            name: "a",
            groups: Some(vec!["none"]),
            ..User::default()
        },
        "no group \"none\"",
    );
    assert!(f.group("x", Some(29)).unwrap_err().contains("that of the group audio"));
    // A half done edit is not kept by anybody: the caller drops the files with the error.
    let mut f = Files {
        shadow: None,
        ..files()
    };
    let user = User {
        name: "a",
        password: Some("$6$s$h"),
        ..User::default()
    };
    assert!(f.user(&user).unwrap_err().contains("no /etc/shadow"));
}

#[test]
fn numbers_that_are_all_taken_are_said() {
    let mut f = files();
    for id in 100..1000 {
        f.group.add(&["full", "x", &id.to_string(), ""]);
        f.passwd
            .add(&["full", "x", &id.to_string(), "0", "", "/", "/bin/false"]);
    }
    let error = f
        .user(&User {
            name: "x",
            ..User::default()
        })
        .unwrap_err();
    assert!(error.contains("no uid from 100 to 999 is free"), "{error}");
}

#[test]
fn only_hashes_of_crypt_are_passwords() {
    for good in [
        "$6$salt$hash./A9",
        "$y$j9T$salt$hash",
        "$6$rounds=5000$salt$hash",
        "$2b$10$abc",
    ] {
        assert!(is_hash(good), "{good}");
    }
    for bad in [
        "",
        "secret",
        "$6$",
        "$6$salt$ha:sh",
        "$6$salt$ha\nsh",
        "!$6$s$h",
        "x$6$s$h",
        "$$s$h",
    ] {
        assert!(!is_hash(bad), "{bad}");
    }
}
