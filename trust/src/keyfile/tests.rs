#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

fn made() -> (tempfile::TempDir, PathBuf, SecretKey) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.key");
    let key = SecretKey::from_bytes(&[7; 32]).with_comment(Some("Ana \"the admin\"\\".to_owned()));
    write_secret(&path, &key).expect("written");
    (dir, path, key)
}

#[test]
fn a_secret_key_comes_back_as_it_was_and_only_its_owner_can_read_it() {
    let (_dir, path, key) = made();
    assert_eq!(mode(&path), 0o600);
    let read = read_secret(&path).expect("readable");
    assert_eq!(
        (read.public(), read.id(), read.comment()),
        (key.public(), key.id(), key.comment())
    );
    assert!(holds_secret(&path));
    let public = path.with_extension("pub");
    write_public(&public, &NamedKey::from(&key)).expect("written");
    assert_eq!(
        read_public(&public).expect("readable"),
        read_public(&path).expect("readable")
    );
    assert!(!holds_secret(&public));
    let text = std::fs::read_to_string(&public).expect("text");
    assert!(
        !text.contains("secret") && !text.contains(&STANDARD.encode([7; 32])),
        "{text}"
    );
}

#[test]
fn a_key_is_never_overwritten() {
    let (_dir, path, key) = made();
    let before = std::fs::read(&path).expect("bytes");
    assert!(matches!(
        write_secret(&path, &key.clone().as_dev()),
        Err(KeyFileError::Exists { .. })
    ));
    assert!(matches!(
        write_public(&path, &NamedKey::from(&key)),
        Err(KeyFileError::Exists { .. })
    ));
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
    #[cfg(unix)]
    {
        // Nor through a link that points nowhere yet.
        let link = path.with_file_name("link.key");
        std::os::unix::fs::symlink("elsewhere.key", &link).expect("a link");
        assert!(matches!(write_secret(&link, &key), Err(KeyFileError::Exists { .. })));
        assert!(!path.with_file_name("elsewhere.key").exists());
    }
}

#[test]
#[cfg(unix)]
fn a_secret_key_that_others_can_read_is_refused_with_the_way_out() {
    let (_dir, path, _key) = made();
    for exposed in [0o640, 0o604, 0o644, 0o620, 0o601] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(exposed)).expect("chmod");
        let error = read_secret(&path).expect_err("exposed");
        assert!(
            matches!(error, KeyFileError::Exposed { mode, .. } if mode == exposed),
            "{error}"
        );
        assert_eq!(error.help(), Some(format!("chmod 600 {}", path.display())));
        assert!(read_public(&path).is_err());
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).expect("chmod");
    read_secret(&path).expect("read-only for its owner is as good");
}

#[test]
fn no_error_shows_the_secret() {
    let (_dir, path, key) = made();
    let text = std::fs::read_to_string(&path).expect("text");
    let secret = STANDARD.encode([7; 32]);
    assert!(text.contains(&secret));
    let broken = [
        text.replace("\"secret\"", "\"secrets\""),
        text.replace("ed25519", "rsa"),
        text.replace("jos.key", "jos.trust"),
        text.replace(&secret, &format!("{secret}x")),
        text.replace(&secret, &secret[4..]),
        text.replace(&secret, &STANDARD.encode([8; 32])),
        text.replace("\"secret\": \"", "\"secret\": [\""),
        text.replace('}', &format!(", \"kind\": \"{secret}\"}}")),
        text.replace(&key.public().to_base64(), &secret),
        text.replace("\"jos.key\"", &format!("{secret:?}"))
            .replace("\"secret\"", "\"x\""),
        format!("{text}{secret}"),
    ];
    for text in broken {
        std::fs::write(&path, &text).expect("written");
        let error = read_secret(&path).expect_err("broken");
        let shown = format!("{error} {error:?} {:?}", error.help());
        assert!(!shown.contains(&secret[..20]), "{shown}");
    }
}

#[test]
fn what_is_no_key_file_is_named() {
    let (dir, path, _key) = made();
    assert!(matches!(read_secret(dir.path()), Err(KeyFileError::NotAFile { .. })));
    assert!(matches!(
        read_secret(&dir.path().join("none")),
        Err(KeyFileError::Io { act: "read", .. })
    ));
    let public = path.with_extension("pub");
    write_public(&public, &read_public(&path).expect("readable")).expect("written");
    let error = read_secret(&public).expect_err("no secret there");
    assert!(error.to_string().contains("without a secret"), "{error}");
    std::fs::write(&path, vec![b' '; 1 << 20]).expect("written");
    assert!(matches!(read_secret(&path), Err(KeyFileError::NotAFile { .. })));
}
