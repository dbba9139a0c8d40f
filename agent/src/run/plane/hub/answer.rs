//! What people at the hub want to know, and what the device tells them.
//!
//! Owns the bounds: the kinds of questions that there are, how often and how long an answer is, and that no content, no
//! value of a secret and no control character is in one. What was asked came over the pipe, so nothing in it is believed:
//! a number is clamped, a path is looked up in the ledger and never opened.

mod lines;
mod past;

use std::collections::VecDeque;

use jos_link::wire::{MAX_SMALL, Question, about};
use jos_schemas::documents::answer::{Answer, AnswerKind};
use jos_schemas::own;
use jos_schemas::text::{AbsPath, Utc};

use super::{Agent, Host};

/// Answers in an hour, at most.
const MOST: usize = 32;
const HOUR: u64 = 3_600_000;
/// Lines and records where the question names no number, and at most.
const LINES: (u32, u32) = (200, 200);
const RECORDS: (u32, u32) = (20, 100);
/// Characters of a refusal's reason, at most.
const REASON: usize = 400;

/// When the last answers were given, on the loop's clock.
#[derive(Debug, Default)]
pub(super) struct Quota(VecDeque<u64>);

impl Quota {
    /// Takes one, unless the hour's are used up.
    fn take(&mut self, now: u64) -> bool {
        self.0.retain(|at| now.saturating_sub(*at) < HOUR);
        let free = self.0.len() < MOST;
        if free {
            self.0.push_back(now);
        }
        free
    }
}

impl Agent<'_> {
    /// The answer as it is sent; none while the hour's answers are used up: the question comes again.
    pub(super) fn answer(&mut self, host: &mut Host, question: &Question) -> Result<Option<Vec<u8>>, String> {
        if !host.answers.take(self.now()) {
            log::debug!("{}: the hub asks more than {MOST} times an hour", self.settings.name);
            return Ok(None);
        }
        let time = self.plane.now();
        let mut answer = Answer {
            schema: None,
            kind: AnswerKind::default(),
            name: self.settings.name.clone(),
            time: time.unwrap_or_else(|_| Utc::from_unix(self.world.clock.now())),
            refused: None,
            logs: None,
            ledger: None,
            blame: None,
        };
        let found = self.find_out(question, &mut answer);
        let mut bytes = own::write(&answer).map_err(|e| e.to_string())?;
        let found = found.and_then(|()| match bytes.len() {
            0..=MAX_SMALL => Ok(()),
            long => Err(format!(
                "the answer would be {long} bytes, {MAX_SMALL} at most are told"
            )),
        });
        match found {
            // Whoever looks after the device sees that it was asked.
            Ok(()) => log::info!(
                "{}: people at the hub were told of its {}",
                self.settings.name,
                question.about
            ),
            Err(why) => {
                let why = clean(&why, REASON);
                log::info!("{}: people at the hub are not told: {why}", self.settings.name);
                (answer.logs, answer.ledger, answer.blame) = (None, None, None);
                answer.refused = Some(why);
                bytes = own::write(&answer).map_err(|e| e.to_string())?;
            }
        }
        Ok(Some(bytes))
    }

    fn find_out(&self, question: &Question, answer: &mut Answer) -> Result<(), String> {
        if !self.settings.answers() {
            return Err("refused by the device's settings".into());
        }
        let most = |(usual, most): (u32, u32)| question.most.unwrap_or(usual).clamp(1, most);
        match question.about.as_str() {
            about::LOGS => answer.logs = Some(self.log_lines(most(LINES))),
            about::LEDGER => answer.ledger = Some(self.last_records(most(RECORDS).into())?),
            about::BLAME => {
                let path = question.path.as_deref().ok_or("no path was named")?;
                let path = AbsPath::new(path).map_err(|broken| broken.to_string())?;
                answer.blame = Some(self.why(path)?);
            }
            _ => return Err("this agent does not know the question".into()),
        }
        Ok(())
    }
}

/// One line without control characters, cut at `most` characters.
fn clean(text: &str, most: usize) -> String {
    text.chars()
        .take(most)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_so_many_answers_and_the_next_one_as_many_again() {
        let mut quota = Quota::default();
        let taken = |quota: &mut Quota, at: u64| (0..100).filter(|n| quota.take(at + n)).count();
        assert_eq!(taken(&mut quota, 5), MOST);
        assert_eq!(taken(&mut quota, HOUR - 200), 0);
        assert_eq!(taken(&mut quota, 2 * HOUR), MOST);
    }

    #[test]
    fn what_would_move_a_cursor_is_cut() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n\u{9b}c\0", 100), "a [2Jb   c ");
        assert_eq!(clean("äöü", 2), "äö");
    }
}
