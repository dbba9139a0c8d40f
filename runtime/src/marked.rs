//! Lines of ours between two marks, in a file that others write too. Every other byte of it stays. Touches no disk.

/// The lines between `begin` and `end`, where both marks are there.
pub(crate) fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    Some(parts(text, begin, end)?.1)
}

/// `text` with `inner`, whole lines, between the marks; without lines the marks go too. A new block goes to the end.
/// `None` when it is so already.
pub(crate) fn put(text: &str, begin: &str, end: &str, inner: &str) -> Option<String> {
    let block = if inner.is_empty() {
        String::new()
    } else {
        format!("{begin}\n{inner}{end}\n")
    };
    let new = match parts(text, begin, end) {
        Some((before, _, after)) => format!("{before}{block}{after}"),
        None if block.is_empty() => return None,
        None if text.is_empty() || text.ends_with('\n') => format!("{text}{block}"),
        None => format!("{text}\n{block}"),
    };
    (new != text).then_some(new)
}

/// What comes before the block, its lines, and what comes after.
fn parts<'t>(text: &'t str, begin: &str, end: &str) -> Option<(&'t str, &'t str, &'t str)> {
    let (mut at, mut first) = (0, None);
    let mut last = None;
    for line in text.split_inclusive('\n') {
        let (from, to) = (at, at + line.len());
        at = to;
        if line.trim_end() == begin {
            // The last one: a mark whose end somebody took away is no place of ours.
            (first, last) = (Some((from, to)), None);
        } else if line.trim_end() == end && first.is_some() && last.is_none() {
            last = Some((from, to));
        }
    }
    let ((from, inner), (inner_end, to)) = (first?, last?);
    Some((&text[..from], &text[inner..inner_end], &text[to..]))
}
