//! Maintainer scripts, the same four for dpkg (Debian Policy §6) and opkg.

use super::{FormatError, Tree};

/// The scripts a package manager runs around its work; each starts with a `#!` line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// Before unpacking.
    pub preinst: Option<String>,
    /// After unpacking.
    pub postinst: Option<String>,
    /// Before removal.
    pub prerm: Option<String>,
    /// After removal.
    pub postrm: Option<String>,
}

impl Scripts {
    /// Name and text of the scripts that are there, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("postinst", &self.postinst),
            ("postrm", &self.postrm),
            ("preinst", &self.preinst),
            ("prerm", &self.prerm),
        ];
        all.into_iter()
            .filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    /// Put the scripts, mode 0755, into the archive of control files.
    ///
    /// # Errors
    /// [`FormatError::Field`] for a script without an interpreter line or with carriage returns: the kernel would
    /// refuse to run it, in the middle of an installation.
    pub(crate) fn add_to(&self, control: &mut Tree) -> Result<(), FormatError> {
        for (name, text) in self.iter() {
            check(name, text)?;
            control.file(name, 0o755, text)?;
        }
        Ok(())
    }
}

/// Refuse a script that the kernel could not run.
pub(crate) fn check(name: &str, text: &str) -> Result<(), FormatError> {
    let first = text.lines().next().unwrap_or("");
    let interpreter = first.strip_prefix("#!").map(str::trim_start);
    if !interpreter.is_some_and(|i| i.starts_with('/')) || text.contains('\r') || text.contains('\0') {
        let expected = "a script that starts with `#!/` and an interpreter, with LF line ends (Debian Policy §10.4)";
        return Err(FormatError::field(name, first, expected));
    }
    Ok(())
}
