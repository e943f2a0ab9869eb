//! The health thread: owns every health state, orders probes, publishes what they found.
//!
//! It blocks in one place, waiting for the first of: a probe's result, the time of the next probe, an
//! order that changes what is probed, the end of the program. It is the only writer of every backend's
//! condition.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};

use super::agenda::Agenda;
use super::ejections::{Ejections, Suspect};
use super::probe::{self, Outcome};
use super::target::{All, Order};
use crate::events::{Ejection, Event, HealthChange};
use crate::limits::PROBES_AT_ONCE;
use crate::log::Log;
use crate::policy::health::{Health, Transition};
use crate::policy::{schedule, splitmix};
use crate::pool::{Condition, Pool};
use crate::stats::Stats;
use crate::threads::{self, Threads};

/// Pause before another probe where one found nothing out: it lacked a thread or a descriptor, or
/// panicked.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What the log calls this thread when it lacks something.
const WHO: &str = "the health check";

/// What a probe's thread tells the checker.
#[derive(Debug)]
enum News {
    /// What it found, for the target with this number.
    Found(u64, Outcome),
    /// It has ended, quiet goodbye included, and its thread is free.
    Ended,
}

/// The sending end that one probe holds. Dropping it says that the probe has ended, even by a
/// panic: then nothing is known, and the target is asked again.
struct Reporter {
    news: Sender<News>,
    target: u64,
    has_found: bool,
}

impl Reporter {
    fn found(&mut self, outcome: Outcome) {
        self.has_found = true;
        // Nobody takes it when the checker has ended.
        let _ = self.news.send(News::Found(self.target, outcome));
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if !self.has_found {
            self.found(Outcome::BrokenOff);
        }
        let _ = self.news.send(News::Ended);
    }
}

/// Targets of which somebody waits for the first result.
#[derive(Debug)]
struct Round {
    missing: HashSet<u64>,
    /// Dropped with the last of them.
    _done: Sender<Infallible>,
}

/// How the health thread is told and tells.
#[derive(Debug)]
pub struct Channels {
    /// What to probe. It ends with the last who can send here.
    pub orders: Receiver<Order>,
    /// Backends to which real connections fail.
    pub suspects: Receiver<Suspect>,
    /// Takes a message when a pool is served otherwise than before.
    pub mode_changed: Sender<()>,
}

/// What the health thread owns.
#[derive(Debug)]
pub struct Checker {
    agenda: Agenda,
    ejections: Ejections,
    channels: Channels,
    threads: Threads,
    log: Log,
    stats: Arc<Stats>,
    epoch: Instant,
    seed: u64,
    /// How many random numbers were used.
    drawn: u64,
    /// Probes whose thread has not ended.
    in_flight: u64,
    /// Where probes send their news; a probe gets a clone.
    news_in: Sender<News>,
    news: Receiver<News>,
    rounds: Vec<Round>,
    /// A shortage was logged and has not ended yet.
    short: bool,
    /// A pair of sockets that carries nothing: probes watch one end, and when the checker ends and
    /// closes the other, they see it hang up and end too.
    asker: (Arc<UnixStream>, UnixStream),
}

impl Checker {
    /// A checker that is told by these channels what to do.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn new(
        channels: Channels,
        threads: Threads,
        log: Log,
        stats: Arc<Stats>,
        seed: u64,
    ) -> io::Result<Checker> {
        let (watched, kept) = UnixStream::pair()?;
        let (news_in, news) = crossbeam_channel::unbounded();
        Ok(Checker {
            agenda: Agenda::default(),
            ejections: Ejections::default(),
            channels,
            threads,
            log,
            stats,
            epoch: Instant::now(),
            seed,
            drawn: 0,
            in_flight: 0,
            news_in,
            news,
            rounds: Vec::new(),
            short: false,
            asker: (Arc::new(watched), kept),
        })
    }

    /// Probes until nobody can give orders any more. Probes that are still running then end by
    /// themselves.
    pub fn run(mut self) {
        threads::keep_going(|| {
            self.let_in_due();
            let next_end = self.ejections.next().map(|at| self.epoch + at);
            let wake = self.start_due_probes().into_iter().chain(next_end).min();
            let (orders, news) = (self.channels.orders.clone(), self.news.clone());
            let suspects = self.channels.suspects.clone();
            select! {
                recv(orders) -> order => match order {
                    Ok(order) => self.obey(order),
                    Err(_) => return ControlFlow::Break(()),
                },
                recv(news) -> first => match first {
                    Ok(first) => self.take_news(first),
                    Err(_) => return ControlFlow::Break(()),
                },
                recv(suspects) -> suspect => match suspect {
                    Ok(suspect) => self.eject(suspect),
                    // Nobody is left who could report one.
                    Err(_) => self.channels.suspects = never(),
                },
                recv(wake.map_or_else(never, crossbeam_channel::at)) -> _ => {}
            }
            ControlFlow::Continue(())
        });
    }

    fn obey(&mut self, order: Order) {
        let now = self.epoch.elapsed();
        match order {
            Order::Add(targets, done) => {
                let add = |target| self.agenda.add(target, now);
                self.rounds.push(Round {
                    missing: targets.into_iter().map(add).collect(),
                    _done: done,
                });
            }
            Order::Replace(All {
                pools,
                targets,
                unprobed,
            }) => {
                self.agenda.replace(targets, now);
                self.ejections.keep(&pools);
                for (backend, condition) in unprobed {
                    if backend.health() != condition.health {
                        backend.set_condition(condition);
                    }
                }
                // Whoever has ordered this has published these pools before the last result came in.
                for pool in pools {
                    self.publish(&pool);
                }
                for round in &mut self.rounds {
                    let is_there = |number: &u64| self.agenda.get(*number).is_some();
                    round.missing.retain(is_there);
                }
            }
        }
        self.end_rounds();
    }

    fn end_rounds(&mut self) {
        self.rounds.retain(|round| !round.missing.is_empty());
    }

    /// Starts every probe whose time has come, as many as may run at once, and says when to look
    /// again; `None`: when a result or an order comes.
    fn start_due_probes(&mut self) -> Option<Instant> {
        let now = self.epoch.elapsed();
        while self.in_flight < PROBES_AT_ONCE {
            let (due, number) = self.agenda.next()?;
            if due > now {
                return Some(self.epoch + due);
            }
            match self.start(number) {
                Ok(()) => self.in_flight += 1,
                Err(error) => {
                    self.report_shortage(Event::ThreadRefused {
                        by: WHO.into(),
                        error: error.to_string(),
                    });
                    return Some(Instant::now() + RETRY_PAUSE);
                }
            }
        }
        None
    }

    fn start(&mut self, number: u64) -> io::Result<()> {
        let Some(target) = self.agenda.get_mut(number) else {
            return Ok(());
        };
        let seat = self.threads.reserve()?;
        target.in_flight = true;
        let name = threads::name_of("probe ", &target.backend.name);
        let task = target.task();
        let mut reporter = Reporter {
            news: self.news_in.clone(),
            target: number,
            has_found: false,
        };
        let asker = Arc::clone(&self.asker.0);
        seat.start(move || {
            threads::set_name(&name);
            let report = |outcome| reporter.found(outcome);
            probe::run(&task, asker.as_fd(), report);
        });
        Ok(())
    }

    /// Takes in some news and all that is there already, then publishes once per pool: when
    /// thousands of backends change at the same moment, the rotation is built a few times, not
    /// thousands of times.
    fn take_news(&mut self, first: News) {
        let mut changed: Vec<(u64, Transition, String)> = Vec::new();
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                News::Found(number, outcome) => changed.extend(self.observe(number, outcome)),
                News::Ended => self.in_flight -= 1,
            }
            next = self.news.try_recv().ok();
        }
        let mut published = HashSet::new();
        for pool in changed
            .iter()
            .filter_map(|(number, ..)| Some(&self.agenda.get(*number)?.pool))
        {
            if published.insert(Arc::as_ptr(pool)) {
                self.publish(pool);
            }
        }
        for (number, transition, reason) in changed {
            self.report(number, transition, reason);
        }
        self.end_rounds();
    }

    /// Writes what one result means for its backend, and plans the next probe.
    fn observe(&mut self, number: u64, outcome: Outcome) -> Option<(u64, Transition, String)> {
        let now = self.epoch.elapsed();
        // None: a reload has removed it meanwhile.
        let target = self.agenda.get_mut(number)?;
        target.in_flight = false;
        let is_up = target.machine.health() == Health::Up;
        let (good, reason) = match outcome {
            Outcome::Good => (true, "connected".to_owned()),
            Outcome::Bad(reason) => (false, reason),
            Outcome::NoLocalPort(reason) if !is_up => (false, reason),
            Outcome::NotAsked(error) | Outcome::NoLocalPort(error) => {
                self.agenda.plan(number, now + RETRY_PAUSE);
                self.report_shortage(Event::SocketRefused {
                    by: WHO.into(),
                    error,
                });
                return None;
            }
            Outcome::BrokenOff => {
                self.agenda.plan(number, now + RETRY_PAUSE);
                return None;
            }
        };
        let count = match good {
            true => &self.stats.probes_good,
            false => &self.stats.probes_bad,
        };
        count.increment();
        self.short = false;
        for round in &mut self.rounds {
            round.missing.remove(&number);
        }
        self.drawn += 1;
        let random = splitmix::nth(self.seed, self.drawn);
        let check = &target.check;
        target.due = if target.probed_before {
            schedule::next_probe(target.due, now, check.interval, check.jitter, random)
        } else {
            schedule::second_probe(target.due, check.interval, random).max(now)
        };
        target.probed_before = true;
        let (due, transition) = (target.due, target.machine.observe(good));
        let backend = Arc::clone(&target.backend);
        if let Some(transition) = transition {
            let condition = Condition::new(transition.to, &reason);
            target.backend.set_condition(condition);
        }
        self.agenda.plan(number, due);
        if good {
            let back = self.ejections.found_well(&backend, now);
            self.announce(back);
        }
        Some((number, transition?, reason))
    }

    fn eject(&mut self, suspect: Suspect) {
        let ejected = self.ejections.eject(suspect, self.epoch.elapsed());
        self.announce(ejected);
    }

    fn let_in_due(&mut self) {
        let back = self.ejections.let_in_due(self.epoch.elapsed());
        self.announce(back);
    }

    /// Publishes what has changed, and tells the log.
    fn announce(&self, changed: impl IntoIterator<Item = (Arc<Pool>, Ejection)>) {
        for (pool, ejection) in changed {
            self.publish(&pool);
            self.log.send(Event::Ejection(ejection));
        }
    }

    fn publish(&self, pool: &Pool) {
        if super::publish(pool, &self.log) {
            // A message that waits already says it, too; a server that is gone needs none.
            let _ = self.channels.mode_changed.try_send(());
        }
    }

    fn report(&self, number: u64, transition: Transition, reason: String) {
        let Some(target) = self.agenda.get(number) else {
            return;
        };
        let up = transition.to == Health::Up;
        self.log.send(Event::HealthChanged(HealthChange {
            pool: Arc::clone(&target.pool.name),
            backend: Arc::clone(&target.backend.name),
            address: target.backend.address,
            up,
            first: up && transition.from == Health::Starting,
            reason,
            streak: transition.streak,
            up_count: target.pool.up_count(),
            total: target.pool.backends.len(),
        }));
    }

    fn report_shortage(&mut self, shortage: Event) {
        if !self.short {
            self.short = true;
            self.log.send(shortage);
        }
    }
}

#[cfg(test)]
mod tests;
