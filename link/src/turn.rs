//! The loop of the plane, without I/O.
//!
//! Steps 5, 6, 7 and 9 of the agent's loop (fetch, verify, apply, sleep): ask the network half for a document, have the plane
//! judge what it offers, have it hold the world against the state in force, sleep until the next turn. Enrolment, heartbeat
//! and report need a hub and join with its client. The network half is never waited for longer than its reply may take: a
//! dead or hanging one is started anew with growing pauses, and drift is put right all the same.
//!
//! ```text
//!            ┌────────────── Look ─────────────┐
//!  asleep ───┤ wake, reload                    ├─► asking ── Offer ──► Judge ─┐
//!     ▲      └─ no network half: straight on ──┘      └ Nothing, Trouble, late ┴─► Converge ──┐
//!     └───────────────────────────────── Done: interval ± a tenth ───────────────────────────┘
//! ```

use crate::backoff::{Backoff, Jitter};

/// How often, how long. All in milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// From the end of a turn to the next one.
    pub interval: u64,
    /// How long the network half may take to answer.
    pub patience: u64,
    /// First pause before the network half is started anew.
    pub first_pause: u64,
    /// Longest such pause.
    pub longest_pause: u64,
    /// Whether there is a network half at all: without a document to look for there is none.
    pub half: bool,
}

impl Config {
    /// The usual values for an interval in seconds.
    pub fn every(seconds: u32) -> Self {
        let interval = u64::from(seconds.max(1)) * 1000;
        Self {
            interval,
            patience: 30_000,
            first_pause: 1000,
            longest_pause: 300_000,
            half: true,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time.
    Time,
    /// The network half said hello.
    Up,
    /// The network half ended, or broke the protocol and was ended.
    Down,
    /// It offers bytes.
    Offer {
        /// Which request they answer.
        sequence: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// It has nothing, or could not look.
    Nothing {
        /// Which request this answers.
        sequence: u32,
    },
    /// What was asked by [`Do::Judge`] or [`Do::Converge`] is done.
    Done,
    /// Look now.
    Reload,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Start the network half.
    Start,
    /// End the network half: it hangs. Followed by [`Event::Down`].
    End,
    /// Ask it.
    Look {
        /// For its reply.
        sequence: u32,
    },
    /// Parse, verify, apply. Followed by [`Event::Done`].
    Judge(Vec<u8>),
    /// Hold the world against the state in force. Followed by [`Event::Done`].
    Converge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Asleep,
    /// A reply to this request is awaited until then.
    Asking {
        sequence: u32,
        until: u64,
    },
    Judging,
    Converging,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Half {
    Down {
        start: u64,
    },
    /// Started, has not said hello; hangs when it has not by then.
    Coming {
        until: u64,
    },
    Up,
}

/// The loop. Time is any monotonic count of milliseconds.
#[derive(Clone, Debug)]
pub struct Turn {
    config: Config,
    jitter: Jitter,
    backoff: Backoff,
    phase: Phase,
    half: Half,
    wake: u64,
    sequence: u32,
    again: bool,
}

impl Turn {
    /// Starts at `now`: the network half at once, the first turn when it is up or late.
    pub fn new(config: Config, seed: u64, now: u64) -> Self {
        let backoff = Backoff::new(config.first_pause, config.longest_pause);
        let start = if config.half { now } else { u64::MAX };
        Self {
            config,
            jitter: Jitter::new(seed),
            backoff,
            phase: Phase::Asleep,
            half: Half::Down { start },
            wake: now,
            sequence: 0,
            again: false,
        }
    }

    /// When it has to be called again if nothing else happens.
    pub fn next_wake(&self) -> u64 {
        let half = match self.half {
            Half::Down { start } => start,
            Half::Coming { until } => until,
            Half::Up => u64::MAX,
        };
        let phase = match self.phase {
            Phase::Asleep if matches!(self.half, Half::Coming { .. }) => u64::MAX,
            Phase::Asleep => self.wake,
            Phase::Asking { until, .. } => until,
            Phase::Judging | Phase::Converging => u64::MAX,
        };
        half.min(phase)
    }

    /// When the next turn begins.
    pub fn next_turn(&self) -> u64 {
        self.wake
    }

    /// Something else woke the host: a turn that is due within `slack` takes place with it.
    pub fn hasten(&mut self, now: u64, slack: u64) {
        if self.phase == Phase::Asleep && self.wake <= now.saturating_add(slack) {
            self.wake = self.wake.min(now);
        }
    }

    /// Whether the network half is up.
    pub fn is_up(&self) -> bool {
        self.half == Half::Up
    }

    /// A reading of the settings may have changed the interval.
    pub fn set_interval(&mut self, seconds: u32) {
        self.config.interval = Config::every(seconds).interval;
    }

    /// A reading of the settings may have brought a document to look for, or another one. Whoever calls this has ended the
    /// network half, if there was one.
    pub fn set_half(&mut self, now: u64, half: bool) {
        self.config.half = half;
        self.half = Half::Down {
            start: if half { now } else { u64::MAX },
        };
    }

    /// Takes what happened at `now`, gives what to do.
    pub fn step(&mut self, now: u64, event: Event) -> Vec<Do> {
        let mut out = Vec::new();
        match event {
            Event::Time => {}
            Event::Up => {
                if matches!(self.half, Half::Coming { .. }) {
                    self.half = Half::Up;
                }
            }
            Event::Down if !self.config.half => {}
            Event::Down => {
                self.half = Half::Down {
                    start: now + self.backoff.next(&mut self.jitter),
                };
                if matches!(self.phase, Phase::Asking { .. }) {
                    self.converge(&mut out);
                }
            }
            Event::Offer { sequence, bytes } => {
                // A reply to an earlier request came too late: the next turn asks again.
                if matches!(self.phase, Phase::Asking { sequence: asked, .. } if asked == sequence) {
                    self.backoff.reset();
                    self.phase = Phase::Judging;
                    out.push(Do::Judge(bytes));
                }
            }
            Event::Nothing { sequence } => {
                if matches!(self.phase, Phase::Asking { sequence: asked, .. } if asked == sequence) {
                    self.backoff.reset();
                    self.converge(&mut out);
                }
            }
            Event::Done => match self.phase {
                Phase::Judging => self.converge(&mut out),
                Phase::Converging => {
                    self.phase = Phase::Asleep;
                    self.wake = now
                        + if self.again {
                            0
                        } else {
                            self.jitter.around(self.config.interval)
                        };
                    self.again = false;
                }
                Phase::Asleep | Phase::Asking { .. } => {}
            },
            Event::Reload => {
                if self.phase == Phase::Asleep {
                    self.wake = now;
                } else {
                    self.again = true;
                }
            }
        }
        self.due(now, &mut out);
        out
    }

    fn due(&mut self, now: u64, out: &mut Vec<Do>) {
        match self.half {
            Half::Down { start } if now >= start => {
                self.half = Half::Coming {
                    until: now + self.config.patience,
                };
                out.push(Do::Start);
            }
            // Ended once; what follows is Down. Until then it is asked nothing.
            Half::Coming { until } if now >= until && until != u64::MAX => {
                self.half = Half::Coming { until: u64::MAX };
                out.push(Do::End);
            }
            _ => {}
        }
        match self.phase {
            Phase::Asleep if now >= self.wake => match self.half {
                Half::Up => {
                    self.sequence = self.sequence.wrapping_add(1);
                    self.phase = Phase::Asking {
                        sequence: self.sequence,
                        until: now + self.config.patience,
                    };
                    out.push(Do::Look {
                        sequence: self.sequence,
                    });
                }
                // It will say hello or be late; both wake this up.
                Half::Coming { until } if until != u64::MAX => {}
                Half::Coming { .. } | Half::Down { .. } => self.converge(out),
            },
            Phase::Asking { until, .. } if now >= until => {
                self.half = Half::Coming { until: u64::MAX };
                out.push(Do::End);
                self.converge(out);
            }
            _ => {}
        }
    }

    fn converge(&mut self, out: &mut Vec<Do>) {
        self.phase = Phase::Converging;
        out.push(Do::Converge);
    }
}

#[cfg(test)]
mod tests;
