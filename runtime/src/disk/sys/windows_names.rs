//! Names that mean something else on Windows than they say. Compiled for tests everywhere.

/// Why a component names something else than it says: a stream of a file, a device, a short name, a name that other programs
/// read without its end.
pub(crate) fn odd_name(name: &str) -> Option<&'static str> {
    if name.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) || name.contains(char::is_control) {
        return Some("it has a component with a character that names on Windows cannot have");
    }
    if name.ends_with(['.', ' ']) {
        return Some("it has a component that ends with a dot or a blank, which Windows drops");
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device)
            .is_some_and(|n| n.chars().count() == 1 && n.chars().all(|c| c.is_ascii_digit() || "¹²³".contains(c)))
    };
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
    {
        return Some("it has a component that is a device on Windows");
    }
    let short = stem.split_once('~');
    if short.is_some_and(|(_, n)| stem.chars().count() <= 8 && !n.is_empty() && n.chars().all(|c| c.is_ascii_digit())) {
        return Some("it has a component that may be the short name of another file; give the long one");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::odd_name;

    #[test]
    fn a_name_that_windows_reads_as_another_is_none() {
        for odd in [
            "a:stream",
            "a\\b",
            "a*",
            "a\u{7}",
            "a.",
            "a ",
            "CON",
            "nul.txt",
            "com1",
            "LPT9.log",
            "COM\u{b9}",
            "PROGRA~1",
            "abc~12.txt",
        ] {
            assert!(odd_name(odd).is_some(), "{odd:?}");
        }
        for plain in [
            "app.ini",
            ".jos-00ff-1",
            "Program Files (x86)",
            "console",
            "com10",
            "COM",
            "a~b",
            "a-long-name~1",
            "größe",
            "x.~lock",
        ] {
            assert_eq!(odd_name(plain), None, "{plain:?}");
        }
    }
}
