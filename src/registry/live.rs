//! One session, as others than its own threads see it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Listener;
use crate::events::EndReason;
use crate::net;
use crate::net::abort;
use crate::net::end::Peer;
use crate::net::stream::Stream;
use crate::policy::address::Address;
use crate::pool::{Backend, Pool};
use crate::sync::{Cause, Flag, Progress};

/// Where a session comes from.
#[derive(Debug)]
pub struct Origin {
    /// Number of the session.
    pub id: u64,
    /// The address of the other end: the client's, or that of a proxy before us.
    pub address: Address,
    /// The listener that took it.
    pub listener: Arc<Listener>,
    /// The pool that serves it, where that does not depend on what the client asks for.
    pub pool: Option<Arc<Pool>>,
    /// When it was accepted, since the start of the process.
    pub since: Duration,
}

/// A thread that works for a session.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    /// The kernel's number of it.
    pub id: u32,
    /// The processor time that it had used when it began with the session; `None`: nothing is measured.
    pub cpu_before: Option<Duration>,
}

/// What a session shares between its two threads, the reaper, the shutdown and the administrator.
#[derive(Debug)]
pub struct Live {
    /// Where it comes from.
    pub origin: Origin,
    /// The client's connection.
    pub client: Peer,
    /// The client's address by a PROXY header. Written once, by the session thread before it looks for a
    /// backend; read by it for the report, and by who lists the sessions.
    named: OnceLock<SocketAddr>,
    /// The pool that was chosen by what the client asked for. Written once, by the session thread before it
    /// looks for a backend; read by it for the report, and by who lists the sessions.
    routed: OnceLock<Arc<Pool>>,
    /// The server that the client asked for. Written and read as the pool is.
    sni: OnceLock<Arc<str>>,
    /// The backend and the connection to it. Written once, by the session thread when it has
    /// connected; read by whoever ends the session or reports it.
    backend: OnceLock<(Arc<Backend>, Peer)>,
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
    /// The session thread and the return thread. Each written once, by that thread; read by who lists
    /// the sessions.
    threads: [OnceLock<Worker>; 2],
}

impl Live {
    /// A session with its client and no backend yet.
    pub fn new(origin: Origin, client: impl Into<Stream>) -> Live {
        Live {
            origin,
            client: Peer::new(client),
            named: OnceLock::new(),
            routed: OnceLock::new(),
            sni: OnceLock::new(),
            backend: OnceLock::new(),
            bytes_in: Progress::default(),
            bytes_out: Progress::default(),
            half_closed: Flag::default(),
            cause: Cause::default(),
            threads: Default::default(),
        }
    }

    /// Notes the client's address, as a proxy that is trusted gives it; once.
    pub fn name_client(&self, address: SocketAddr) {
        let _ = self.named.set(address);
    }

    /// The client's address, by a PROXY header where there was one.
    pub fn client_address(&self) -> Address {
        let named = self.named.get().copied().map(Address::Ip);
        named.unwrap_or_else(|| self.origin.address.clone())
    }

    /// Notes the pool that was chosen for it; once.
    pub fn route_to(&self, pool: &Arc<Pool>) {
        let _ = self.routed.set(Arc::clone(pool));
    }

    /// The pool that serves it, as soon as that is known.
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        self.routed.get().or(self.origin.pool.as_ref())
    }

    /// Notes the server that the client asked for, as it is to be shown; once.
    pub fn note_sni(&self, name: &str) {
        let _ = self.sni.set(name.into());
    }

    /// The server that the client asked for, where that was looked at. It is one word.
    pub fn sni(&self) -> Option<&Arc<str>> {
        self.sni.get()
    }

    /// The address of the proxy that the client came by, where a PROXY header said so.
    pub fn via(&self) -> Option<Address> {
        let peer = &self.origin.address;
        (self.client_address() != *peer).then(|| peer.clone())
    }

    /// Adds the backend and the connection to it; once.
    pub fn attach(&self, backend: &Arc<Backend>, stream: impl Into<Stream>) -> &Peer {
        let attached = || (Arc::clone(backend), Peer::new(stream));
        &self.backend.get_or_init(attached).1
    }

    /// The backend's connection, when there is one.
    pub fn backend(&self) -> Option<&Peer> {
        self.backend.get().map(|(_, peer)| peer)
    }

    /// The backend, when it is connected.
    pub fn server(&self) -> Option<&Arc<Backend>> {
        self.backend.get().map(|(backend, _)| backend)
    }

    /// Both connections, as far as there are two.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        std::iter::once(&self.client).chain(self.backend())
    }

    /// Notes which thread copies to the backend.
    pub fn runs_on(&self, worker: Worker) {
        let _ = self.threads[0].set(worker);
    }

    /// Notes which thread copies to the client.
    pub fn returns_on(&self, worker: Worker) {
        let _ = self.threads[1].set(worker);
    }

    /// The threads that work for it.
    pub fn threads(&self) -> impl Iterator<Item = Worker> {
        self.threads
            .iter()
            .filter_map(|worker| worker.get().copied())
    }

    /// Has the kernel watch over the backend's connection of a session that lives on; the client's has
    /// that from its listener. Most sessions are over before they are looked at for the first time, and
    /// are spared two system calls.
    pub fn keep_alive(&self) {
        let how = self
            .pool()
            .and_then(|pool| pool.config.socket.common.keepalive);
        if let (Some(how), Some(backend)) = (how, self.backend()) {
            // It fails only when the connection is over.
            let _ = net::keep_alive(&backend.stream, how);
        }
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
        for peer in self.peers() {
            abort::reset(&peer.stream);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::config::{self, BackendAddress};
    use crate::policy::health::{AdminState, Health};

    /// A session of a pool that is called `web`, with a listener of the same name.
    pub(crate) fn live(id: u64, client: std::net::TcpStream) -> Live {
        let server = config::Backend::new(BackendAddress::Ip(([127, 0, 0, 1], 9).into()));
        let origin = Origin {
            id,
            address: Address::Ip(([127, 0, 0, 1], 1).into()),
            listener: Arc::new(Listener::new("web", None)),
            pool: Some(Arc::new(Pool::new(
                &config::Pool::new("web", vec![server]),
                Vec::new(),
                1,
            ))),
            since: Duration::ZERO,
        };
        Live::new(origin, client)
    }

    /// The backend at the other end of a connection.
    pub(crate) fn server() -> Arc<Backend> {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        Arc::new(Backend::new("a", address, 1, AdminState::Ready, Health::Up))
    }
}
