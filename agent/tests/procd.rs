//! The OpenWrt init script under a shell whose procd functions write down what they are called with. No procd runs here;
//! the calls are held against what procd documents.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::process::Command;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../openwrt-feed/jos-agent/files/jos-agent.init"
);

/// Runs `action` of the script with UCI options; gives the calls, one a line, words in `[]`.
fn calls(uci: &[(&str, &str)], edit: &[(&str, &str)], action: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut script = fs::read_to_string(SCRIPT).unwrap();
    for (from, to) in edit {
        assert!(script.contains(from), "{from}");
        script = script.replace(from, to);
    }
    let path = dir.path().join("jos-agent");
    fs::write(&path, script).unwrap();
    let options: String = uci.iter().map(|(k, v)| format!("UCI_{k}='{v}'\n")).collect();
    // As rc.common does: the script is read, then its function called.
    let harness = format!(
        r#"
say() {{ for w in "$@"; do printf '[%s]' "$w"; done; echo; }}
for f in open_instance set_param append_param close_instance add_reload_trigger send_signal; do
	eval "procd_$f() {{ say procd_$f \"\$@\"; }}"
done
config_load() {{ say config_load "$@"; }}
config_get() {{ eval "$1=\"\${{UCI_$3:-\${{4:-}}}}\""; }}
config_get_bool() {{ config_get "$@"; }}
{options}
initscript='{}'
uci() {{ say uci "$@"; }}
readlink() {{ [ -L "$1" ] || return 0; command readlink "$1"; }}
. "$initscript"
echo "[START][$START]"; echo "[STOP][$STOP]"; echo "[USE_PROCD][$USE_PROCD]"
{action}
"#,
        path.display()
    );
    let output = Command::new("sh").arg("-euc").arg(harness).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_instance_is_supervised_for_ever_logged_and_reloaded_by_a_signal() {
    let artifact = tempfile::NamedTempFile::new().unwrap();
    let artifact = artifact.path().to_str().unwrap();
    let calls = calls(&[], &[("/usr/share/jos/baseline.json", artifact)], "start_service");
    let expected = [
        "[START][95]",
        "[STOP][05]",
        "[USE_PROCD][1]",
        "[config_load][jos]",
        "[procd_open_instance]",
        "[procd_set_param][command][/usr/bin/jos][agent][run][--config][/etc/jos/agent.toml]",
        &format!("[procd_append_param][command][{artifact}]"),
        "[procd_set_param][respawn][3600][5][0]",
        &format!("[procd_set_param][file][/etc/jos/agent.toml][{artifact}]"),
        "[procd_set_param][reload_signal][HUP]",
        "[procd_set_param][term_timeout][10]",
        "[procd_set_param][no_new_privs][1]",
        "[procd_set_param][stdout][1]",
        "[procd_set_param][stderr][1]",
        "[procd_close_instance]",
    ];
    assert_eq!(calls, expected);
}

#[test]
fn options_of_uci_become_single_words_of_the_command() {
    let uci = [
        ("hub", "https://hub.example.com/$(reboot) x"),
        ("interval", "30"),
        ("log", "debug"),
    ];
    let calls = calls(&uci, &[], "start_service");
    assert!(
        calls.contains(&"[procd_append_param][command][--hub][https://hub.example.com/$(reboot) x]".to_owned()),
        "{calls:?}"
    );
    assert!(
        calls.contains(&"[procd_append_param][command][--interval][30]".to_owned()),
        "{calls:?}"
    );
    assert!(
        calls.contains(&"[procd_set_param][env][JOS_LOG=debug]".to_owned()),
        "{calls:?}"
    );
}

#[test]
fn a_token_of_uci_goes_into_a_private_file_and_out_of_the_configuration_and_onto_no_command_line() {
    use std::os::unix::fs::PermissionsExt;

    let etc = tempfile::tempdir().unwrap();
    let config = etc.path().join("agent.toml").display().to_string();
    let edit = [("JOS_CONFIG='/etc/jos/agent.toml'", format!("JOS_CONFIG='{config}'"))];
    let edit = edit.each_ref().map(|(from, to)| (*from, to.as_str()));
    // Whatever stands in it: what a shell would take for more than a word, too.
    for token in ["jos1-secret", "jos1 $(reboot) ; x"] {
        for enabled in ["1", "0"] {
            let all = calls(&[("token", token), ("enabled", enabled)], &edit, "start_service");
            let file = etc.path().join("token");
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{token}\n"));
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            let position = |call: &str| all.iter().position(|c| c == call);
            let (gone, kept) = (
                position("[uci][-q][delete][jos.main.token]"),
                position("[uci][-q][commit][jos]"),
            );
            assert!(gone.is_some() && gone < kept, "{all:?}");
            assert!(!all.iter().any(|c| c.contains("jos1")), "{all:?}");
            fs::remove_file(file).unwrap();
        }
    }
    // Where it cannot be written it stays where it is.
    let nowhere = [(
        "JOS_CONFIG='/etc/jos/agent.toml'",
        "JOS_CONFIG='/nowhere/at/all/agent.toml'",
    )];
    let all = calls(&[("token", "jos1-secret")], &nowhere, "start_service");
    assert!(!all.iter().any(|c| c.starts_with("[uci]")), "{all:?}");
    let without = calls(&[], &edit, "start_service");
    assert!(!without.iter().any(|c| c.starts_with("[uci]")) && !etc.path().join("token").exists());
}

#[test]
fn a_disabled_agent_opens_no_instance() {
    let calls = calls(&[("enabled", "0")], &[], "start_service");
    assert!(!calls.iter().any(|c| c.contains("procd_open_instance")), "{calls:?}");
}

#[test]
fn an_installed_agent_runs_as_its_user_and_asks_no_uci() {
    let edit = [("JOS_UCI='main'", "JOS_UCI=''"), ("JOS_USER=''", "JOS_USER='kiosk'")];
    let all = calls(&[("enabled", "0")], &edit, "start_service; service_triggers");
    assert!(all.contains(&"[procd_set_param][user][kiosk]".to_owned()), "{all:?}");
    assert!(
        !all.iter()
            .any(|c| c.contains("config_load") || c.contains("reload_trigger")),
        "{all:?}"
    );
}

#[test]
fn a_change_of_the_config_reloads_and_wake_sends_the_signal_to_this_service() {
    let all = calls(&[], &[], "service_triggers; wake");
    assert!(all.contains(&"[procd_add_reload_trigger][jos]".to_owned()), "{all:?}");
    assert!(
        all.contains(&"[procd_send_signal][jos-agent][*][HUP]".to_owned()),
        "{all:?}"
    );
}

#[test]
fn the_scripts_pass_shellcheck() {
    let files = ["jos-agent.init", "jos.hotplug", "jos.uci-defaults"];
    let folder = std::path::Path::new(SCRIPT).parent().unwrap();
    let Ok(output) = Command::new("shellcheck").args(files).current_dir(folder).output() else {
        eprintln!("shellcheck is not installed: not checked here");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
