//! Whether a thread that has just moved a message looks for the next one before it goes to sleep.
//!
//! To sleep and to be woken costs several microseconds, more where the processor sleeps as well, and
//! the one who wakes pays a part of it: the client, the server, the other direction. A look lets
//! whoever waits for this processor run first, and then reads without blocking; where processors are
//! busy the next message has often come by then, and where they are not it comes soon, because they
//! are kept awake. What is found costs no sleep. What is not found has cost a look.
//!
//! So looks go by what they found: one in vain is followed by a pause of 1, 3, 7 … messages for which
//! the thread sleeps at once, and a find ends the pauses. A connection that speaks once a second, or
//! whose answers take a millisecond, wastes less than a microsecond of each message that way. To
//! look for about as long as a sleep costs is never worse than twice the best that could be done by
//! one who knows the future (Karlin, Li, Manasse and Owicki, "Empirical studies of competitive
//! spinning for a shared-memory multiprocessor", SOSP 1991). Linux does the same for virtual
//! processors that halt (`halt_poll_ns`), HAProxy has `busy-polling`, for all of its time. PURE.
//!
//! ```text
//!          in vain                  in vain                    in vain
//!   look ──────────▶ 1 message of ──────────▶ 3 messages … ──────────▶ 63 messages
//!    ▲               sleep, a look              of sleep, a look           of sleep, a look ──┐ in vain
//!    │                  │                          │                          │  ▲────────────┘
//!    └── found ─────────┴──────────── found ───────┴───────────── found ──────┘
//! ```

use std::time::Duration;

/// How long a thread looks at the longest, unless others keep it from looking that long.
const LOOK_MAX: Duration = Duration::from_micros(50);

/// Looks at the least: where others want the processor, one may take longer than all of that time.
const LOOKS_MIN: u32 = 2;

/// Messages for which a thread sleeps at once after many looks in vain.
const PAUSE_MAX: u32 = 63;

/// Whether threads ever look before they sleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BusyPoll {
    /// Where it pays off.
    #[default]
    Auto,
    /// Never.
    Off,
}

impl BusyPoll {
    /// Every one.
    pub const ALL: [BusyPoll; 2] = [BusyPoll::Auto, BusyPoll::Off];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            BusyPoll::Auto => "auto",
            BusyPoll::Off => "off",
        }
    }
}

/// What one direction has learned of its looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patience {
    /// Messages for which it sleeps at once after the next look in vain, less the one that is added then.
    pause: u32,
    /// How many of them are left.
    left: u32,
}

impl Patience {
    /// Is it worth to look for the next message? To be asked once for each.
    pub fn is_worth_it(&mut self) -> bool {
        if self.left == 0 {
            return true;
        }
        self.left -= 1;
        false
    }

    /// Is it over, after so many looks that found nothing and took so long?
    pub fn is_over(looks: u32, waited: Duration) -> bool {
        looks >= LOOKS_MIN && waited >= LOOK_MAX
    }

    /// Takes note of what came of it.
    pub fn learn(&mut self, found: bool) {
        self.pause = if found {
            0
        } else {
            (2 * self.pause + 1).min(PAUSE_MAX)
        };
        self.left = self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages out of so many that are looked for, of which looks find what `finds` says.
    fn looked_for(messages: u32, mut finds: impl FnMut(u32) -> bool) -> Vec<u32> {
        let mut patience = Patience::default();
        (0..messages)
            .filter(|message| {
                let worth_it = patience.is_worth_it();
                if worth_it {
                    patience.learn(finds(*message));
                }
                worth_it
            })
            .collect()
    }

    #[test]
    fn what_is_always_found_is_always_looked_for() {
        assert_eq!(looked_for(1000, |_| true).len(), 1000);
    }

    #[test]
    fn looks_in_vain_become_rare_and_stay_rare() {
        let looks = looked_for(1000, |_| false);
        assert_eq!(looks.get(..7), Some(&[0, 2, 6, 14, 30, 62, 126][..]));
        assert_eq!(looks.len(), 7 + (1000 - 127) / 64);
    }

    #[test]
    fn one_find_makes_it_try_again_at_once() {
        let looks = looked_for(2000, |message| message > 1000);
        let begin = looks.iter().find(|message| **message > 1000).unwrap();
        assert!(*begin <= 1064);
        let after: Vec<u32> = looks.iter().copied().filter(|n| n > begin).collect();
        assert_eq!(after, (begin + 1..2000).collect::<Vec<_>>());
    }

    #[test]
    fn it_is_over_after_its_time_but_never_after_a_single_look() {
        let long = LOOK_MAX * 100;
        assert!(!Patience::is_over(1, long));
        assert!(Patience::is_over(LOOKS_MIN, LOOK_MAX));
        assert!(!Patience::is_over(1000, LOOK_MAX / 2));
    }
}
