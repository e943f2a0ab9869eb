//! What is probed next: all targets, and the times of their probes. It looks at no clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::target::{Duty, Target};
use crate::policy::health::Health;
use crate::pool::{Backend, Condition};

/// All targets with the times of their next probes, counted from the checker's start.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// By a number that no other target ever had: a probe's result may come after its target is gone.
    targets: HashMap<u64, Target>,
    next_number: u64,
    /// Probes that are due later, soonest first: the time, and the target's number. An entry whose
    /// target is gone, in flight, or has another time by now is passed over.
    waiting: BinaryHeap<Reverse<(Duration, u64)>>,
}

impl Agenda {
    pub(super) fn get(&self, number: u64) -> Option<&Target> {
        self.targets.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Target> {
        self.targets.get_mut(&number)
    }

    /// Adds a target that is to be probed at once, and says its number.
    pub(super) fn add(&mut self, mut target: Target, now: Duration) -> u64 {
        if let Duty::Probe { .. } = target.duty {
            // What was known of it, if anything, is old: it was not probed until now.
            let unknown = Condition::unprobed(Health::Starting);
            target.backend.set_condition(unknown);
        }
        let number = self.next_number;
        self.next_number += 1;
        target.due = now;
        self.targets.insert(number, target);
        self.plan(number, now);
        number
    }

    /// Plans the next probe of a target that is not being probed.
    pub(super) fn plan(&mut self, number: u64, at: Duration) {
        if let Some(target) = self.targets.get_mut(&number) {
            target.next = at;
            self.waiting.push(Reverse((at, number)));
        }
    }

    /// The target whose turn is the next, and when; it stays the next until it is in flight or has
    /// another time.
    pub(super) fn next(&mut self) -> Option<(Duration, u64)> {
        loop {
            let Reverse((due, number)) = *self.waiting.peek()?;
            let is_current = |target: &Target| target.next == due && !target.in_flight;
            if self.get(number).is_some_and(is_current) {
                return Some((due, number));
            }
            self.waiting.pop();
        }
    }

    /// Keeps those of its targets that are in `targets`, with their health and their turn, and adds
    /// the others of these.
    pub(super) fn replace(&mut self, targets: Vec<Target>, now: Duration) {
        let mut old: HashMap<(*const Backend, bool), (u64, Target)> = self
            .targets
            .drain()
            .map(|(number, target)| (target.key(), (number, target)))
            .collect();
        // Those that wait are planned anew, and would wait there twice.
        self.waiting.clear();
        for new in targets {
            if let Some((number, mut target)) = old.remove(&new.key()) {
                target.adjust(new, now);
                let (next, is_waiting) = (target.next, !target.in_flight);
                self.targets.insert(number, target);
                if is_waiting {
                    self.plan(number, next);
                }
            } else {
                self.add(new, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, BackendAddress, HealthCheck};
    use crate::policy::health::AdminState;
    use crate::pool::Pool;
    use std::sync::Arc;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn backend() -> Arc<Backend> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        Arc::new(Backend::new(
            "a",
            address,
            1,
            AdminState::Ready,
            Health::Starting,
        ))
    }

    fn target(backend: &Arc<Backend>, interval: u64) -> Target {
        let server = config::Backend::new(BackendAddress::Ip(backend.address.ip().unwrap()));
        let config = config::Pool::new("web", vec![server]);
        let pool = Arc::new(Pool::new(&config, vec![Arc::clone(backend)], 1));
        let check = HealthCheck {
            interval: at(interval),
            ..HealthCheck::default()
        };
        Target::new(pool, Arc::clone(backend), check)
    }

    #[test]
    fn who_is_in_flight_or_was_given_another_time_is_passed_over() {
        let mut agenda = Agenda::default();
        let (one, other) = (
            agenda.add(target(&backend(), 2), at(0)),
            agenda.add(target(&backend(), 2), at(1)),
        );
        assert_eq!(agenda.next(), Some((at(0), one)));
        agenda.get_mut(one).unwrap().in_flight = true;
        assert_eq!(agenda.next(), Some((at(1), other)));
        agenda.plan(other, at(9));
        assert_eq!(agenda.next(), Some((at(9), other)));
        agenda.get_mut(one).unwrap().in_flight = false;
        agenda.plan(one, at(3));
        assert_eq!(agenda.next(), Some((at(3), one)));
    }

    #[test]
    fn however_often_it_is_replaced_each_target_waits_once() {
        let mut agenda = Agenda::default();
        let backends = [backend(), backend()];
        for _ in 0..100 {
            let targets = backends.iter().map(|backend| target(backend, 3600));
            agenda.replace(targets.collect(), at(0));
        }
        assert_eq!(agenda.waiting.len(), backends.len());
    }

    #[test]
    fn a_target_that_stays_keeps_its_health_and_turn_and_a_shorter_interval_counts_at_once() {
        let mut agenda = Agenda::default();
        let (stays, goes) = (backend(), backend());
        let number = agenda.add(target(&stays, 100), at(0));
        let gone = agenda.add(target(&goes, 100), at(0));
        {
            let target = agenda.get_mut(number).unwrap();
            let Duty::Probe { machine, .. } = &mut target.duty else {
                unreachable!("it is probed");
            };
            machine.observe(true);
            target.probed_before = true;
            target.due = at(100);
        }
        agenda.plan(number, at(100));

        agenda.replace(vec![target(&stays, 200)], at(10));
        assert_eq!(agenda.next(), Some((at(100), number)));
        assert!(agenda.get(gone).is_none());
        assert!(agenda.get(number).unwrap().is_up());

        let new = backend();
        agenda.replace(vec![target(&stays, 5), target(&new, 5)], at(20));
        let (due, added) = agenda.next().unwrap();
        assert_eq!(due, at(20));
        assert!(added != number && added != gone);
        agenda.get_mut(added).unwrap().in_flight = true;
        assert_eq!(agenda.next(), Some((at(25), number)));
    }
}
