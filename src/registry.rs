//! The sessions that live now, so that somebody other than their own threads can look at them and
//! end them: the reaper the silent ones, the shutdown all of them.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use crate::events::EndReason;
use crate::net::abort;
use crate::net::end::Peer;
use crate::sync::{Cause, Flag, Mutex, Progress};

/// What a session shares between its two threads, the reaper and the shutdown.
#[derive(Debug)]
pub struct Live {
    /// Number of the session.
    pub id: u64,
    /// The client's connection.
    pub client: Peer,
    /// The backend's connection. Written once, by the session thread when it has connected; read
    /// by whoever ends the session.
    backend: OnceLock<Peer>,
    /// Bytes to the backend. Written by the session thread.
    pub bytes_in: Progress,
    /// Bytes to the client. Written by the session thread in the opening, then by the return thread;
    /// the hand-over of the job orders the two.
    pub bytes_out: Progress,
    /// Raised by each direction when it ends; read by the reaper, which from the first of them on
    /// counts the half-closed timeout instead of the idle one.
    pub half_closed: Flag,
    /// Why it ends. Written by whoever first has a reason; read by the session thread at the end.
    cause: Cause,
}

impl Live {
    /// A session with its client and no backend yet.
    pub fn new(id: u64, client: TcpStream) -> Live {
        Live {
            id,
            client: Peer::new(client),
            backend: OnceLock::new(),
            bytes_in: Progress::default(),
            bytes_out: Progress::default(),
            half_closed: Flag::default(),
            cause: Cause::default(),
        }
    }

    /// Adds the backend's connection; once.
    pub fn attach(&self, backend: TcpStream) -> &Peer {
        self.backend.get_or_init(|| Peer::new(backend))
    }

    /// The backend's connection, when there is one.
    pub fn backend(&self) -> Option<&Peer> {
        self.backend.get()
    }

    /// Gives the session a reason to end, unless it has one.
    pub fn set_cause(&self, reason: EndReason) {
        self.cause.set(reason as u8);
    }

    /// The reason that was given first.
    pub fn cause(&self) -> Option<EndReason> {
        EndReason::from_code(self.cause.get())
    }

    /// Resets both connections, which wakes every thread that is blocked on them.
    ///
    /// A session that is about to attach its backend is not missed: its client is gone, so its
    /// relay ends as soon as it starts.
    pub fn abort(&self) {
        abort::reset(&self.client.stream);
        if let Some(backend) = self.backend() {
            abort::reset(&backend.stream);
        }
    }
}

/// All live sessions of the process.
#[derive(Debug)]
pub struct Registry<W> {
    /// Written by sessions that begin and end, and by the reaper, which keeps its notes `W` beside
    /// each session.
    sessions: Mutex<Sessions<W>>,
}

#[derive(Debug)]
struct Sessions<W> {
    live: HashMap<u64, (Arc<Live>, W)>,
    /// Set when all were aborted: whoever comes later is aborted too.
    closed: bool,
}

impl<W> Default for Registry<W> {
    fn default() -> Self {
        Registry {
            sessions: Mutex::new(Sessions {
                live: HashMap::new(),
                closed: false,
            }),
        }
    }
}

impl<W> Registry<W> {
    /// Lists a session until the guard is dropped.
    pub fn enter(self: &Arc<Self>, live: &Arc<Live>, notes: W) -> Listed<W> {
        let mut sessions = self.sessions.lock();
        sessions.live.insert(live.id, (Arc::clone(live), notes));
        let closed = sessions.closed;
        drop(sessions);
        if closed {
            live.set_cause(EndReason::Shutdown);
            live.abort();
        }
        Listed {
            registry: Arc::clone(self),
            id: live.id,
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

    /// Those that `choose` picks. It runs under the lock, so it must not block.
    pub fn select(&self, mut choose: impl FnMut(&Live, &mut W) -> bool) -> Vec<Arc<Live>> {
        let mut sessions = self.sessions.lock();
        sessions
            .live
            .values_mut()
            .filter_map(|(live, notes)| choose(live, notes).then(|| Arc::clone(live)))
            .collect()
    }

    /// Aborts every session, and every one that is still to come; says how many there were.
    pub fn abort_all(&self) -> usize {
        self.sessions.lock().closed = true;
        let all = self.select(|_, _| true);
        for live in &all {
            live.set_cause(EndReason::Shutdown);
            live.abort();
        }
        all.len()
    }
}

/// A session's entry in the registry; dropping it takes the session out.
#[derive(Debug)]
pub struct Listed<W> {
    registry: Arc<Registry<W>>,
    id: u64,
}

impl<W> Drop for Listed<W> {
    fn drop(&mut self) {
        let entry = self.registry.sessions.lock().live.remove(&self.id);
        // The last reference may close two sockets, which is not for the time under the lock.
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect::tests::pair;
    use std::io::Read;

    #[test]
    fn a_session_is_listed_as_long_as_its_guard_lives() {
        let registry = Arc::new(Registry::<()>::default());
        let listed = registry.enter(&Arc::new(Live::new(1, pair().0)), ());
        assert_eq!(registry.len(), 1);
        drop(listed);
        assert!(registry.is_empty());
    }

    #[test]
    fn aborting_all_also_ends_those_that_come_late() {
        let registry = Arc::new(Registry::<()>::default());
        let (early, mut early_client) = pair();
        let early = Arc::new(Live::new(1, early));
        let _early = registry.enter(&early, ());
        assert_eq!(registry.abort_all(), 1);

        let (late, mut late_client) = pair();
        let late = Arc::new(Live::new(2, late));
        let _late = registry.enter(&late, ());
        for (live, client) in [(early, &mut early_client), (late, &mut late_client)] {
            assert_eq!(live.cause(), Some(EndReason::Shutdown));
            assert!(client.read(&mut [0; 1]).is_err());
        }
    }

    #[test]
    fn the_first_cause_is_the_one_that_counts() {
        let live = Live::new(1, pair().0);
        live.set_cause(EndReason::IdleTimeout);
        live.set_cause(EndReason::ServerReset);
        assert_eq!(live.cause(), Some(EndReason::IdleTimeout));
    }
}
