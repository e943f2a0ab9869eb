//! The sessions that live now, so that somebody other than their own threads can look at them and
//! end them: the reaper the silent ones, the shutdown all of them, the administrator any.

mod ending;
mod listener;
mod live;
mod progress;
mod routes;

pub use listener::Listener;
#[cfg(test)]
pub(crate) use live::testing;
pub use live::{Live, Origin, Worker};
pub use routes::{RouteBook, RouteCounts, Routed};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::events::EndReason;
use crate::policy::idle::Watch;
use crate::policy::progress::Progress;
use crate::sync::Mutex;

/// All live sessions of the process.
#[derive(Debug, Default)]
pub struct Registry {
    /// Written by sessions that begin and end, and by the reaper, which keeps its notes beside each
    /// session.
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    live: HashMap<u64, Entry>,
    /// Set when all were aborted: whoever comes later is aborted too.
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    notes: Notes,
}

/// What the reaper remembers of one session from one look to the next.
#[derive(Debug)]
pub struct Notes {
    /// Since when nothing has moved.
    pub watch: Watch,
    /// When the log was last told how it is getting on.
    progress: Progress,
    /// Bytes in and out that were added to the backend's counts already.
    counted: (u64, u64),
    is_kept_alive: bool,
}

impl Notes {
    /// Of a session that begins at `now`, which is counted from the start of the process.
    pub fn new(now: Duration) -> Notes {
        Notes {
            watch: Watch::new(now),
            progress: Progress::new(now),
            counted: (0, 0),
            is_kept_alive: false,
        }
    }

    /// Is it time for [`Live::keep_alive`]? Once, when it has its backend.
    pub fn begins_to_be_kept_alive(&mut self, live: &Live) -> bool {
        let begins = !self.is_kept_alive && live.backend().is_some();
        self.is_kept_alive |= begins;
        begins
    }

    /// Adds what has moved since the last time to the counts of the backend: so they grow while a
    /// session lives, and no thread that copies writes to a line of memory that others write to.
    pub fn count_bytes(&mut self, live: &Live) {
        let Some(backend) = live.server() else { return };
        let now = (live.bytes_in.get(), live.bytes_out.get());
        if now != self.counted {
            backend.counts.bytes_in.add(now.0 - self.counted.0);
            backend.counts.bytes_out.add(now.1 - self.counted.1);
            self.counted = now;
        }
    }
}

impl Registry {
    /// Lists a session until the guard is dropped.
    pub fn enter(self: &Arc<Self>, live: &Arc<Live>, notes: Notes) -> Listed {
        let id = live.origin.id;
        let entry = Entry {
            live: Arc::clone(live),
            notes,
        };
        let mut sessions = self.sessions.lock();
        sessions.live.insert(id, entry);
        let closed = sessions.closed;
        drop(sessions);
        if closed {
            live.set_cause(EndReason::Shutdown);
            live.abort();
        }
        Listed {
            registry: Arc::clone(self),
            id,
        }
    }

    /// How many sessions live now.
    pub fn len(&self) -> usize {
        self.sessions.lock().live.len()
    }

    /// True when no session lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session with this number, if it lives.
    pub fn get(&self, id: u64) -> Option<Arc<Live>> {
        let sessions = self.sessions.lock();
        sessions.live.get(&id).map(|entry| Arc::clone(&entry.live))
    }

    /// What `look` says of the notes of the session with this number, if it lives. It runs under the lock, so
    /// it must not block.
    pub fn note<R>(&self, id: u64, look: impl FnOnce(&mut Notes) -> R) -> Option<R> {
        let mut sessions = self.sessions.lock();
        sessions
            .live
            .get_mut(&id)
            .map(|entry| look(&mut entry.notes))
    }

    /// Those that `choose` picks. It runs under the lock that every session takes, so it must neither block
    /// nor ask the kernel.
    pub fn select(&self, mut choose: impl FnMut(&Arc<Live>, &mut Notes) -> bool) -> Vec<Arc<Live>> {
        let mut sessions = self.sessions.lock();
        sessions
            .live
            .values_mut()
            .filter_map(|Entry { live, notes }| choose(live, notes).then(|| Arc::clone(live)))
            .collect()
    }

    /// All of them, each with how long nothing has moved in it at `now`, oldest first.
    pub fn list(&self, now: Duration) -> Vec<(Arc<Live>, Duration)> {
        let sessions = self.sessions.lock();
        let mut all: Vec<_> = sessions
            .live
            .values()
            .map(|entry| (Arc::clone(&entry.live), entry.notes.watch.silence(now)))
            .collect();
        drop(sessions);
        all.sort_unstable_by_key(|(live, _)| live.origin.id);
        all
    }

    /// Aborts every session, and every one that is still to come; says how many there were.
    pub fn abort_all(&self) -> usize {
        self.sessions.lock().closed = true;
        self.abort_those(EndReason::Shutdown, |_| true)
    }

    /// Aborts the sessions that `choose` picks, and says how many there were. It runs under the lock, so
    /// it must not block.
    pub fn abort_those(&self, reason: EndReason, choose: impl Fn(&Live) -> bool) -> usize {
        let chosen = self.select(|live, _| choose(live));
        for live in &chosen {
            live.set_cause(reason);
            live.abort();
        }
        chosen.len()
    }
}

/// A session's entry in the registry; dropping it takes the session out.
#[derive(Debug)]
pub struct Listed {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let entry = self.registry.sessions.lock().live.remove(&self.id);
        // The rest is not for the time under the lock: the last reference may close two sockets.
        if let Some(mut entry) = entry {
            entry.notes.count_bytes(&entry.live);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{live, server};
    use super::*;
    use crate::net::connect::tests::pair;
    use std::io::Read;

    fn notes() -> Notes {
        Notes::new(Duration::ZERO)
    }

    #[test]
    fn a_session_is_listed_as_long_as_its_guard_lives() {
        let registry = Arc::new(Registry::default());
        let listed = registry.enter(&Arc::new(live(1, pair().0)), notes());
        assert_eq!(registry.len(), 1);
        assert!(registry.get(1).is_some() && registry.get(2).is_none());
        drop(listed);
        assert!(registry.is_empty());
    }

    #[test]
    fn aborting_all_also_ends_those_that_come_late() {
        let registry = Arc::new(Registry::default());
        let (early, mut early_client) = pair();
        let early = Arc::new(live(1, early));
        let _early = registry.enter(&early, notes());
        assert_eq!(registry.abort_all(), 1);

        let (late, mut late_client) = pair();
        let late = Arc::new(live(2, late));
        let _late = registry.enter(&late, notes());
        for (live, client) in [(early, &mut early_client), (late, &mut late_client)] {
            assert_eq!(live.cause(), Some(EndReason::Shutdown));
            assert!(client.read(&mut [0; 1]).is_err());
        }
    }

    #[test]
    fn the_bytes_of_a_session_are_counted_once_while_it_lives_and_at_its_end() {
        let registry = Arc::new(Registry::default());
        let session = Arc::new(live(1, pair().0));
        let backend = server();
        let counted = || {
            (
                backend.counts.bytes_in.get(),
                backend.counts.bytes_out.get(),
            )
        };
        let listed = registry.enter(&session, notes());
        session.bytes_in.add(5);
        session.attach(&backend, pair().0);
        for _ in 0..2 {
            registry.select(|live, notes| {
                notes.count_bytes(live);
                false
            });
            assert_eq!(counted(), (5, 0));
        }
        session.bytes_out.add(7);
        drop(listed);
        assert_eq!(counted(), (5, 7));
    }

    #[test]
    fn the_kernel_watches_over_a_backend_from_the_first_look_on() {
        let session = live(1, pair().0);
        let mut notes = notes();
        assert!(!notes.begins_to_be_kept_alive(&session));
        let (backend, _peer) = pair();
        let is_watched = |peer: &crate::net::end::Peer| {
            rustix::net::sockopt::socket_keepalive(&peer.stream).unwrap()
        };
        let backend = session.attach(&server(), backend);
        assert!(!is_watched(backend));
        assert!(notes.begins_to_be_kept_alive(&session));
        session.keep_alive();
        assert!(is_watched(backend));
        assert!(!notes.begins_to_be_kept_alive(&session), "once is enough");
    }

    #[test]
    fn the_first_cause_is_the_one_that_counts() {
        let live = live(1, pair().0);
        live.set_cause(EndReason::IdleTimeout);
        live.set_cause(EndReason::ServerReset);
        assert_eq!(live.cause(), Some(EndReason::IdleTimeout));
    }
}
