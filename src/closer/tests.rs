//! Orders over sessions that live on socket pairs; the reaper and its clock are played by the test.

use super::*;
use crate::events::Step;
use crate::net::connect::tests::pair;
use crate::policy::health::{AdminState, Health};
use crate::policy::rate::{Per, Rate};
use crate::registry::testing::live;
use crate::registry::{Listed, Notes};
use std::net::TcpStream;

const SECOND: Duration = Duration::from_secs(1);

fn backend(name: &str) -> Arc<Backend> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    Arc::new(Backend::new(
        name,
        address,
        1,
        AdminState::Drain,
        Health::Up,
    ))
}

fn many(count: u32) -> (Pace, Duration) {
    let per = Per::Second;
    (Pace::Rate(Rate { count, per }), Duration::ZERO)
}

/// Sessions, with their other ends, which keep them.
struct Scene {
    registry: Arc<Registry>,
    sessions: Vec<(Arc<Live>, Listed, [TcpStream; 2])>,
}

impl Scene {
    /// One session on each of these backends, with numbers from 1 on, all of them as old as the process.
    fn new(backends: &[&Arc<Backend>]) -> Scene {
        let registry = Arc::new(Registry::default());
        let session = |(index, server): (usize, &&Arc<Backend>)| {
            let ((client, far_client), (upstream, far_upstream)) = (pair(), pair());
            let live = Arc::new(live(index as u64 + 1, client));
            live.attach(server, upstream);
            let listed = registry.enter(&live, Notes::new(Duration::ZERO));
            (live, listed, [far_client, far_upstream])
        };
        let sessions = backends.iter().enumerate().map(session).collect();
        Scene { registry, sessions }
    }

    /// The numbers of those that were closed.
    fn closed(&self) -> Vec<u64> {
        let ended = self
            .sessions
            .iter()
            .filter(|(live, ..)| live.cause().is_some());
        ended.map(|(live, ..)| live.origin.id).collect()
    }
}

#[test]
fn of_each_backend_no_more_is_closed_than_it_has_too_many() {
    let (a, b) = (backend("a"), backend("b"));
    let scene = Scene::new(&[&a, &a, &a, &b, &b]);
    let closer = Closer::default();
    let excess = [(&a, 3, 1), (&b, 2, 1)];
    let news = closer.give(Order::rebalance(&"web".into(), &excess, many(10), SECOND));
    assert_eq!(
        (news.len(), news[0].step, news[0].left),
        (1, Step::Begun, 2)
    );
    let news = closer.look(&scene.registry, 2 * SECOND);
    assert_eq!(
        (news.len(), news[0].step, news[0].closed),
        (1, Step::Done, 2)
    );
    assert_eq!(scene.closed(), [1, 4]);
    assert_eq!(scene.sessions[0].0.cause(), Some(EndReason::Rebalanced));
    assert_eq!(closer.rebalance("web"), None);
    assert!(closer.tick(SECOND).is_none());
}

#[test]
fn sessions_that_end_by_themselves_are_not_closed_for_nothing() {
    let a = backend("a");
    let scene = Scene::new(&[&a; 4]);
    let closer = Closer::default();
    closer.give(Order::rebalance(
        &"web".into(),
        &[(&a, 4, 2)],
        many(1),
        SECOND,
    ));
    scene.sessions[3].0.set_cause(EndReason::Killed);
    assert_eq!(closer.look(&scene.registry, SECOND)[0].closed, 1);
    assert_eq!(scene.closed(), [1, 4]);
}

#[test]
fn what_is_due_later_waits_and_what_is_on_its_way_is_delivered_first() {
    use std::io::{Read, Write};
    let a = backend("a");
    let scene = Scene::new(&[&a; 3]);
    let closer = Closer::default();
    closer.give(Order::emptying(
        Purpose::Drain,
        &"web".into(),
        &a,
        many(1),
        SECOND,
    ));
    // Nobody has read this yet, so the oldest is not quiet.
    (&scene.sessions[0].2[0]).write_all(b"question").unwrap();
    while rustix::io::ioctl_fionread(&scene.sessions[0].0.client.stream).unwrap() == 0 {
        std::thread::yield_now();
    }
    assert!(closer.look(&scene.registry, SECOND).is_empty());
    assert_eq!(scene.closed(), [2]);
    assert!(closer.look(&scene.registry, SECOND + SECOND / 2).is_empty());
    assert_eq!(scene.closed(), [2]);
    let progress = closer.emptying(&a).unwrap();
    assert_eq!((progress.left, progress.closed), (2, 1));
    assert_eq!(closer.tick(SECOND), Some(*TICK.end()));
    closer.look(&scene.registry, 2 * SECOND);
    assert_eq!(scene.closed(), [2, 3]);
    assert_eq!(
        (&scene.sessions[1].2[0]).read(&mut [0]).unwrap(),
        0,
        "a FIN"
    );
}

#[test]
fn the_sessions_of_a_removed_backend_are_closed_when_they_are_idle_only() {
    let a = backend("a");
    let scene = Scene::new(&[&a; 2]);
    let closer = Closer::default();
    let how = (Pace::Until(9 * SECOND), 4 * SECOND);
    closer.give(Order::emptying(
        Purpose::Removal,
        &"web".into(),
        &a,
        how,
        SECOND,
    ));
    for look in 2..8 {
        closer.look(&scene.registry, look * SECOND / 2);
    }
    assert_eq!(scene.closed(), [0; 0]);
    closer.look(&scene.registry, 4 * SECOND);
    assert_eq!(scene.closed(), [1]);
    // The next is due when half of the time that was left is over.
    closer.look(&scene.registry, 5 * SECOND);
    assert_eq!(scene.closed(), [1]);
    closer.look(&scene.registry, 7 * SECOND);
    assert_eq!(scene.closed(), [1, 2]);
    closer.keep_removals(|_| false);
    assert_eq!(closer.emptying(&a), None);
}

#[test]
fn an_order_takes_the_place_of_the_one_before_it_for_the_same_backend_or_pool() {
    let (a, b) = (backend("a"), backend("b"));
    let closer = Closer::default();
    let drain =
        |of: &Arc<Backend>| Order::emptying(Purpose::Drain, &"web".into(), of, many(1), SECOND);
    assert_eq!(closer.give(drain(&a)).len(), 1);
    assert_eq!(closer.give(drain(&b)).len(), 1);
    let news = closer.give(drain(&a));
    assert_eq!((news[0].step, news[1].step), (Step::Stopped, Step::Begun));
    let rebalance = |pool: &str| Order::rebalance(&pool.into(), &[(&a, 4, 2)], many(1), SECOND);
    assert_eq!(closer.give(rebalance("web")).len(), 1);
    assert_eq!(closer.give(rebalance("api")).len(), 1);
    assert_eq!(closer.give(rebalance("web")).len(), 2);
    assert_eq!(closer.stop_rebalance("api").len(), 1);
    assert!(closer.rebalance("web").is_some() && closer.rebalance("api").is_none());
    assert_eq!(closer.stop_drain(&b)[0].step, Step::Stopped);
    assert!(closer.emptying(&a).is_some() && closer.emptying(&b).is_none());
}
