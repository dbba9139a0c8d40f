//! Which program is compiled next, where several are to be.
//!
//! A finished one lends to those of its environment what runs on this machine (`super::lent`), so one whose lender is only being
//! made waits its turn.

use super::Flavour;
use crate::targets::Triple;

type Environment = &'static [(&'static str, &'static str)];

/// Programs that are still to be made.
pub struct Turns {
    waiting: Vec<(Triple, Flavour)>,
    begun: Vec<Environment>,
    finished: Vec<Environment>,
}

impl Turns {
    /// All of them.
    #[must_use]
    pub fn new(waiting: Vec<(Triple, Flavour)>) -> Self {
        let (begun, finished) = (Vec::new(), Vec::new());
        Self {
            waiting,
            begun,
            finished,
        }
    }

    /// Which one is begun now.
    #[expect(
        clippy::should_implement_trait,
        reason = "what is next depends on what was finished meanwhile"
    )]
    pub fn next(&mut self) -> Option<(Triple, Flavour)> {
        let at_its_best = |(triple, _): &(Triple, Flavour)| {
            self.finished.contains(&triple.environment) || !self.begun.contains(&triple.environment)
        };
        let next = self.waiting.iter().position(at_its_best).unwrap_or(0);
        let next = (next < self.waiting.len()).then(|| self.waiting.remove(next))?;
        self.begun.push(next.0.environment);
        Some(next)
    }

    /// After a failure the others finish what they began; nothing new is begun.
    pub fn ended(&mut self, triple: &Triple, well: bool) {
        if well {
            self.finished.push(triple.environment);
        } else {
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{AARCH64, MAC_ARM, MAC_INTEL, MIPSEL};

    fn turns() -> Turns {
        Turns::new(
            [MIPSEL, AARCH64, MAC_ARM, MAC_INTEL]
                .map(|triple| (triple, Flavour::Device))
                .into(),
        )
    }

    fn next(turns: &mut Turns) -> Option<&'static str> {
        turns.next().map(|(triple, _)| triple.name)
    }

    #[test]
    fn a_program_waits_for_the_one_that_lends_to_it() {
        let mut turns = turns();
        assert_eq!(next(&mut turns), Some(MIPSEL.name));
        assert_eq!(next(&mut turns), Some(MAC_ARM.name), "nobody makes one like it yet");
        turns.ended(&MAC_ARM, true);
        assert_eq!(
            next(&mut turns),
            Some(MAC_INTEL.name),
            "before the one whose lender is not done"
        );
        assert_eq!(next(&mut turns), Some(AARCH64.name), "rather without a loan than idle");
        assert_eq!(next(&mut turns), None);
    }

    #[test]
    fn nothing_is_begun_after_a_failure() {
        let mut turns = turns();
        let (first, _) = turns.next().expect("the first");
        turns.ended(&first, false);
        assert_eq!(next(&mut turns), None);
    }
}
