//! One order: whose sessions are closed, how many of them, how fast, and how far that has come.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::events::{Closing, EndReason, Purpose, Step};
use crate::policy::closing::{Candidate, Pace, Pacer, in_order};
use crate::policy::health::AdminState;
use crate::pool::Backend;
use crate::registry::Live;

/// An order to close sessions little by little.
#[derive(Debug)]
pub struct Order {
    /// Tells it from one that has taken its place.
    pub(super) number: u64,
    pub(super) purpose: Purpose,
    pub(super) pool: Arc<str>,
    pub(super) quotas: Vec<Quota>,
    pub(super) pacer: Pacer,
    idle_for: Duration,
    /// How many were left at the last look.
    pub(super) left: u32,
    /// How many it has closed.
    pub(super) closed: u32,
}

/// How many sessions of a backend are to be closed.
#[derive(Debug)]
pub(super) struct Quota {
    pub(super) backend: Arc<Backend>,
    /// It may keep so many.
    keep: u32,
    /// No more than so many are closed, however many come again.
    most: u32,
    /// How many are to be closed now.
    left: u32,
}

/// The live sessions, oldest first, with how long nothing has moved, by the backend.
pub(super) type Sessions<'a> = HashMap<*const Backend, Vec<&'a (Arc<Live>, Duration)>>;

/// What an order may close now.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) number: u64,
    reason: EndReason,
    /// At most so many.
    count: u32,
    /// How many may be closed of each backend.
    left: Vec<u32>,
    /// In the order in which they are tried, each with its backend's place.
    candidates: Vec<(usize, Arc<Live>)>,
}

impl Order {
    /// To close what these backends have too many: (backend, how many it has, how many are too many).
    pub fn rebalance(
        pool: &Arc<str>,
        excess: &[(&Arc<Backend>, u32, u32)],
        (pace, idle_for): (Pace, Duration),
        now: Duration,
    ) -> Order {
        let quota = |(backend, has, excess): &(&Arc<Backend>, u32, u32)| Quota {
            backend: Arc::clone(backend),
            keep: has - excess,
            most: *excess,
            left: *excess,
        };
        let quotas = excess.iter().map(quota).collect();
        Order::new(Purpose::Rebalance, pool, quotas, (pace, idle_for), now)
    }

    /// To close all sessions of a backend that takes no new ones.
    pub fn emptying(
        purpose: Purpose,
        pool: &Arc<str>,
        backend: &Arc<Backend>,
        (pace, idle_for): (Pace, Duration),
        now: Duration,
    ) -> Order {
        let quota = Quota {
            backend: Arc::clone(backend),
            keep: 0,
            most: u32::MAX,
            left: backend.active.get(),
        };
        Order::new(purpose, pool, vec![quota], (pace, idle_for), now)
    }

    fn new(
        purpose: Purpose,
        pool: &Arc<str>,
        quotas: Vec<Quota>,
        (pace, idle_for): (Pace, Duration),
        now: Duration,
    ) -> Order {
        Order {
            number: 0,
            purpose,
            pool: Arc::clone(pool),
            left: quotas.iter().map(|quota| quota.left).sum(),
            quotas,
            pacer: Pacer::new(pace, now),
            idle_for,
            closed: 0,
        }
    }

    /// The only backend of an order that is for one.
    pub(super) fn is_for(&self, backend: &Arc<Backend>) -> bool {
        let [only] = self.quotas.as_slice() else {
            return false;
        };
        self.purpose != Purpose::Rebalance && Arc::ptr_eq(&only.backend, backend)
    }

    /// What there is to do of it at `now`.
    pub(super) fn due(&mut self, sessions: &Sessions<'_>, now: Duration) -> Due {
        for quota in &mut self.quotas {
            let of_backend = sessions.get(&Arc::as_ptr(&quota.backend));
            let count = of_backend.map_or(0, |all| u32::try_from(all.len()).unwrap_or(u32::MAX));
            quota.left = count.saturating_sub(quota.keep).min(quota.most);
        }
        self.left = self.quotas.iter().map(|quota| quota.left).sum();
        let count = self.pacer.due(self.left, now);
        let mut candidates = Vec::new();
        if count > 0 {
            let quotas = self.quotas.iter().enumerate();
            let mut all: Vec<Candidate<(usize, &Arc<Live>)>> = quotas
                .filter(|(_, quota)| quota.left > 0)
                .filter_map(|(place, quota)| {
                    Some((place, sessions.get(&Arc::as_ptr(&quota.backend))?))
                })
                .flat_map(|(place, all)| {
                    all.iter().map(move |(live, silence)| Candidate {
                        what: (place, live),
                        silence: *silence,
                    })
                })
                .collect();
            all.sort_by_key(|one| one.what.1.origin.id);
            // Who is not idle when its backend is removed has all the time that is left.
            let only_idle = self.purpose == Purpose::Removal;
            let in_order = in_order(all, self.idle_for, only_idle);
            candidates = in_order
                .map(|(place, live)| (place, Arc::clone(live)))
                .collect();
        }
        Due {
            number: self.number,
            reason: self.purpose.reason(),
            count,
            left: self.quotas.iter().map(|quota| quota.left).collect(),
            candidates,
        }
    }

    /// Takes down what was closed of it, of each backend; says what the log is to hear of it when it is over.
    pub(super) fn book(&mut self, closed: &[u32], now: Duration) -> Option<Closing> {
        let count: u32 = closed.iter().sum();
        self.pacer.closed(count, self.left, now);
        for (quota, closed) in self.quotas.iter_mut().zip(closed) {
            quota.most = quota.most.saturating_sub(*closed);
            quota.left = quota.left.saturating_sub(*closed);
        }
        self.left = self.left.saturating_sub(count);
        self.closed += count;
        match self.purpose {
            Purpose::Rebalance if self.left == 0 => Some(self.over(Step::Done)),
            // The config, too, may have taken the backend back.
            Purpose::Drain if !self.is_drained() => Some(self.over(Step::Stopped)),
            // A session that is connecting is in no list yet.
            Purpose::Drain | Purpose::Removal if self.left == 0 && self.holds_nothing() => {
                Some(self.over(Step::Done))
            }
            _ => None,
        }
    }

    fn is_drained(&self) -> bool {
        let state = |quota: &Quota| quota.backend.intent().current().state;
        self.quotas
            .iter()
            .all(|quota| state(quota) == AdminState::Drain)
    }

    fn holds_nothing(&self) -> bool {
        self.quotas
            .iter()
            .all(|quota| quota.backend.active.get() == 0)
    }

    /// What the log is to hear of it.
    pub(super) fn over(&self, step: Step) -> Closing {
        let names = self
            .quotas
            .iter()
            .map(|quota| (Arc::clone(&quota.backend.name), quota.left));
        Closing {
            purpose: self.purpose,
            pool: Arc::clone(&self.pool),
            backends: names.collect(),
            pace: self.pacer.pace(),
            step,
            left: self.left,
            closed: self.closed,
        }
    }
}

impl Due {
    /// Closes them, those first that come first, if nothing is on their way; says how many of each backend.
    pub(super) fn close(mut self) -> Vec<u32> {
        let mut closed = vec![0; self.left.len()];
        for (place, live) in self.candidates {
            if self.count == 0 {
                break;
            }
            let (Some(left), Some(closed)) = (self.left.get_mut(place), closed.get_mut(place))
            else {
                continue;
            };
            // Another order, or the session itself, may have been faster.
            if *left > 0 && live.cause().is_none() && live.is_quiet() {
                live.set_cause(self.reason);
                live.finish();
                *left -= 1;
                *closed += 1;
                self.count -= 1;
            }
        }
        closed
    }
}
