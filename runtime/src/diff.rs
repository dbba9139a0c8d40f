//! A small line diff, for people: what a plan would change in a text file.
//!
//! Longest common subsequence on what is left after the common start and end. Files are configuration: beyond a size
//! the middle is shown as removed and added whole.

use std::fmt::Write;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// Beyond so many comparisons the middle is not searched for common lines.
const WORK: usize = 1_000_000;
/// A diff longer than this is cut, and says so.
const SHOWN: usize = 400;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Same,
    Gone,
    New,
}

/// The unified diff of two texts without a file header; empty when they are equal.
pub(crate) fn unified(before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (lines(before), lines(after));
    let script = script(&a, &b);
    let mut out = String::new();
    let (mut at, mut shown) = (0, 0);
    while let Some(change) = (at..script.len()).find(|i| script[*i].0 != Mark::Same) {
        let start = change.saturating_sub(CONTEXT).max(at);
        // A hunk goes on while the next change is near enough for their contexts to touch.
        let mut end = change + 1;
        while let Some(next) = (end..script.len().min(end + 2 * CONTEXT + 1)).find(|i| script[*i].0 != Mark::Same) {
            end = next + 1;
        }
        let end = (end + CONTEXT).min(script.len());
        hunk(&mut out, &script, start, end);
        shown += end - start;
        at = end;
        if shown > SHOWN {
            let _ = writeln!(out, "… {} more lines", script.len() - end);
            break;
        }
    }
    out
}

fn hunk(out: &mut String, script: &[(Mark, &str)], start: usize, end: usize) {
    let count = |range: &[(Mark, &str)], not: Mark| range.iter().filter(|(m, _)| *m != not).count();
    let (from, to) = (count(&script[..start], Mark::New), count(&script[..start], Mark::Gone));
    let (old, new) = (
        count(&script[start..end], Mark::New),
        count(&script[start..end], Mark::Gone),
    );
    let first = |before: usize, length: usize| if length == 0 { before } else { before + 1 };
    let _ = writeln!(out, "@@ -{},{old} +{},{new} @@", first(from, old), first(to, new));
    for (mark, line) in &script[start..end] {
        let sign = match mark {
            Mark::Same => ' ',
            Mark::Gone => '-',
            Mark::New => '+',
        };
        // A control character in a file must not reach the terminal.
        let shown: String = line
            .trim_end_matches('\n')
            .chars()
            .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
            .collect();
        let _ = writeln!(out, "{sign}{shown}");
        if !line.ends_with('\n') {
            let _ = writeln!(out, "\\ No newline at end of file");
        }
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn script<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<(Mark, &'t str)> {
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let end = a[start..]
        .iter()
        .rev()
        .zip(b[start..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (mid_a, mid_b) = (&a[start..a.len() - end], &b[start..b.len() - end]);
    let mut out: Vec<(Mark, &str)> = a[..start].iter().map(|l| (Mark::Same, *l)).collect();
    if mid_a.len().saturating_mul(mid_b.len()) > WORK {
        out.extend(mid_a.iter().map(|l| (Mark::Gone, *l)));
        out.extend(mid_b.iter().map(|l| (Mark::New, *l)));
    } else {
        middle(&mut out, mid_a, mid_b);
    }
    out.extend(a[a.len() - end..].iter().map(|l| (Mark::Same, *l)));
    out
}

fn middle<'t>(out: &mut Vec<(Mark, &'t str)>, a: &[&'t str], b: &[&'t str]) {
    // common[i][j]: length of the longest common subsequence of a[i..] and b[j..].
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((Mark::Same, a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            out.push((Mark::Gone, a[i]));
            i += 1;
        } else {
            out.push((Mark::New, b[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn a_changed_line_is_shown_with_its_surroundings() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let expected = "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(unified(before, &before.replace('5', "five")), expected);
    }

    #[test]
    fn an_empty_side_and_a_missing_newline_are_shown_as_diff_does() {
        assert_eq!(unified("", "a\n"), "@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(
            unified("a", "a\n"),
            "@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n"
        );
        assert_eq!(unified("x", "x"), "");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert!(!unified("", "\u{1b}[2J\n").contains('\u{1b}'));
    }
}
