//! Pools: which backends there are, which of them can take a session, and who gets the next one.
//!
//! A pool's backends never move once it is built; a reload builds a new pool, with the backends that
//! stay. What changes is what is *published* about them: whoever writes what is known or wanted of a
//! backend then publishes a new rotation of those that can serve; sessions look at the rotation,
//! pick, and hold a [`Lease`] until they end.

mod backend;
mod lease;

pub use backend::{Backend, Condition, Counts};
pub use lease::Lease;

use std::sync::{Arc, Weak};

use crate::config::{self, WhenDown};
use crate::policy::balance::{Choice, Member, Rotation};
use crate::policy::eligible::{self, Mode, Rules, Standing};
use crate::policy::health::{Health, is_probed};
use crate::policy::{queue, splitmix};
use crate::sync::{Mutex, Published, Queue, Ticket};

/// A named set of backends with one balancing policy.
#[derive(Debug)]
pub struct Pool {
    /// As it was configured.
    pub config: config::Pool,
    /// Its name, which is unique among the pools.
    pub name: Arc<str>,
    /// In the order of the config; a backend's index here is its name in rotations and picks.
    pub backends: Vec<Arc<Backend>>,
    /// Who can take a session. Written by [`Pool::publish`]; read by every pick. A lock around a
    /// snapshot, because readers need the members and their order to be of one moment.
    members: Published<Members>,
    /// How the pool stood when that was last reported. Held while members are chosen and published, so
    /// that of two at once the one that looked later is not overwritten by the other.
    reported: Mutex<Mode>,
    /// Goes on from one pool to the one that replaces it.
    lineage: Arc<Lineage>,
    /// How many sessions may wait for a backend; `None`: none ever has to.
    queue_room: Option<usize>,
}

/// Who can take a session.
#[derive(Debug, Default)]
struct Members {
    rotation: Rotation,
    /// For a session that has tried all of the rotation in vain.
    in_reserve: Rotation,
    mode: Mode,
}

/// What a pool hands on to the one that replaces it.
#[derive(Debug)]
struct Lineage {
    /// One for each first pick of a session, so that the rotation goes on from session to session.
    first_tickets: Ticket,
    /// Where the random sequences start.
    random_seed: u64,
    /// Where sessions wait for a backend. Its backends have it too, to wake the first when one of
    /// them has room again.
    queue: Arc<Queue>,
    /// The pool that is in force. Written by the thread that makes all changes; read by sessions that
    /// have waited, for which another may be in force by then. Weak: the pool holds this.
    latest: Published<Weak<Pool>>,
}

impl Pool {
    /// A pool in which nobody can take a session until the first [`Pool::publish`].
    pub fn new(config: &config::Pool, backends: Vec<Arc<Backend>>, random_seed: u64) -> Pool {
        let lineage = Arc::new(Lineage {
            first_tickets: Ticket::default(),
            random_seed,
            queue: Arc::default(),
            latest: Published::new(Weak::new()),
        });
        Pool::build(config, backends, lineage, Mode::default())
    }

    /// The pool that takes the place of this one: picks go on where they are, and if it stands otherwise,
    /// that is a change. Nobody can take a session until its first [`Pool::publish`].
    pub fn replaced_by(&self, config: &config::Pool, backends: Vec<Arc<Backend>>) -> Pool {
        let reported = *self.reported.lock();
        Pool::build(config, backends, Arc::clone(&self.lineage), reported)
    }

    fn build(
        config: &config::Pool,
        backends: Vec<Arc<Backend>>,
        lineage: Arc<Lineage>,
        reported: Mode,
    ) -> Pool {
        for backend in &backends {
            backend.set_queue(&lineage.queue);
        }
        Pool {
            queue_room: config.has_queue().then(|| {
                let backends = config.backends.iter();
                queue::room(backends.map(|backend| backend.max_queue))
            }),
            config: config.clone(),
            name: config.name.as_str().into(),
            backends,
            members: Published::new(Members::default()),
            reported: Mutex::new(reported),
            lineage,
        }
    }

    /// From now on this is the pool of its name that sessions find which have waited.
    pub fn take_over(self: &Arc<Self>) {
        self.lineage.latest.store(Arc::downgrade(self));
    }

    /// The pool of this name that is in force now.
    pub fn latest(self: &Arc<Self>) -> Arc<Pool> {
        let latest = self.lineage.latest.load();
        latest.upgrade().unwrap_or_else(|| Arc::clone(self))
    }

    /// Where sessions wait for a backend, and how many may; `None`: none ever has to.
    pub fn queue(&self) -> Option<(&Arc<Queue>, usize)> {
        let room = self.queue_room?;
        Some((&self.lineage.queue, room))
    }

    /// Builds the rotation anew from what is known and wanted of the backends. Called by the health
    /// thread and by the one that makes changes. Says how the pool stood and stands, if that has changed.
    pub fn publish(&self) -> Option<(Mode, Mode)> {
        let mut reported = self.reported.lock();
        let standings: Vec<Standing> = self.backends.iter().map(|one| one.standing()).collect();
        let rules = Rules {
            panic_threshold: self.config.panic_threshold,
            fail_open: self.config.when_down == WhenDown::FailOpen,
        };
        let chosen = eligible::choose(&standings, rules);
        self.members.store(Members {
            rotation: Rotation::new(&chosen.members),
            in_reserve: Rotation::new(&chosen.in_reserve),
            mode: chosen.mode,
        });
        // Whoever waits may be able to go on now, or has nobody left to wait for.
        self.lineage.queue.wake();
        // While first probes are on their way, who happened to answer first means nothing.
        let is_undecided = |one: &Arc<Backend>| {
            one.health() == Health::Starting && is_probed(one.intent().current().state)
        };
        if chosen.mode == *reported || self.backends.iter().any(is_undecided) {
            return None;
        }
        Some((std::mem::replace(&mut *reported, chosen.mode), chosen.mode))
    }

    /// How it stands now.
    pub fn mode(&self) -> Mode {
        self.members.with(|members| members.mode)
    }

    /// Picks a backend that is not in `tried` and counts the session on it, in one step: of a burst
    /// of clients, each sees the sessions of those before it. `None`: there is none to pick.
    pub fn lease(&self, tried: &[usize]) -> Option<Lease> {
        // A pick after a failure takes its ticket from the backend that failed, so that the sessions
        // of a dead backend are dealt out to the others in turn; from the common sequence they would
        // all go to its neighbour.
        let failed = tried.last().copied();
        let ticket = failed
            .and_then(|index| self.backends.get(index))
            .map_or(&self.lineage.first_tickets, |backend| {
                &backend.retry_tickets
            })
            .take();
        self.members.with(|members| {
            let first = self.pick(&members.rotation, tried, ticket);
            match tried {
                [] => first,
                _ => first.or_else(|| self.pick(&members.in_reserve, tried, ticket)),
            }
        })
    }

    fn pick(&self, rotation: &Rotation, tried: &[usize], ticket: u64) -> Option<Lease> {
        // Each kind of ticket has a random sequence of its own.
        let kind = tried.last().map_or(0, |index| *index as u64 + 1);
        let seed = splitmix::nth(self.lineage.random_seed, kind);
        loop {
            let pick = (self.config.balance.pick)(&Choice {
                rotation,
                active: &|index| self.active(index),
                is_full: &|index| self.is_full(index),
                tried,
                ticket,
                random: splitmix::nth(seed, ticket),
            })?;
            let backend = self.backends.get(pick.backend)?;
            if backend.claim(pick.seen) {
                return Some(Lease::new(Arc::clone(backend), pick.backend));
            }
            // Another session was faster, so this choice rests on a count that is no more. It got its
            // backend, so somebody always gets on: nobody can be kept out for ever except by others
            // that are served.
        }
    }

    /// Is there a backend that could take a session which has tried these, if it were not full?
    pub fn has_untried(&self, tried: &[usize]) -> bool {
        let is_untried = |member: &Member| !tried.contains(&member.backend);
        self.members.with(|members| {
            let rotations = [&members.rotation, &members.in_reserve];
            // Who is in reserve is for those who have tried in vain.
            let open_to_it = if tried.is_empty() { 1 } else { 2 };
            let mut all = rotations.iter().take(open_to_it);
            all.any(|rotation| rotation.members().iter().any(is_untried))
        })
    }

    /// What a pick would look at if it came now, for whoever explains it; no ticket is taken.
    pub fn peek<R>(&self, look: impl FnOnce(&Choice<'_>) -> R) -> R {
        let ticket = self.lineage.first_tickets.next();
        let seed = splitmix::nth(self.lineage.random_seed, 0);
        // Not under the lock: to explain thousands of backends takes a while, and who publishes would
        // wait for it, with every pick that comes after.
        let members = self.members.load();
        look(&Choice {
            rotation: &members.rotation,
            active: &|index| self.active(index),
            is_full: &|index| self.is_full(index),
            tried: &[],
            ticket,
            random: splitmix::nth(seed, ticket),
        })
    }

    fn active(&self, index: usize) -> u32 {
        let backend = self.backends.get(index);
        backend.map_or(0, |backend| backend.active.get())
    }

    fn is_full(&self, index: usize) -> bool {
        let backend = self.backends.get(index);
        backend.is_some_and(|backend| backend.is_full())
    }

    /// How many backends are up.
    pub fn up_count(&self) -> usize {
        self.backends
            .iter()
            .filter(|backend| backend.health() == Health::Up)
            .count()
    }

    /// Has it a backend that can take a session now?
    pub fn can_serve(&self) -> bool {
        self.members.with(|members| !members.rotation.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_long_look_holds_up_nobody_who_publishes() {
        let pool = Arc::new(Pool::new(
            &config::Pool::new("web", Vec::new()),
            Vec::new(),
            1,
        ));
        pool.peek(|_| {
            let (published, is_published) = crossbeam_channel::bounded(1);
            let other = Arc::clone(&pool);
            let publish = move || published.send(other.publish());
            std::thread::Builder::new().spawn(publish).unwrap();
            assert!(is_published.recv_timeout(Duration::from_secs(10)).is_ok());
        });
    }
}
