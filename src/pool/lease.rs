//! A session's claim on a backend, given back when it is dropped, on every path.

use std::sync::Arc;

use super::Backend;

/// Counts as one active session of its backend for as long as it lives.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    index: usize,
}

impl Lease {
    /// Takes over a claim that was made on `backend.active`.
    pub(super) fn new(backend: Arc<Backend>, index: usize) -> Lease {
        Lease { backend, index }
    }

    /// The backend that was picked.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Its index in the pool.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::health::{AdminState, Health};
    use crate::policy::intent::{Intent, Wish};
    use crate::pool::{Condition, Pool};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::time::Duration;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn backend(name: &str, backup: bool) -> Arc<Backend> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let backend = Backend::new(name, address, 1, AdminState::Ready, Health::Up);
        backend.change_intent(|intent| {
            Intent::new(Wish {
                backup,
                ..intent.configured()
            })
        });
        Arc::new(backend)
    }

    fn pool(config: config::Pool, backends: Vec<Arc<Backend>>) -> Pool {
        let pool = Pool::new(&config, backends, 1);
        pool.publish();
        pool
    }

    #[test]
    fn a_backend_that_is_full_has_room_again_when_a_lease_is_dropped() {
        let one = backend("one", false);
        one.set_limit(Some(1));
        let pool = pool(config::Pool::new("p", Vec::new()), vec![Arc::clone(&one)]);
        assert_eq!(one.limit(), Some(1));
        assert!(one.claim(None) && !one.claim(None), "one, and no more");
        assert!(one.is_full());
        drop(Lease::new(Arc::clone(&one), 0));
        assert!(!one.is_full());
        one.set_limit(None);
        let leases = [(); 3].map(|()| pool.lease(&[], CLIENT).unwrap());
        assert_eq!(one.active.get(), 3);
        drop(leases);
        assert_eq!(one.active.get(), 0);
    }

    #[test]
    fn who_has_tried_all_primaries_in_vain_gets_a_backup() {
        let backends = vec![backend("primary", false), backend("backup", true)];
        let pool = pool(config::Pool::new("p", Vec::new()), backends);
        assert_eq!(pool.lease(&[], CLIENT).unwrap().index(), 0);
        assert_eq!(pool.lease(&[0], CLIENT).unwrap().index(), 1);
        assert!(pool.lease(&[0, 1], CLIENT).is_none());
    }

    #[test]
    fn the_only_one_takes_every_session_however_slowly_it_starts() {
        let one = backend("one", false);
        for health in [Health::Down, Health::Up] {
            one.set_condition(Condition::new(health, "a test"));
        }
        let config = config::Pool {
            slow_start: Some(Duration::from_secs(3600)),
            ..config::Pool::new("p", Vec::new())
        };
        let pool = pool(config, vec![one]);
        let leases = (0..200).filter_map(|_| pool.lease(&[], CLIENT));
        assert_eq!(leases.count(), 200);
    }
}
