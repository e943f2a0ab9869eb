//! The health thread: owns every health state, orders probes, publishes what they found.
//!
//! It blocks in one place, waiting for the first of: a probe's result, the time of the next probe, an
//! order that changes what is probed, the end of the program. It is the only writer of every backend's
//! condition.

use std::collections::{HashMap, HashSet};
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
use super::findings::{self, Finding};
use super::lateness::Lateness;
use super::news::{News, Reporter};
use super::probe::{self, Outcome};
use super::target::{All, Order};
use crate::config::OnDown;
use crate::events::{Ejection, Event, Shortage};
use crate::limits::PROBES_AT_ONCE;
use crate::log::Log;
use crate::policy::intent::Intent;
use crate::policy::splitmix;
use crate::pool::{Backend, Condition, Pool};
use crate::stats::Stats;
use crate::threads::{self, Threads};

/// Pause before another probe where one found nothing out: it lacked a thread or a descriptor, or
/// panicked.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What the log calls this thread when it lacks something.
const WHO: &str = "the health check";

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
    /// Takes each backend that goes down in a pool whose sessions are not to go on then.
    pub went_down: Sender<Arc<Backend>>,
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
    lateness: Lateness,
    /// Probes that are due wait for others to end: as many as allowed are in flight.
    is_full: bool,
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
            lateness: Lateness::default(),
            is_full: false,
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
                unadvised,
            }) => {
                self.agenda.replace(targets, now);
                for backend in unadvised {
                    if backend.agent_report().is_some() {
                        backend.set_agent_report(None);
                        backend.change_intent(Intent::unadvised);
                    }
                }
                self.ejections.keep(&pools);
                for (backend, condition) in unprobed {
                    let found = backend.found();
                    if found.health != condition.health {
                        backend.set_condition(condition);
                    } else if found.reason != condition.reason {
                        let since = found.since;
                        backend.set_condition(Condition { since, ..condition });
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
                self.is_full = false;
                return Some(self.epoch + due);
            }
            match self.start(number) {
                Ok(has_started) => self.in_flight += u64::from(has_started),
                Err(error) => {
                    self.report_shortage(Shortage::ThreadRefused {
                        by: WHO.into(),
                        error: error.to_string(),
                    });
                    return Some(Instant::now() + RETRY_PAUSE);
                }
            }
        }
        self.is_full = true;
        None
    }

    /// Starts the probe of a target, unless it is not to be probed now; says whether it has.
    fn start(&mut self, number: u64) -> io::Result<bool> {
        let now = self.epoch.elapsed();
        let Some(target) = self.agenda.get_mut(number) else {
            return Ok(false);
        };
        if target.is_resting() {
            let later = now + target.interval();
            self.agenda.plan(number, later);
            // Nobody waits for a first probe that is none.
            for round in &mut self.rounds {
                round.missing.remove(&number);
            }
            self.end_rounds();
            return Ok(false);
        }
        let seat = self.threads.reserve()?;
        target.in_flight = true;
        // All first probes are due at once, which nobody can keep up with, and need not.
        if target.probed_before {
            let late = now.saturating_sub(target.next);
            self.stats.probe_delay.observe(late);
            // A machine that was busy for a moment is late as well, and no other interval helps.
            if self.is_full
                && let Some(late) = self.lateness.observe(now, late, target.interval())
            {
                self.log.send(Shortage::ProbesLate { late });
            }
        }
        let name = threads::name_of("probe ", &target.backend.name);
        let task = target.task();
        let mut reporter = Reporter::new(self.news_in.clone(), number);
        let asker = Arc::clone(&self.asker.0);
        seat.start(move || {
            threads::set_name(&name);
            let report = |outcome| reporter.found(outcome);
            probe::run(&task, asker.as_fd(), report);
        });
        Ok(true)
    }

    /// Takes in some news and all that is there already, then publishes once per pool: when
    /// thousands of backends change at the same moment, the rotation is built a few times, not
    /// thousands of times.
    fn take_news(&mut self, first: News) {
        let mut findings: Vec<(u64, Finding)> = Vec::new();
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                News::Found(number, outcome) => {
                    let finding = self.observe(number, outcome);
                    findings.extend(finding.map(|finding| (number, finding)));
                }
                News::Ended => self.in_flight -= 1,
            }
            next = self.news.try_recv().ok();
        }
        let mut published = HashMap::new();
        let targets = findings
            .iter()
            .filter_map(|(number, _)| self.agenda.get(*number));
        let pools: Vec<Arc<Pool>> = targets.map(|target| Arc::clone(&target.pool)).collect();
        for pool in &pools {
            published.entry(Arc::as_ptr(pool)).or_insert_with(|| {
                self.publish(pool);
                // Counted once, too: the sum over a large pool for each of its backends takes seconds.
                pool.up_count()
            });
        }
        for (number, Finding { said, change }) in findings {
            if let Some(event) = said {
                self.log.send(event);
            }
            let (Some(change), Some(target)) = (change, self.agenda.get(number)) else {
                continue;
            };
            let up_count = published.get(&Arc::as_ptr(&target.pool));
            if !change.up && target.pool.config.on_down == OnDown::Close {
                // It fails only if the server is gone, and its sessions with it.
                let _ = self.channels.went_down.send(Arc::clone(&target.backend));
            }
            let up_count = up_count.copied().unwrap_or_default();
            self.log.send(change.event(target, up_count));
        }
        self.end_rounds();
    }

    /// Writes what one result means for its backend, and plans the next probe. `None`: nothing is
    /// otherwise now; else, the pool is to be published and these are to be logged.
    fn observe(&mut self, number: u64, outcome: Outcome) -> Option<Finding> {
        let now = self.epoch.elapsed();
        // None: a reload has removed it meanwhile.
        let target = self.agenda.get_mut(number)?;
        target.in_flight = false;
        let answer = match outcome {
            Outcome::Good(reason) => Ok(reason),
            Outcome::Bad(reason) => Err(reason),
            Outcome::NoLocalPort(reason) if !target.is_up() => Err(reason),
            Outcome::NotAsked(error) | Outcome::NoLocalPort(error) => {
                self.agenda.plan(number, now + RETRY_PAUSE);
                self.report_shortage(Shortage::SocketRefused {
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
        self.short = false;
        for round in &mut self.rounds {
            round.missing.remove(&number);
        }
        self.drawn += 1;
        let random = splitmix::nth(self.seed, self.drawn);
        let backend = Arc::clone(&target.backend);
        let is_well = answer.is_ok() && target.shows_connections();
        let finding = findings::take(target, answer, &self.stats);
        target.set_next_due(now, random);
        let due = target.due;
        self.agenda.plan(number, due);
        if is_well {
            let back = self.ejections.found_well(&backend, now);
            self.announce(back);
        }
        finding
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
    fn announce(&mut self, changed: impl IntoIterator<Item = (Arc<Pool>, Ejection)>) {
        for (pool, ejection) in changed {
            self.publish(&pool);
            self.log.send(Event::Ejection(ejection));
        }
    }

    fn publish(&mut self, pool: &Pool) {
        for ejection in self.ejections.spare(pool, self.epoch.elapsed()) {
            self.log.send(Event::Ejection(ejection));
        }
        if super::publish(pool, &self.log) {
            // A message that waits already says it, too; a server that is gone needs none.
            let _ = self.channels.mode_changed.try_send(());
        }
    }

    fn report_shortage(&mut self, shortage: Shortage) {
        if !self.short {
            self.short = true;
            self.log.send(shortage);
        }
    }
}

#[cfg(test)]
mod tests;
