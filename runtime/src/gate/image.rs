//! What was granted of whole systems.
//!
//! Whoever brings the system brings every program in it, this one and its policy too. RAUC on the device holds a bundle
//! against its own keys; here it is asked whether the source may have the device moved at all, and to what.

use jos_schemas::documents::desired_state::{ImageStep, Step};
use jos_schemas::documents::policy::Source;

use super::{Gate, Judgement, label, line};

impl Gate<'_> {
    pub(super) fn image(&self, source: Source, label: &str, image: &ImageStep, found: &mut Judgement) {
        let name = image.compatible.as_str();
        if !matches!(source, Source::Hub | Source::Local) {
            found.refuse(
                label,
                "only a signed state moves the device to another system".into(),
                None,
            );
        } else if !self.grant(source).is_some_and(|g| g.images.iter().any(|i| i == name)) {
            let needed = line(source, "images", &format!("{name:?}"));
            found.refuse(label, format!("the image {name} is not granted"), Some(needed));
        }
        if !self.slots {
            let why = "this device does not have two systems of which RAUC writes the one that does not run";
            found.unsupported(label, why.into());
        }
    }
}

/// A device runs one system.
pub(super) fn one_at_most(steps: &[Step], found: &mut Judgement) {
    let mut images = steps.iter().enumerate().filter(|(_, s)| matches!(s, Step::Image(_)));
    let Some((first, _)) = images.next() else { return };
    for (at, step) in images {
        let why = format!("its image is already that of step {}; a device runs one", first + 1);
        found.refuse(&label(at, step), why, None);
    }
}
