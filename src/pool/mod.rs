//! Pools: which backends there are, which of them can take a session, and who gets the next one.
//!
//! A pool's backends never move once it is built; a reload builds a new pool, with the backends that
//! stay. What changes is what is *published* about them: whoever writes what is known or wanted of a
//! backend then publishes a new rotation of those that can serve; sessions look at the rotation,
//! pick, and hold a [`Lease`] until they end.

mod backend;
mod hashed;
mod lease;
mod share;

pub use backend::{AgentReport, Backend, Condition, Counts};
pub use lease::Lease;

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::config::{self, WhenDown};
use crate::policy::balance::{Choice, Hashing, Member, Rotation, Table};
use crate::policy::eligible::{self, Mode, Rules, Standing};
use crate::policy::health::{Health, is_probed};
use crate::policy::{queue, slow_start, splitmix};
use crate::sync::{Mutex, Published, Queue, Ticket};
use hashed::Keys;

/// A named set of backends with one balancing policy.
#[derive(Debug)]
pub struct Pool {
    /// As it was configured.
    pub config: config::Pool,
    /// Its name, which is unique among the pools.
    pub name: Arc<str>,
    /// In the order of the config; a backend's index here is its name in rotations and picks.
    pub backends: Vec<Arc<Backend>>,
    /// Of the backends, for a policy that hashes.
    keys: Keys,
    /// Who can take a session. Written by [`Pool::publish`]; read by every pick. A lock around a
    /// snapshot, because readers need the members and their order to be of one moment.
    members: Published<Members>,
    /// How the pool stood when that was last reported; `None`: it never was. Held while members are chosen and published, so
    /// that of two at once the one that looked later is not overwritten by the other.
    reported: Mutex<Option<Mode>>,
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
    /// Those that have recovered lately, by their index in the pool, with when: with `slow_start`, and in
    /// ascending order.
    ramps: Vec<(usize, Instant)>,
    /// Kept from one to the next, except when a weight changes.
    table: Option<Arc<Table>>,
    mode: Mode,
}

impl Members {
    /// Tells how much of its share each gets now, if somebody starts slowly.
    fn shares(&self, slow_start: Option<Duration>) -> Option<impl Fn(usize) -> u32> {
        let slow_start = slow_start.filter(|_| !self.ramps.is_empty())?;
        let now = Instant::now();
        Some(move |index| {
            let share = || {
                let found = self.ramps.binary_search_by_key(&index, |(index, _)| *index);
                let (_, recovered) = self.ramps.get(found.ok()?)?;
                let since = now.saturating_duration_since(*recovered);
                Some(slow_start::share(since, slow_start))
            };
            share().unwrap_or(slow_start::WHOLE)
        })
    }
}

/// What a pool hands on to the one that replaces it.
#[derive(Debug)]
struct Lineage {
    /// One for each first look of a session, and for each further one while it waits, so that the rotation
    /// goes on from session to session.
    first_tickets: Ticket,
    /// Where the random sequences start.
    random_seed: u64,
    /// Where sessions wait for a backend. Its backends have it too, to wake the first when one of
    /// them has room again.
    queue: Arc<Queue>,
    /// The pool that is in force. Written by the thread that makes all changes; read by each session before
    /// it looks for a backend: another may be in force than when it was accepted. Weak: the pool holds this.
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
        Pool::build(config, backends, lineage, None)
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
        reported: Option<Mode>,
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
            keys: Keys::of(config, &backends),
            backends,
            members: Published::new(Members::default()),
            reported: Mutex::new(reported),
            lineage,
        }
    }

    /// From now on this is the pool of its name in which sessions look for a backend, also those that were
    /// sent to the one before. To be published first: until then nobody can be picked in it.
    pub fn take_over(self: &Arc<Self>) {
        self.lineage.latest.store(Arc::downgrade(self));
        self.lineage.queue.wake();
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
    /// thread and by the one that makes changes. Says how the pool stood, if it ever did, and how it stands,
    /// if that has changed.
    pub fn publish(&self) -> Option<(Option<Mode>, Mode)> {
        let mut reported = self.reported.lock();
        let standings: Vec<Standing> = self.backends.iter().map(|one| one.standing()).collect();
        let rules = Rules {
            panic_threshold: self.config.panic_threshold,
            fail_open: self.config.when_down == WhenDown::FailOpen,
        };
        let chosen = eligible::choose(&standings, rules);
        let old = self.members.with(|members| members.table.clone());
        self.members.store(Members {
            rotation: Rotation::new(&chosen.members),
            in_reserve: Rotation::new(&chosen.in_reserve),
            ramps: self.ramps(),
            table: self.keys.table(&self.config, &self.backends, old),
            mode: chosen.mode,
        });
        // Whoever waits may be able to go on now, or has nobody left to wait for.
        self.lineage.queue.wake();
        // While first probes are on their way, who happened to answer first means nothing.
        let is_undecided = |one: &Arc<Backend>| {
            one.health() == Health::Starting && is_probed(one.intent().effective().state)
        };
        if *reported == Some(chosen.mode) || self.backends.iter().any(is_undecided) {
            return None;
        }
        Some((reported.replace(chosen.mode), chosen.mode))
    }

    /// How it stands now.
    pub fn mode(&self) -> Mode {
        self.members.with(|members| members.mode)
    }

    /// Picks a backend for the client that is not in `tried` and counts the session on it, in one step: of
    /// a burst of clients, each sees the sessions of those before it. `None`: there is none to pick.
    pub fn lease(&self, tried: &[usize], client: IpAddr) -> Option<Lease> {
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
            let hashing = self
                .keys
                .hashing(&self.config, client, members.table.as_deref());
            let (is_full, share) = (self.is_full(), members.shares(self.config.slow_start));
            let choice = Choice {
                rotation: &members.rotation,
                active: &|index| self.active(index),
                is_full: is_full.as_ref().map(|is_full| is_full as _),
                share: share.as_ref().map(|share| share as _),
                tried,
                ticket,
                random: self.random(tried, ticket, hashing),
                hashing,
            };
            let first = self.pick(&choice);
            match tried {
                [] => first,
                _ => first.or_else(|| {
                    self.pick(&Choice {
                        rotation: &members.in_reserve,
                        ..choice
                    })
                }),
            }
        })
    }

    fn pick(&self, choice: &Choice<'_>) -> Option<Lease> {
        self.pick_as(choice).or_else(|| {
            // Where all that are left start slowly, there is nobody to spare them for.
            choice.share?;
            self.pick_as(&Choice {
                share: None,
                ..*choice
            })
        })
    }

    fn pick_as(&self, choice: &Choice<'_>) -> Option<Lease> {
        loop {
            let pick = (self.config.balance.pick)(choice)?;
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

    /// What a pick for this client would look at if it came now, for whoever explains it; no ticket is
    /// taken.
    pub fn peek<R>(&self, client: IpAddr, look: impl FnOnce(&Choice<'_>) -> R) -> R {
        let ticket = self.lineage.first_tickets.next();
        // Not under the lock: to explain thousands of backends takes a while, and who publishes would
        // wait for it, with every pick that comes after.
        let members = self.members.load();
        let hashing = self
            .keys
            .hashing(&self.config, client, members.table.as_deref());
        let (is_full, share) = (self.is_full(), members.shares(self.config.slow_start));
        look(&Choice {
            rotation: &members.rotation,
            active: &|index| self.active(index),
            is_full: is_full.as_ref().map(|is_full| is_full as _),
            share: share.as_ref().map(|share| share as _),
            tried: &[],
            ticket,
            random: self.random(&[], ticket, hashing),
            hashing,
        })
    }

    /// The random bits of a pick; where the client decides, its own number.
    fn random(&self, tried: &[usize], ticket: u64, hashing: Hashing<'_>) -> u64 {
        if self.config.balance.by_client {
            return hashing.client;
        }
        // Each kind of ticket has a random sequence of its own.
        let kind = tried.last().map_or(0, |index| *index as u64 + 1);
        splitmix::nth(splitmix::nth(self.lineage.random_seed, kind), ticket)
    }

    /// The backends that have recovered lately.
    fn ramps(&self) -> Vec<(usize, Instant)> {
        let Some(slow_start) = self.config.slow_start else {
            return Vec::new();
        };
        let backends = self.backends.iter().enumerate();
        backends
            .filter_map(|(index, backend)| Some((index, backend.recovered()?)))
            .filter(|(_, recovered)| recovered.elapsed() < slow_start)
            .collect()
    }

    fn active(&self, index: usize) -> u32 {
        let backend = self.backends.get(index);
        backend.map_or(0, |backend| backend.active.get())
    }

    /// Tells which backends are full, if any can be.
    fn is_full(&self) -> Option<impl Fn(usize) -> bool> {
        self.queue_room?;
        Some(|index| {
            let backend: Option<&Arc<Backend>> = self.backends.get(index);
            backend.is_some_and(|backend| backend.is_full())
        })
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
    use crate::policy::health::AdminState;
    use std::time::Duration;

    #[test]
    fn a_long_look_holds_up_nobody_who_publishes() {
        let pool = Arc::new(Pool::new(
            &config::Pool::new("web", Vec::new()),
            Vec::new(),
            1,
        ));
        pool.peek(([127, 0, 0, 1]).into(), |_| {
            let (published, is_published) = crossbeam_channel::bounded(1);
            let other = Arc::clone(&pool);
            let publish = move || published.send(other.publish());
            std::thread::Builder::new().spawn(publish).unwrap();
            assert!(is_published.recv_timeout(Duration::from_secs(10)).is_ok());
        });
    }
    #[test]
    fn a_change_of_the_mode_is_told_once() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let backend = Backend::new("a", address, 1, AdminState::Ready, Health::Up);
        let backends = vec![Arc::new(backend)];
        let pool = Pool::new(&config::Pool::new("web", Vec::new()), backends, 1);
        assert_eq!(pool.publish(), Some((None, Mode::Normal)));
        assert_eq!(pool.publish(), None);
        assert!(pool.can_serve());
        let pool = pool.replaced_by(&config::Pool::new("web", Vec::new()), Vec::new());
        assert_eq!(pool.publish(), Some((Some(Mode::Normal), Mode::Down)));
    }

    #[test]
    fn there_is_a_queue_where_a_backend_can_be_full() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let limited = config::Backend {
            max_connections: Some(1),
            max_queue: Some(7),
            ..config::Backend::new(config::BackendAddress::Ip(address))
        };
        let pool_of = |backend| Pool::new(&config::Pool::new("web", vec![backend]), Vec::new(), 1);
        let room = |pool: &Pool| pool.queue().map(|(_, room)| room);
        assert_eq!(room(&pool_of(limited.clone())), Some(7));
        let unlimited = config::Backend {
            max_connections: None,
            ..limited
        };
        assert_eq!(room(&pool_of(unlimited)), None);
    }
}
