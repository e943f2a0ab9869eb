//! How the beginning and the end of closing sessions little by little read.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::EndReason;
use crate::policy::closing::Pace;

/// What sessions are closed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Their backends hold more than their shares.
    Rebalance,
    /// Their backend is drained, and is to be empty.
    Drain,
    /// Their backend is in use no more.
    Removal,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It begins.
    Begun,
    /// All are closed.
    Done,
    /// It was taken back, or another order has taken its place.
    Stopped,
}

/// Sessions are closed little by little from now on, or no longer.
#[derive(Debug, Clone)]
pub struct Closing {
    /// Why.
    pub purpose: Purpose,
    /// The pool.
    pub pool: Arc<str>,
    /// The backends, each with how many of its sessions are still to be closed.
    pub backends: Vec<(Arc<str>, u32)>,
    /// How fast.
    pub pace: Pace,
    /// Its beginning or its end.
    pub step: Step,
    /// How many are still to be closed.
    pub left: u32,
    /// How many were.
    pub closed: u32,
}

impl Purpose {
    /// Why a session ends that is closed for it.
    pub fn reason(self) -> EndReason {
        match self {
            Purpose::Rebalance => EndReason::Rebalanced,
            Purpose::Drain => EndReason::Drained,
            Purpose::Removal => EndReason::Removed,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Purpose::Rebalance => "rebalance",
            Purpose::Drain => "drain",
            Purpose::Removal => "removal",
        }
    }
}

impl Step {
    const fn word(self) -> &'static str {
        match self {
            Step::Begun => "begun",
            Step::Done => "done",
            Step::Stopped => "stopped",
        }
    }
}

impl Closing {
    /// Is it one that nobody has asked for by itself? Then a reload has told of it.
    pub(super) fn is_minor(&self) -> bool {
        self.purpose == Purpose::Removal
    }

    pub(super) fn fields(&self) -> Value {
        let names = self.backends.iter().map(|(name, _)| &**name);
        json!({
            "purpose": self.purpose.word(),
            "pool": &*self.pool,
            "backends": names.collect::<Vec<_>>(),
            "rate": self.pace.to_string(),
            "step": self.step.word(),
            "left": self.left,
            "closed": self.closed,
        })
    }
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Closing {
            purpose,
            pool,
            backends,
            pace,
            step,
            left,
            closed,
        } = self;
        let name = backends.first().map_or("", |(name, _)| name);
        match purpose {
            Purpose::Rebalance => write!(f, "rebalance of pool {pool}")?,
            Purpose::Drain => write!(f, "drain of backend {name} (pool {pool})")?,
            Purpose::Removal => write!(f, "removal of backend {name} (pool {pool})")?,
        }
        match step {
            Step::Begun => {
                write!(
                    f,
                    ": {left} connections are to be closed, {pace}, idle ones first"
                )?;
                if *purpose == Purpose::Rebalance {
                    let all = backends.iter().map(|(name, left)| format!("{name} {left}"));
                    write!(f, " ({})", all.collect::<Vec<_>>().join(", "))?;
                }
                Ok(())
            }
            Step::Done => write!(f, " is done: {closed} connections were closed"),
            Step::Stopped => {
                write!(
                    f,
                    " was stopped: {closed} connections were closed, {left} were left"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rate::{Per, Rate};

    #[test]
    fn it_says_whose_sessions_how_many_and_how_fast() {
        let rate = Rate {
            count: 5,
            per: Per::Second,
        };
        let begin = Closing {
            purpose: Purpose::Rebalance,
            pool: "web".into(),
            backends: vec![("a".into(), 8), ("b".into(), 4)],
            pace: Pace::Rate(rate),
            step: Step::Begun,
            left: 12,
            closed: 0,
        };
        assert_eq!(
            begin.to_string(),
            "rebalance of pool web: 12 connections are to be closed, 5/s, idle ones first (a 8, b 4)"
        );
        assert_eq!(begin.fields()["rate"], "5/s");
        let done = Closing {
            step: Step::Done,
            closed: 12,
            ..begin.clone()
        };
        assert_eq!(
            done.to_string(),
            "rebalance of pool web is done: 12 connections were closed"
        );
        let stopped = Closing {
            purpose: Purpose::Drain,
            step: Step::Stopped,
            closed: 2,
            left: 10,
            ..begin
        };
        assert_eq!(
            stopped.to_string(),
            "drain of backend a (pool web) was stopped: 2 connections were closed, 10 were left"
        );
    }
}
