use super::*;
use crate::documents::policy::{FileGrant, Grant, Policy, Source, WideFileGrant};
use crate::text::AbsPath;

fn policy(globs: &[&str]) -> Policy {
    let mut policy = Policy::default();
    let files = globs
        .iter()
        .map(|g| FileGrant::Glob(AbsPath::new(*g).unwrap()))
        .collect();
    policy.grants.insert(
        Source::Local,
        Grant {
            files,
            ..Grant::default()
        },
    );
    policy
}

fn unit<'a>(command: &'a [String], policy: &'a Policy) -> Systemd<'a> {
    Systemd {
        banner: "Written by a test.",
        description: "A test",
        command,
        scope: Scope::System,
        user: None,
        policy,
        state_dir: "/var/lib/jos",
        node: None,
        reads: &["/etc/jos"],
        exists: &writable::everywhere,
    }
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn no_placeholder_and_no_empty_directive_is_left_in_a_unit() {
    let command = words(&["/usr/bin/jos", "agent", "run"]);
    let text = unit(&command, &policy(&[])).render().unwrap();
    assert!(placeholder(&text).is_none(), "{text}");
    assert!(text.contains("\nExecStart=/usr/bin/jos agent run\n"), "{text}");
    assert!(!text.contains("ReadWritePaths"), "{text}");
    assert!(!text.contains("User="), "{text}");
}

#[test]
fn systemd_words_escape_specifiers_variables_quotes_and_line_breaks() {
    let command = words(&[
        "/usr/bin/jos",
        "50%",
        "$HOME",
        "a \"b\" \\c",
        "x\nExecStartPost=/bin/evil",
        "",
    ]);
    let text = unit(&command, &policy(&[])).render().unwrap();
    let exec = text.lines().find(|l| l.starts_with("ExecStart=")).unwrap();
    let expected = r#"ExecStart=/usr/bin/jos "50%%" "$$HOME" "a \"b\" \\c" "x\nExecStartPost=/bin/evil" """#;
    assert_eq!(exec, expected);
    assert!(!text.lines().any(|l| l.starts_with("ExecStartPost")), "{text}");
}

#[test]
fn a_program_path_that_systemd_would_read_as_a_prefix_is_refused() {
    for program in ["+/usr/bin/jos", "jos", "/opt/a b/jos", "/opt/%h/jos", ""] {
        let command = words(&[program]);
        assert!(matches!(
            unit(&command, &policy(&[])).render(),
            Err(UnitError::Unfit { field: "program", .. })
        ));
    }
}

#[test]
fn a_description_or_user_cannot_smuggle_a_directive() {
    let command = words(&["/usr/bin/jos"]);
    let policy = policy(&[]);
    let hostile = Systemd {
        description: "x\nExecStartPre=/bin/evil",
        ..unit(&command, &policy)
    };
    assert!(hostile.render().is_err());
    for user in ["root\nGroup=0", "../x", "", "a b", "%n"] {
        assert!(
            Systemd {
                user: Some(user),
                ..unit(&command, &policy)
            }
            .render()
            .is_err(),
            "{user:?}"
        );
    }
    let percent = Systemd {
        description: "100% %h",
        ..unit(&command, &policy)
    }
    .render()
    .unwrap();
    assert!(percent.contains("Description=100%% %%h\n"), "{percent}");
}

#[test]
fn a_value_that_looks_like_a_placeholder_stays_as_it_is() {
    let command = words(&["/usr/bin/jos", "@USER@"]);
    let text = unit(&command, &policy(&[])).render().unwrap();
    assert!(text.contains("ExecStart=/usr/bin/jos @USER@\n"), "{text}");
}

#[test]
fn the_folder_that_is_replaced_in_is_writable_and_nothing_wider() {
    let everywhere = &writable::everywhere;
    let folders = |globs: &[&str]| writable::folders(&policy(globs), everywhere);
    assert_eq!(folders(&["/etc/motd"]), ["/etc"]);
    assert_eq!(folders(&["/etc/systemd/system/x.service"]), ["/etc/systemd/system"]);
    assert_eq!(folders(&["/srv/www/**", "/srv/www/a/*.html"]), ["/srv"]);
    assert_eq!(
        folders(&["/data/app/**"]),
        ["/data"],
        "one grant never opens the whole tree"
    );
    assert_eq!(folders(&["/etc/cups/**", "/etc/motd"]), ["/etc"], "none within another");
    assert_eq!(folders(&["/**"]), ["/"]);
    let live = |p: &str| p == "/etc/cups" || p == "/etc" || p == "/";
    assert_eq!(writable::folders(&policy(&["/etc/cups/**"]), &live), ["/etc/cups"]);
}

#[test]
fn homes_and_temporary_folders_open_only_where_granted() {
    let command = words(&["/usr/bin/jos"]);
    let line = |text: &str, key: &str| text.lines().find(|l| l.starts_with(key)).map(str::to_owned).unwrap();
    let none = policy(&[]);
    let text = unit(&command, &none).render().unwrap();
    assert_eq!(line(&text, "ProtectHome"), "ProtectHome=yes");
    assert_eq!(line(&text, "PrivateTmp"), "PrivateTmp=yes");
    let text = Systemd {
        reads: &["/root/.jos/agents/x"],
        ..unit(&command, &none)
    }
    .render()
    .unwrap();
    assert_eq!(line(&text, "ProtectHome"), "ProtectHome=read-only");
    let text = unit(&command, &policy(&["/home/*/Desktop/x"])).render().unwrap();
    assert_eq!(line(&text, "ProtectHome"), "ProtectHome=no");
    let text = unit(&command, &policy(&["/tmp/x"])).render().unwrap();
    assert_eq!(line(&text, "PrivateTmp"), "PrivateTmp=no");
}

#[test]
fn setuid_bits_are_possible_only_where_granted() {
    let command = words(&["/usr/bin/jos"]);
    let mut policy = policy(&[]);
    assert!(
        unit(&command, &policy)
            .render()
            .unwrap()
            .contains("RestrictSUIDSGID=yes")
    );
    let wide = WideFileGrant {
        path: AbsPath::new("/usr/local/bin/x").unwrap(),
        code: true,
        setuid: true,
    };
    policy
        .grants
        .get_mut(&Source::Local)
        .unwrap()
        .files
        .push(FileGrant::Wide(wide));
    let text = unit(&command, &policy).render().unwrap();
    assert!(
        text.contains("RestrictSUIDSGID=no") && text.contains("CAP_FSETID"),
        "{text}"
    );
}

#[test]
fn a_user_unit_has_no_key_that_only_the_machines_manager_honours() {
    let command = words(&["/usr/bin/jos"]);
    let policy = policy(&["/etc/motd"]);
    let text = Systemd {
        scope: Scope::User,
        ..unit(&command, &policy)
    }
    .render()
    .unwrap();
    for key in [
        "ProtectSystem",
        "ReadWritePaths",
        "CapabilityBoundingSet",
        "StateDirectory",
        "User=",
    ] {
        assert!(!text.contains(key), "{key} in {text}");
    }
    assert!(
        text.contains("NoNewPrivileges=yes") && text.contains("WantedBy=default.target"),
        "{text}"
    );
}

#[test]
fn a_launchd_job_escapes_xml() {
    let command = words(&["/usr/local/bin/jos", "<a & \"b\">"]);
    let job = Launchd {
        label: "com.example.jos",
        command: &command,
        user: Some("kiosk"),
        log: "/var/log/a&b.log",
    };
    let text = job.render().unwrap();
    assert!(
        text.contains("<string>&lt;a &amp; &quot;b&quot;&gt;</string>"),
        "{text}"
    );
    assert!(text.contains("<string>/var/log/a&amp;b.log</string>"), "{text}");
    assert!(text.contains("<key>UserName</key>\n\t<string>kiosk</string>"), "{text}");
    let root = Launchd { user: None, ..job }.render().unwrap();
    assert!(!root.contains("UserName") && placeholder(&root).is_none(), "{root}");
    assert!(Launchd { label: "a/../b", ..job }.render().is_err());
}

#[test]
fn the_procd_script_changes_only_its_values_and_quotes_them() {
    let given = Procd {
        program: "/usr/bin/jos",
        config: "/root/a'b/agent.toml",
        artifact: "/x",
        user: "",
        uci: "",
    };
    let text = given.render().unwrap();
    assert!(text.contains("JOS_CONFIG='/root/a'\\''b/agent.toml'\n"), "{text}");
    assert_eq!(text.lines().count(), procd::SCRIPT.lines().count());
    let shipped = Procd {
        program: "/usr/bin/jos",
        config: "/etc/jos/agent.toml",
        artifact: "/usr/share/jos/baseline.json",
        user: "",
        uci: "main",
    };
    assert_eq!(
        shipped.render().unwrap(),
        procd::SCRIPT,
        "the shipped script is what the renderer gives for its defaults"
    );
    assert!(
        Procd {
            config: "/a\nreboot",
            ..given
        }
        .render()
        .is_err()
    );
}

#[test]
fn early_recovery_comes_before_sysctl_network_and_services_and_only_while_a_change_is_under_way() {
    let command = words(&["/usr/bin/jos"]);
    let recover = recover("/usr/bin/jos", "/etc/jos/agent.toml");
    let policy = policy(&["/etc/cups/**"]);
    let text = unit(&command, &policy)
        .render_recover(&recover, "/data/100%/x/journal/trial.json")
        .unwrap();
    assert!(placeholder(&text).is_none(), "{text}");
    for line in [
        "DefaultDependencies=no",
        "After=local-fs.target",
        "Before=sysinit.target systemd-sysctl.service network-pre.target shutdown.target",
        "ConditionPathExists=/data/100%%/x/journal/trial.json",
        "ExecStart=/usr/bin/jos agent recover --files --config /etc/jos/agent.toml",
        "RestrictAddressFamilies=AF_UNIX",
        "WantedBy=sysinit.target",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
    assert!(
        unit(&command, &policy)
            .render_recover(&recover, "/x\nExecStartPre=/bin/evil")
            .is_err()
    );
    let script = ProcdRecover {
        program: "/usr/bin/jos",
        config: "/root/a'b/agent.toml",
    };
    let script = script.render().unwrap();
    assert!(
        script.contains("JOS_CONFIG='/root/a'\\''b/agent.toml'\n") && script.contains("\nSTART=12\n"),
        "{script}"
    );
    let shipped = ProcdRecover {
        program: "/usr/bin/jos",
        config: "/etc/jos/agent.toml",
    };
    assert_eq!(shipped.render().unwrap(), procd::RECOVER);
}

/// The whole text as a person sees it. After a wanted change: `JOS_BLESS=1 cargo test -p jos-schemas unit`.
fn golden(name: &str, text: &str) {
    let path = format!("{}/src/unit/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("JOS_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        text,
        "{path} is stale; JOS_BLESS=1 writes it"
    );
}

#[test]
fn the_rendered_units_are_the_committed_ones() {
    let command = words(&[
        "/usr/bin/jos",
        "agent",
        "run",
        "--config",
        "/etc/jos/agent.toml",
        "/usr/share/jos/baseline.json",
    ]);
    let policy = policy(&["/etc/cups/**", "/srv/www/**"]);
    let system = unit(&command, &policy);
    golden("system.service", &system.render().unwrap());
    let user = Systemd {
        user: Some("kiosk"),
        state_dir: "/home/kiosk/.jos/state",
        reads: &["/home/kiosk/.jos"],
        ..system
    };
    golden("as-user.service", &user.render().unwrap());
    golden(
        "user.service",
        &Systemd {
            scope: Scope::User,
            ..system
        }
        .render()
        .unwrap(),
    );
    let recover = recover("/usr/bin/jos", "/etc/jos/agent.toml");
    let trial = "/var/lib/jos/print-server/journal/trial.json";
    golden("recover.service", &system.render_recover(&recover, trial).unwrap());
    let job = Launchd {
        label: "org.josfox.jos.agent",
        command: &command,
        user: None,
        log: "/var/log/jos.log",
    };
    golden("job.plist", &job.render().unwrap());
}

#[test]
fn the_folder_of_a_node_is_left_writable_up_to_where_it_can_be_made() {
    let command = words(&["/usr/bin/jos", "agent", "run"]);
    let none = policy(&[]);
    let text = |node| {
        let base = unit(&command, &none);
        Systemd { node, ..base }.render().unwrap()
    };
    assert!(!text(None).contains("ReadWritePaths"));
    assert!(text(Some("/srv/box/node")).contains("\nReadWritePaths=-/srv\n"));
    let granted = policy(&["/srv/box/*", "/etc/motd"]);
    let both = Systemd {
        node: Some("/srv"),
        ..unit(&command, &granted)
    };
    assert_eq!(both.render().unwrap().matches("ReadWritePaths=-/srv\n").count(), 1);
}
