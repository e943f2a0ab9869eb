//! Taking a lease and giving it back asks the allocator for nothing, whatever the policy and however
//! many backends: shown by counting what this thread allocates.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use allocation_counter::measure;
use evener::config::{self, BackendAddress};
use evener::policy::balance::{POLICIES, Policy};
use evener::policy::health::{AdminState, Health};
use evener::pool::{Backend, Pool};

/// The hashing policies ask who the client is.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A pool whose backends can all serve, with weights from 1 to 4.
fn pool(policy: &'static Policy, backends: u32) -> Pool {
    let address = |n| SocketAddr::from(([127, 0, 0, 1], n as u16 + 1));
    let server = config::Backend::new(BackendAddress::Ip(address(0)));
    let config = config::Pool {
        balance: policy,
        ..config::Pool::new("web", vec![server])
    };
    let backend = |n| {
        let name = format!("b{n}");
        let weight = n % 4 + 1;
        Backend::new(&name, address(n), weight, AdminState::Ready, Health::Up)
    };
    let backends = (0..backends).map(|n| Arc::new(backend(n))).collect();
    let pool = Pool::new(&config, backends, 42);
    let _ = pool.publish();
    pool
}

/// How often `work` allocates, in all of its 1000 runs together.
fn allocations(mut work: impl FnMut()) -> u64 {
    measure(|| (0..1000).for_each(|_| work())).count_total
}

#[test]
fn a_lease_allocates_nothing() {
    for policy in POLICIES {
        for backends in [3, 100] {
            let pool = pool(policy, backends);
            for tried in [&[][..], &[0], &[0, 2]] {
                let lease = |tried| pool.lease(tried, CLIENT);
                let mut leased = 0;
                let allocated = allocations(|| {
                    // Two at once, so that the counts of sessions differ from backend to backend.
                    let leases = [lease(tried), lease(tried)];
                    leased += black_box(&leases).iter().flatten().count();
                });
                let what = format!("{policy:?}, {backends} backends, {tried:?} tried");
                assert_eq!(leased, 2000, "{what}");
                assert_eq!(allocated, 0, "{what}");
            }
        }
    }
}

#[test]
fn a_refused_lease_allocates_nothing() {
    for policy in POLICIES {
        let pool = pool(policy, 3);
        let allocated = allocations(|| assert!(pool.lease(&[2, 0, 1], CLIENT).is_none()));
        assert_eq!(allocated, 0, "{policy:?}");
    }
}

/// The count can be other than 0: a lease in a box is counted, and so is what the pool itself
/// allocates when it builds a rotation.
#[test]
fn what_does_allocate_is_counted() {
    for policy in POLICIES {
        let pool = pool(policy, 3);
        let boxed = allocations(|| drop(black_box(pool.lease(&[], CLIENT).map(Box::new))));
        assert_eq!(boxed, 1000, "{policy:?}");
        let published = allocations(|| {
            let _ = pool.publish();
        });
        assert!(published >= 1000, "{policy:?}");
    }
}
