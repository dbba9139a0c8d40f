//! Globs over absolute paths: `*` and `?` within one component, `**` for any number of whole components, none included,
//! except at the end, where it stands for one or more: `/etc/**` covers what is below `/etc`, not `/etc` itself.

/// Whether `glob` covers `path`.
pub(crate) fn matches(glob: &str, path: &str) -> bool {
    let (above, below) = match glob.strip_suffix("/**").filter(|above| !above.is_empty()) {
        Some(above) => (above, true),
        None => (glob, false),
    };
    if above.contains("**") {
        return matches_any_depth(glob, path);
    }
    // Component by component; what lies below comes last.
    let (mut globs, mut names) = (parts(above), parts(path));
    loop {
        match (globs.next(), names.next()) {
            (Some(glob), Some(name)) if component(glob, name) => {}
            (None, rest) => return rest.is_some() == below,
            _ => return false,
        }
    }
}

fn parts(text: &str) -> impl Iterator<Item = &[u8]> {
    text.trim_start_matches('/').split('/').map(str::as_bytes)
}

/// The same for a glob with `**` anywhere.
fn matches_any_depth(glob: &str, path: &str) -> bool {
    let (glob, path): (Vec<&[u8]>, Vec<&[u8]>) = (parts(glob).collect(), parts(path).collect());
    // reach[i]: whether the first i components of the path are covered by the components of the glob so far. One row
    // for each component of the glob, so the work is their product however many `**` there are.
    let mut reach = vec![false; path.len() + 1];
    reach[0] = true;
    for (g, part) in glob.iter().enumerate() {
        let mut next = vec![false; path.len() + 1];
        for i in 0..=path.len() {
            next[i] = if *part == b"**" {
                let at_end = g + 1 == glob.len();
                (i > 0 && (next[i - 1] || reach[i - 1])) || (!at_end && reach[i])
            } else {
                i > 0 && reach[i - 1] && component(part, path[i - 1])
            };
        }
        reach = next;
    }
    reach[path.len()]
}

/// `*` and `?` by the usual two-pointer walk: linear in practice, never exponential. `?` is one character, so bytes
/// that continue a UTF-8 sequence are taken with their first.
fn component(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if g < glob.len() && glob[g] == b'*' {
            star = Some((g, n));
            g += 1;
        } else if g < glob.len() && glob[g] == b'?' {
            g += 1;
            n = next_char(name, n);
        } else if g < glob.len() && glob[g] == name[n] {
            g += 1;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            g = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|b| *b == b'*')
}

fn next_char(name: &[u8], mut n: usize) -> usize {
    n += 1;
    while n < name.len() && name[n] & 0xc0 == 0x80 {
        n += 1;
    }
    n
}

/// Whether `glob` covers everything below `dir`: it ends in `/**` and what comes before covers `dir` or a parent.
pub(crate) fn covers_all_below(glob: &str, dir: &str) -> bool {
    let Some(base) = glob.strip_suffix("/**") else {
        return false;
    };
    if base.is_empty() {
        return true;
    }
    let mut at = dir;
    loop {
        if matches(base, at) {
            return true;
        }
        match at.rfind('/') {
            Some(i) if i > 0 => at = &at[..i],
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{covers_all_below, matches, matches_any_depth};

    #[test]
    fn a_star_stays_within_a_component() {
        assert!(matches("/etc/*.conf", "/etc/a.conf"));
        assert!(!matches("/etc/*.conf", "/etc/x/a.conf"));
        assert!(matches("/etc/*", "/etc/.hidden"));
        assert!(matches("/a/*b*c", "/a/xxbyyc"));
        assert!(!matches("/a/*b*c", "/a/xxbyyd"));
    }

    #[test]
    fn two_stars_cover_what_is_below_and_not_the_directory_itself() {
        assert!(matches("/etc/cups/**", "/etc/cups/a/b"));
        assert!(!matches("/etc/cups/**", "/etc/cups"));
        assert!(!matches("/etc/cups/**", "/etc/cupsx/a"));
        assert!(matches("/srv/**/conf", "/srv/conf"));
        assert!(matches("/srv/**/conf", "/srv/a/b/conf"));
    }

    #[test]
    fn a_question_mark_is_one_character_of_any_length() {
        assert!(matches("/a/?", "/a/é"));
        assert!(!matches("/a/?", "/a/ab"));
        assert!(!matches("/a/?", "/a/b/c"));
    }

    #[test]
    fn the_short_way_and_the_one_for_any_depth_agree() {
        let globs = [
            "/**", "/a/**", "/a/*", "/*/**", "/a", "/a/b*/**", "**", "/?/b", "/a/**/b", "/**/**", "",
        ];
        let paths = ["/", "/a", "/a/b", "/a/bc/d", "/b/b", "/a/b/b/b", ""];
        for (glob, path) in globs.iter().flat_map(|g| paths.map(|p| (*g, p))) {
            assert_eq!(matches(glob, path), matches_any_depth(glob, path), "{glob} {path}");
        }
    }

    #[test]
    fn a_recursive_grant_is_recognised() {
        assert!(covers_all_below("/srv/**", "/srv"));
        assert!(covers_all_below("/srv/**", "/srv/a/b"));
        assert!(!covers_all_below("/srv/*", "/srv/a"));
        assert!(!covers_all_below("/srv/a/**", "/srv"));
        assert!(covers_all_below("/home/*/data/**", "/home/x/data/y"));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let glob = format!("/{}c", "a*".repeat(60));
        assert!(!matches(&glob, &format!("/{}b", "a".repeat(200))));
        assert!(!matches(&format!("{}/x", "/**".repeat(12)), &"/a".repeat(24)));
    }
}
