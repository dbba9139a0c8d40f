//! Users and groups of a root, as text: passwd(5), group(5), shadow(5), gshadow(5).

use super::{ImageError, Layer};

/// Someone who is to be there.
pub(super) struct Account<'a> {
    pub(super) name: &'a str,
    pub(super) comment: &'a str,
    pub(super) home: &'a str,
    pub(super) shell: &'a str,
    /// From which number on a free one is taken.
    pub(super) first: u32,
}

/// Adds a user with a group of the same name, without a password that would let anyone in. One that is there stays.
/// Gives its number.
pub(super) fn add(layer: &mut Layer, account: &Account<'_>) -> Result<u32, ImageError> {
    let passwd = layer.text("etc/passwd")?;
    let group = layer.text("etc/group")?;
    let field = |line: &str, at: usize| line.split(':').nth(at).map(str::to_owned);
    if let Some(line) = passwd.lines().find(|l| l.split(':').next() == Some(account.name)) {
        let id = field(line, 2).and_then(|id| id.parse().ok());
        return id.ok_or_else(|| ImageError::Unfit(format!("the base's /etc/passwd has an odd line: {line}")));
    }
    let taken: Vec<u32> = passwd
        .lines()
        .chain(group.lines())
        .filter_map(|l| field(l, 2)?.parse().ok())
        .collect();
    let id = (account.first..60_000)
        .find(|id| !taken.contains(id))
        .ok_or_else(|| ImageError::Unfit("no user number is free in the base".into()))?;
    let Account {
        name,
        comment,
        home,
        shell,
        ..
    } = account;
    let mut append = |file: &str, mode: u32, line: String| -> Result<(), ImageError> {
        let mut text = layer.text(file)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
        match layer.get(file).cloned() {
            Some(mut item) => {
                item.kind = super::layer::Kind::File(super::layer::Content::Bytes(text.into_bytes()));
                layer.put(file, item);
            }
            None => layer.file(file, mode, text),
        }
        Ok(())
    };
    append(
        "etc/passwd",
        0o644,
        format!("{name}:x:{id}:{id}:{comment}:{home}:{shell}\n"),
    )?;
    append("etc/group", 0o644, format!("{name}:x:{id}:\n"))?;
    // `*` can never be the hash of a password; keys let in all the same.
    append("etc/shadow", 0o640, format!("{name}:*:20000:0:99999:7:::\n"))?;
    append("etc/gshadow", 0o640, format!("{name}:*::\n"))?;
    Ok(id)
}
