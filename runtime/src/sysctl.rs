//! Kernel parameters: their names, and the files that set them at boot.
//!
//! Owns the two ways to write a name (`net.ipv4.ip_forward`, `net/ipv4/conf/eth0.1/forwarding`) and the lines of a
//! `sysctl.conf`. Touches no disk.

use crate::marked;

/// The name of a kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Components; a `.` inside one belongs to it.
    parts: Vec<String>,
}

impl Key {
    /// As sysctl(8) reads it: the first separator tells which one separates; the other stands for it within a name.
    pub(crate) fn new(text: &str) -> Self {
        let dotted = text.find(['.', '/']).is_some_and(|at| text.as_bytes()[at] == b'.');
        let parts = if dotted {
            text.split('.').map(|part| part.replace('/', ".")).collect()
        } else {
            text.split('/').map(str::to_owned).collect()
        };
        Self { parts }
    }

    /// Below `/proc/sys`.
    pub(crate) fn path(&self) -> String {
        self.parts.join("/")
    }

    /// With dots, as most people write it.
    pub(crate) fn dotted(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|part| part.replace('.', "/")).collect();
        parts.join(".")
    }

    /// Whether it stays below `/proc/sys` whatever stands there.
    pub(crate) fn is_safe(&self) -> bool {
        let safe = |part: &String| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        !self.parts.is_empty() && self.parts.iter().all(safe)
    }
}

/// Values are compared by their words: the kernel shows lists with tabs.
pub(crate) fn same_value(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

/// The file with `key` set to `value`, or (`None`) without our line for it. Nothing else of the file changes: our lines
/// stand under a line of our own, so what a person wrote is told apart. `None` when the file says so already.
pub(crate) fn edited(text: Option<&str>, key: &Key, value: Option<&str>) -> Option<String> {
    let old = text.unwrap_or_default();
    let ours = marked::between(old, MARK, END).unwrap_or_default();
    let mut lines: Vec<&str> = ours.split_inclusive('\n').collect();
    let is_key = |line: &&str| {
        line.split_once('=')
            .is_some_and(|(name, _)| Key::new(name.trim()) == *key)
    };
    let wanted = value.map(|value| format!("{} = {value}\n", key.dotted()));
    match (&wanted, lines.iter().position(is_key)) {
        (Some(line), Some(at)) => lines[at] = line,
        (Some(line), None) => lines.push(line),
        (None, Some(at)) => drop(lines.remove(at)),
        (None, None) => return None,
    }
    marked::put(old, MARK, END, &lines.concat())
}

const MARK: &str = "# jos: begin. What stands here is kept by jos; put your own lines elsewhere.";
const END: &str = "# jos: end";

#[cfg(test)]
mod tests {
    use super::{END, Key, MARK, edited, same_value};

    #[test]
    fn a_name_is_the_same_with_dots_and_with_slashes() {
        for (text, path, dotted) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            (
                "net.ipv4.conf.eth0/100.forwarding",
                "net/ipv4/conf/eth0.100/forwarding",
                "net.ipv4.conf.eth0/100.forwarding",
            ),
            (
                "net/ipv4/conf/eth0.100/forwarding",
                "net/ipv4/conf/eth0.100/forwarding",
                "net.ipv4.conf.eth0/100.forwarding",
            ),
        ] {
            let key = Key::new(text);
            assert_eq!((key.path().as_str(), key.dotted().as_str()), (path, dotted));
            assert!(key.is_safe());
        }
        for bad in ["net.//.x", "net/../x", "..", "", "a./.b"] {
            assert!(!Key::new(bad).is_safe(), "{bad:?}");
        }
        assert!(same_value("4096 16384\t4194304\n", "4096 16384 4194304") && !same_value("1", "0"));
    }

    #[test]
    fn our_lines_stand_apart_and_nobody_elses_are_touched() {
        let (a, b) = (Key::new("vm.swappiness"), Key::new("net.ipv4.ip_forward"));
        let theirs = "# theirs\nvm.swappiness=60";
        let one = edited(Some(theirs), &a, Some("10")).unwrap();
        assert_eq!(one, format!("{theirs}\n{MARK}\nvm.swappiness = 10\n{END}\n"));
        let two = edited(Some(&one), &b, Some("1")).unwrap();
        assert_eq!(two, one.replace(END, &format!("net.ipv4.ip_forward = 1\n{END}")));
        assert_eq!(edited(Some(&two), &b, Some("1")), None);
        let three = edited(Some(&two), &a, Some("20")).unwrap();
        assert_eq!(three, two.replace("= 10", "= 20"));
        assert_eq!(edited(Some(&two), &b, None).unwrap(), one);
        assert_eq!(edited(Some(&one), &a, None).unwrap(), format!("{theirs}\n"));
        assert_eq!(edited(Some(theirs), &a, None), None);
        // A mark without its end is no place of ours.
        let cut = format!("{MARK}\nvm.swappiness = 1\n");
        assert_eq!(
            edited(Some(&cut), &a, Some("2")).unwrap(),
            format!("{cut}{MARK}\nvm.swappiness = 2\n{END}\n")
        );
    }
}
