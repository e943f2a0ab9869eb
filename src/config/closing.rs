//! At what pace sessions are closed: `--rate 5/s --idle-for 10s` on the command line, `"rate": "5/s"` in the
//! API. No file has these words; they are read here, so that both take the same and say the same.

use std::time::Duration;

use super::admission::rate;
use super::arguments::{once, value};
use super::cli::UsageError;
use super::defaults;
use super::error::{Problem, visible};
use super::value::duration;
use crate::policy::closing::Terms;

/// How sessions are to be closed, as somebody has written it: how many in which time, and after how long
/// without a byte a session is idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// `5/s`.
    pub rate: String,
    /// `10s`; `None` is the default.
    pub idle_for: Option<String>,
}

/// The options of `drain` and `rebalance`, as they were given.
#[derive(Debug, Default)]
pub(super) struct Closing {
    rate: Option<String>,
    idle_for: Option<String>,
    /// `drain --close`.
    is_wanted: bool,
    /// `rebalance --stop`.
    stop: bool,
}

impl Closing {
    /// Has this command this option?
    pub(super) fn has(&self, command: &str, option: &str) -> bool {
        match option {
            "rate" | "idle-for" => matches!(command, "drain" | "rebalance"),
            "close" => command == "drain",
            "stop" => command == "rebalance",
            _ => false,
        }
    }

    /// Reads one of them.
    pub(super) fn read(
        &mut self,
        option: &str,
        parser: &mut lexopt::Parser,
    ) -> Result<(), UsageError> {
        match option {
            "rate" => once("--rate", self.rate.replace(value(parser, "--rate", "N/s")?)),
            "idle-for" => {
                let text = value(parser, "--idle-for", "TIME")?;
                once("--idle-for", self.idle_for.replace(text))
            }
            "close" => {
                self.is_wanted = true;
                Ok(())
            }
            _ => {
                self.stop = true;
                Ok(())
            }
        }
    }

    /// What `drain` says.
    pub(super) fn of_drain(self) -> Result<Option<Close>, UsageError> {
        let help = "`evener drain POOL/BACKEND --close --rate 10/s`";
        match (self.is_wanted, &self.rate, &self.idle_for) {
            (false, None, None) => Ok(None),
            (false, ..) => {
                let what = "`drain` closes nothing without --close";
                Err(UsageError::new(what, help))
            }
            (true, None, _) => Err(UsageError::new("`drain --close` needs a --rate", help)),
            (true, Some(_), _) => self.close().map(Some),
        }
    }

    /// What `rebalance` says.
    pub(super) fn of_rebalance(self) -> Result<Option<Close>, UsageError> {
        let help =
            "`evener rebalance POOL --rate 5/s`, and `evener rebalance POOL --stop` to end it";
        match (self.stop, &self.rate, &self.idle_for) {
            (true, None, None) => Ok(None),
            (true, ..) => {
                let what = "--stop goes with no other option";
                Err(UsageError::new(what, help))
            }
            (false, None, _) => Err(UsageError::new("`rebalance` needs a --rate", help)),
            (false, Some(_), _) => self.close().map(Some),
        }
    }

    fn close(self) -> Result<Close, UsageError> {
        let rate = self.rate.unwrap_or_default();
        let idle_for = self.idle_for;
        terms_of(&rate, idle_for.as_deref())?;
        Ok(Close { rate, idle_for })
    }
}

/// Reads a rate, and after how long without a byte a session is idle; without that, it is the default.
///
/// # Errors
///
/// What is wrong and what would be right, in one line.
pub fn terms(rate: &str, idle_for: Option<&str>) -> Result<Terms, String> {
    terms_of(rate, idle_for).map_err(|problem| {
        let (what, help) = problem.into_parts();
        // Whoever asked may show it in a terminal.
        visible(&format!("{what}; {help}"))
    })
}

fn terms_of(rate: &str, idle_for: Option<&str>) -> Result<Terms, Problem> {
    let rate = self::rate(rate).map_err(|problem| problem.of_key("rate"));
    let idle_for = idle_for.map_or(Ok(defaults::CLOSE_IDLE_FOR), |text| {
        // Zero means something: all are idle.
        duration(text, Duration::ZERO).map_err(|problem| problem.of_key("idle_for"))
    });
    Ok(Terms {
        rate: rate?,
        idle_for: idle_for?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rate::{Per, Rate};

    #[test]
    fn a_rate_and_a_time_or_what_is_wrong_with_them() {
        let rate = Rate {
            count: 5,
            per: Per::Second,
        };
        let idle_for = Duration::from_secs(10);
        assert_eq!(terms("5/s", None), Ok(Terms { rate, idle_for }));
        let idle_for = Duration::ZERO;
        assert_eq!(terms("5/s", Some("0s")), Ok(Terms { rate, idle_for }));
        for (rate, idle_for, says) in [
            (
                "5",
                None,
                "rate `5` is not a rate; so many in a second or a minute",
            ),
            ("0/s", None, "rate `0` is out of range; so many"),
            ("5/s", Some("10"), "idle_for `10` has no unit; write `10s`"),
            ("5/s", Some("2 years"), "idle_for `2 years` is out of range"),
            ("\u{7f}5", None, "rate `\\u{7f}5` is not a rate"),
        ] {
            let error = terms(rate, idle_for).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
