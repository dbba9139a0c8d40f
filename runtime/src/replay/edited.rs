//! Changes of files that steps edit by parts, against what the edits come to.

use std::rc::Rc;

use jos_schemas::documents::desired_state::Step;
use jos_trust::sha256;

use super::Divergence;
use super::check::{Case, shown};
use super::line::{ChangeLine, ShapeLine};
use super::shared::Came;
use crate::gate::label;

impl Case<'_> {
    /// Whether the label is that of a step that edits files by parts, whosever state lists it: where several meet in one
    /// file, the first gives its name and the uppermost source answers.
    pub(super) fn edits(&self, change: &ChangeLine<'_>) -> bool {
        let name = change.step.strip_prefix("prune ").unwrap_or(&change.step);
        let states = self.parts.iter().flat_map(|p| p.follows.into_iter().chain([p.state]));
        states.flat_map(|s| s.spec.apply.iter().enumerate()).any(|(at, step)| {
            let by_parts = matches!(
                step,
                Step::Uci(_) | Step::Cron(_) | Step::Sysctl(_) | Step::User(_) | Step::Group(_)
            );
            by_parts && label(at, step) == name
        })
    }

    /// A file that steps edit by parts: its new text, where it can be computed.
    pub(super) fn edited(&self, change: &ChangeLine<'_>) -> Result<Option<Rc<[u8]>>, Divergence> {
        let path: &str = &change.what;
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let Some((Came::To(now), differs)) = self.shared.of(path) else {
            return Ok(None);
        };
        if !differs {
            return Err(self.diverges(path, "no change: the steps leave it as it was", shown(after)));
        }
        let hash = |shape: Option<&ShapeLine<'_>>| shape.and_then(|s| s.sha256.map(str::to_owned));
        let was = self.shared.was(path).map(|text| sha256(text).to_string());
        if hash(before) != was {
            let word = |hash: Option<String>| hash.unwrap_or_else(|| "nothing".into());
            return Err(self.diverges(path, format!("before: {}", word(was)), word(hash(before))));
        }
        let Some(text) = now else { return Ok(None) };
        let Some(after) = after else {
            return Err(self.diverges(path, "a new text", "nothing left"));
        };
        let kept = before.is_none_or(|b| b.mode == after.mode && b.owner == after.owner);
        if after.kind != "file" || !kept {
            return Err(self.diverges(path, format!("mode and owner as before: {}", shown(before)), after));
        }
        // A new file that holds what not everybody may read is known by MAC alone.
        let expected = sha256(text);
        let fits =
            after.sha256.is_some_and(|s| s.parse() == Ok(expected)) || after.sha256.is_none() && after.mac.is_some();
        if !fits || after.size != Some(text.len() as u64) {
            let expected = format!("{} bytes, sha256 {expected}", text.len());
            return Err(self.diverges(path, expected, after));
        }
        Ok(Some(Rc::clone(text)))
    }
}
