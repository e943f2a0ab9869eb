//! The health thread: owns every health state, orders probes, publishes what they found.
//!
//! It blocks in one place, waiting for the first of: a probe's result, the time of the next probe,
//! the end of the program. It is the only writer of every backend's condition and of every pool's
//! rotation, so no two writers can publish out of order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::convert::Infallible;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};

use super::probe::{self, Outcome};
use crate::config::HealthCheck;
use crate::events::{Event, HealthChange};
use crate::limits::PROBES_AT_ONCE;
use crate::log::Log;
use crate::policy::health::{Health, Machine, Transition};
use crate::policy::{schedule, splitmix};
use crate::pool::{Backend, Condition, Pool};
use crate::threads::{self, Threads};

/// Pause before another probe where one found nothing out: it lacked a thread or a descriptor, or
/// panicked.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What the log calls this thread when it lacks something.
const WHO: &str = "the health check";

/// A backend that is probed.
#[derive(Debug)]
pub struct Target {
    pool: Arc<Pool>,
    backend: Arc<Backend>,
    check: HealthCheck,
    machine: Machine,
    /// When the current probe was due, or the next one is, since the checker's start.
    due: Duration,
    probed_before: bool,
}

impl Target {
    /// A backend of `pool`, probed at once for the first time.
    pub fn new(pool: Arc<Pool>, backend: Arc<Backend>, check: HealthCheck) -> Target {
        let machine = Machine::new(check.rise, check.fall);
        Target {
            pool,
            backend,
            check,
            machine,
            due: Duration::ZERO,
            probed_before: false,
        }
    }

    /// How long one probe of it may take.
    pub fn timeout(&self) -> Duration {
        self.check.timeout
    }
}

/// What a probe's thread tells the checker.
#[derive(Debug)]
enum News {
    /// What it found, for the target at this place.
    Found(usize, Outcome),
    /// It has ended, quiet goodbye included, and its thread is free.
    Ended,
}

/// The sending end that one probe holds. Dropping it says that the probe has ended, even by a
/// panic: then nothing is known, and the target is asked again.
struct Reporter {
    news: Sender<News>,
    place: usize,
    has_found: bool,
}

impl Reporter {
    fn found(&mut self, outcome: Outcome) {
        self.has_found = true;
        // Nobody takes it when the checker has ended.
        let _ = self.news.send(News::Found(self.place, outcome));
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

/// What the health thread owns.
#[derive(Debug)]
pub struct Checker {
    targets: Vec<Target>,
    threads: Threads,
    log: Log,
    epoch: Instant,
    seed: u64,
    /// How many random numbers were used.
    drawn: u64,
    /// Probes that are due later, soonest first: the time, and the target's place.
    waiting: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Probes whose thread has not ended.
    in_flight: u64,
    /// Where probes send their news; a probe gets a clone.
    news_in: Sender<News>,
    news: Receiver<News>,
    /// Targets without a first result; the channel is dropped with the last of them.
    first_round: HashSet<usize>,
    first_round_done: Option<Sender<Infallible>>,
    /// A shortage was logged and has not ended yet.
    short: bool,
    /// A pair of sockets that carries nothing: probes watch one end, and when the checker ends and
    /// closes the other, they see it hang up and end too.
    asker: (Arc<UnixStream>, UnixStream),
}

impl Checker {
    /// A checker of `targets`. `first_round_done` is dropped, which disconnects its channel, when
    /// each target has been probed once.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn new(
        targets: Vec<Target>,
        threads: Threads,
        log: Log,
        seed: u64,
        first_round_done: Sender<Infallible>,
    ) -> io::Result<Checker> {
        let waiting = (0..targets.len())
            .map(|target| Reverse((Duration::ZERO, target)))
            .collect();
        let first_round = (0..targets.len()).collect();
        let (watched, kept) = UnixStream::pair()?;
        let (news_in, news) = crossbeam_channel::unbounded();
        Ok(Checker {
            targets,
            threads,
            log,
            epoch: Instant::now(),
            seed,
            drawn: 0,
            waiting,
            in_flight: 0,
            news_in,
            news,
            first_round,
            first_round_done: Some(first_round_done),
            short: false,
            asker: (Arc::new(watched), kept),
        })
    }

    /// Probes until `stop` is disconnected. Probes that are still running then end by themselves.
    pub fn run(mut self, stop: &Receiver<Infallible>) {
        if self.targets.is_empty() {
            self.first_round_done = None;
        }
        threads::keep_going(|| {
            let wake = self.start_due_probes();
            let news = self.news.clone();
            select! {
                recv(stop) -> _ => return ControlFlow::Break(()),
                recv(news) -> first => match first {
                    Ok(first) => self.take_news(first),
                    Err(_) => return ControlFlow::Break(()),
                },
                recv(wake.map_or_else(never, crossbeam_channel::at)) -> _ => {}
            }
            ControlFlow::Continue(())
        });
    }

    /// Starts every probe whose time has come, as many as may run at once, and says when to look
    /// again; `None`: when a result comes.
    fn start_due_probes(&mut self) -> Option<Instant> {
        let now = self.epoch.elapsed();
        while self.in_flight < PROBES_AT_ONCE {
            let Reverse((due, target)) = *self.waiting.peek()?;
            if due > now {
                return Some(self.epoch + due);
            }
            match self.start(target) {
                Ok(()) => {
                    self.waiting.pop();
                    self.in_flight += 1;
                }
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

    fn start(&self, place: usize) -> io::Result<()> {
        let Some(target) = self.targets.get(place) else {
            return Ok(());
        };
        let seat = self.threads.reserve()?;
        let name = threads::name_of("probe ", &target.backend.name);
        let (address, check) = (target.backend.address, target.check.clone());
        let mut reporter = Reporter {
            news: self.news_in.clone(),
            place,
            has_found: false,
        };
        let asker = Arc::clone(&self.asker.0);
        seat.start(move || {
            threads::set_name(&name);
            let report = |outcome| reporter.found(outcome);
            probe::run(&check.probe, address, check.timeout, asker.as_fd(), report);
        });
        Ok(())
    }

    /// Takes in some news and all that is there already, then publishes once per pool: when
    /// thousands of backends change at the same moment, the rotation is built a few times, not
    /// thousands of times.
    fn take_news(&mut self, first: News) {
        let mut changed: Vec<(usize, Transition, String)> = Vec::new();
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                News::Found(place, outcome) => changed.extend(self.observe(place, outcome)),
                News::Ended => self.in_flight -= 1,
            }
            next = self.news.try_recv().ok();
        }
        let mut published = HashSet::new();
        for pool in changed
            .iter()
            .filter_map(|(place, ..)| Some(&self.targets.get(*place)?.pool))
        {
            if published.insert(Arc::as_ptr(pool)) {
                pool.publish();
            }
        }
        for (place, transition, reason) in changed {
            self.report(place, transition, reason);
        }
        if self.first_round.is_empty() {
            self.first_round_done = None;
        }
    }

    /// Writes what one result means for its backend, and plans the next probe.
    fn observe(&mut self, place: usize, outcome: Outcome) -> Option<(usize, Transition, String)> {
        let now = self.epoch.elapsed();
        let (good, reason) = match outcome {
            Outcome::Good => (true, "connected".to_owned()),
            Outcome::Bad(reason) => (false, reason),
            Outcome::NoLocalPort(reason) if !self.is_up(place) => (false, reason),
            Outcome::NotAsked(error) | Outcome::NoLocalPort(error) => {
                self.report_shortage(Event::SocketRefused {
                    by: WHO.into(),
                    error,
                });
                self.waiting.push(Reverse((now + RETRY_PAUSE, place)));
                return None;
            }
            Outcome::BrokenOff => {
                self.waiting.push(Reverse((now + RETRY_PAUSE, place)));
                return None;
            }
        };
        self.short = false;
        self.first_round.remove(&place);
        self.drawn += 1;
        let random = splitmix::nth(self.seed, self.drawn);
        let target = self.targets.get_mut(place)?;
        let check = &target.check;
        target.due = if target.probed_before {
            schedule::next_probe(target.due, now, check.interval, check.jitter, random)
        } else {
            schedule::second_probe(target.due, check.interval, random).max(now)
        };
        target.probed_before = true;
        self.waiting.push(Reverse((target.due, place)));
        let transition = target.machine.observe(good)?;
        target.backend.set_condition(Condition {
            health: transition.to,
            reason: reason.as_str().into(),
        });
        Some((place, transition, reason))
    }

    fn is_up(&self, place: usize) -> bool {
        self.targets
            .get(place)
            .is_some_and(|target| target.machine.health() == Health::Up)
    }

    fn report(&self, place: usize, transition: Transition, reason: String) {
        let Some(target) = self.targets.get(place) else {
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
mod tests {
    use super::*;
    use crate::config::{self, BackendAddress};
    use crate::policy::health::AdminState;

    #[test]
    fn local_ports_that_ran_out_take_no_backend_down() {
        let address = ([127, 0, 0, 1], 9).into();
        let check = HealthCheck {
            fall: 1,
            ..HealthCheck::default()
        };
        let of_config = config::Pool::new(
            "web",
            vec![config::Backend::new(BackendAddress::Ip(address))],
        );
        let backend = Arc::new(Backend::new(
            "a",
            address,
            1,
            AdminState::Ready,
            Health::Starting,
        ));
        let pool = Arc::new(Pool::new(&of_config, vec![Arc::clone(&backend)], 1));
        let (log, log_thread) = Log::start(&config::Log::default(), io::sink()).unwrap();
        let mut checker = Checker::new(
            vec![Target::new(pool, backend, check)],
            Threads::default(),
            log,
            1,
            crossbeam_channel::bounded(0).0,
        )
        .unwrap();
        let mut health_after = |outcome| {
            checker.observe(0, outcome);
            checker.targets[0].machine.health()
        };
        assert_eq!(health_after(Outcome::Good), Health::Up);
        let no_port = || Outcome::NoLocalPort("no port left".to_owned());
        assert_eq!(health_after(no_port()), Health::Up);
        assert_eq!(health_after(Outcome::Bad(String::new())), Health::Down);
        assert_eq!(health_after(no_port()), Health::Down);
        log_thread.finish();
    }
}
