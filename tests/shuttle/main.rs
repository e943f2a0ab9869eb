//! What many threads share, with all of them at once: sessions, the health thread, reloads, the
//! administrator and the shutdown, on the program's own pools and registry.
//!
//! That is too much for every order of steps, which `tests/loom/` tries for each small type by itself; shuttle
//! tries thousands that are chosen at random. Each model stands beside a broken variant that shuttle has to
//! find, so that it is known that thousands are enough.
//!
//! `scripts/test-shuttle` runs them, and says how to see a failure again.

#![cfg(shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a model fails, in its helpers too"
)]

mod house;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use evener::policy::health::{AdminState, Health};
use evener::policy::intent::Intent;
use evener::pool::Backend;
use house::{End, House, News, backend, pool_config};
use shuttle::sync::mpsc;
use shuttle::thread::{self, JoinHandle};

/// How many orders of steps are tried of each model, unless `EVENER_SHUTTLE_ORDERS` says otherwise.
const ORDERS: usize = 2000;

fn orders() -> usize {
    let asked = std::env::var("EVENER_SHUTTLE_ORDERS").ok();
    asked.map_or(ORDERS, |number| number.parse().unwrap())
}

/// Tries a model in many orders; half of them change from thread to thread at any step, half only a few times,
/// which finds what takes a long run of one thread.
fn model(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    let again = Arc::clone(&model);
    shuttle::check_random(move || model(), orders() / 2);
    shuttle::check_pct(move || again(), orders() / 2, 3);
}

/// Asserts that an order is found in which `broken` fails, in the way `how`.
#[track_caller]
fn shuttle_finds(how: &str, broken: impl Fn() + Send + Sync + 'static) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| model(broken))) else {
        panic!("no order was found in which it breaks");
    };
    let said = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(said), _) => said,
        (_, Some(said)) => *said,
        _ => "",
    };
    assert!(said.contains(how), "it broke in another way: {said}");
}

fn spawn<S: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<S>,
    work: impl FnOnce(&Arc<S>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

/// Short sessions.
fn sessions(house: &Arc<House>, ids: std::ops::Range<u64>) -> Vec<JoinHandle<End>> {
    ids.map(|id| spawn(house, move |house| house.session(id, false)))
        .collect()
}

/// The health thread, and what it is told by.
fn checker(house: &Arc<House>) -> (JoinHandle<()>, mpsc::Sender<News>) {
    let (sender, news) = mpsc::channel();
    (spawn(house, move |house| house.check(&news)), sender)
}

fn ends(sessions: Vec<JoinHandle<End>>) -> Vec<End> {
    sessions
        .into_iter()
        .map(|one| one.join().unwrap())
        .collect()
}

/// As `server::changes` does when the administrator asks for a state.
fn ask(house: &House, backend: &Backend, state: AdminState) {
    let _ = backend.change_intent(|intent: Intent| intent.asked(None, Some(state)));
    let _ = house.pool().publish();
}

/// Sessions, probes that find one backend dead and alive again, a reload that takes another one out, the
/// administrator who drains the third, the shutdown: what is right at the end, and for each session.
#[test]
fn everything_at_once() {
    model(|| {
        let (first, second) = (backend("first", Health::Up), backend("second", Health::Up));
        let third = backend("third", Health::Starting);
        let house = House::with(&[&first, &second], 2);
        let (health_thread, news) = checker(&house);
        let probes = {
            let (news, second, third) = (news.clone(), Arc::clone(&second), Arc::clone(&third));
            thread::spawn(move || {
                for (backend, health) in [
                    (&second, Health::Down),
                    (&third, Health::Up),
                    (&second, Health::Up),
                ] {
                    news.send(News::Found(Arc::clone(backend), health)).unwrap();
                }
            })
        };
        let clients = sessions(&house, 0..3);
        house.reload(&[&second, &third], &news);
        house.first_is_gone.raise();
        ask(&house, &second, AdminState::Drain);
        house.drains.set(1);
        let late = sessions(&house, 3..5);
        house.drains.set(2);
        ask(&house, &second, AdminState::Ready);
        probes.join().unwrap();
        drop(news);
        health_thread.join().unwrap();
        house.shut_down();
        for end in ends(clients).into_iter().chain(ends(late)) {
            // NoBackend: it came while one was drained and the other had not been found well.
            assert!(matches!(
                end,
                End::Served | End::NoBackend | End::Aborted | End::Refused
            ));
        }
        house.assert_is_published();
        house.assert_is_empty(&[&first, &second, &third]);
    });
}

/// Two who publish at once: what is published last is what is true last.
#[test]
fn a_probe_and_an_administrator_leave_nothing_old_behind() {
    model(|| {
        let (first, second) = (backend("first", Health::Up), backend("second", Health::Up));
        let house = House::with(&[&first, &second], 2);
        let (health_thread, news) = checker(&house);
        news.send(News::Found(Arc::clone(&first), Health::Down))
            .unwrap();
        ask(&house, &second, AdminState::Drain);
        drop(news);
        health_thread.join().unwrap();
        house.assert_is_published();
    });
}

#[test]
fn a_checker_that_stays_with_the_old_pool_leaves_an_old_state() {
    shuttle_finds("an old state is published", || {
        let (first, second) = (backend("first", Health::Up), backend("second", Health::Up));
        let house = House::with(&[&first, &second], 2);
        let (news, from_changer) = mpsc::channel::<News>();
        let (probes, found) = mpsc::channel();
        let health_thread = spawn(&house, move |house| house.check(&found));
        probes
            .send(News::Found(Arc::clone(&second), Health::Down))
            .unwrap();
        // The order goes to nobody who obeys it.
        house.reload(&[&first, &second], &news);
        drop((probes, from_changer));
        health_thread.join().unwrap();
        house.assert_is_published();
    });
}

#[test]
fn a_wish_that_is_published_before_it_is_written_leaves_an_old_state() {
    shuttle_finds("an old state is published", || {
        let first = backend("first", Health::Up);
        let house = House::with(&[&first], 2);
        let other = spawn(&house, |house| house.pool().publish());
        let _ = house.pool().publish();
        let _ = first.change_intent(|intent| intent.asked(None, Some(AdminState::Drain)));
        let _ = other.join().unwrap();
        house.assert_is_published();
    });
}

#[test]
fn a_reload_that_says_it_is_done_too_early_has_sessions_on_what_is_gone() {
    shuttle_finds("picked after the reload", || {
        let (first, second) = (backend("first", Health::Up), backend("second", Health::Up));
        let house = House::with(&[&first], 2);
        let (news, _orders) = mpsc::channel();
        house.first_is_gone.raise();
        let clients = sessions(&house, 0..1);
        house.reload(&[&second], &news);
        ends(clients);
    });
}

/// Sessions come and wait while a reload replaces the pool by one with the same backend: none is turned away.
#[test]
fn a_reload_turns_nobody_away() {
    model(|| {
        let only = backend("only", Health::Up);
        let house = House::with(&[&only], 3);
        let (health_thread, news) = checker(&house);
        let clients = sessions(&house, 0..3);
        house.reload(&[&only], &news);
        drop(news);
        health_thread.join().unwrap();
        assert_eq!(ends(clients), [End::Served; 3], "turned away");
    });
}

#[test]
fn a_pool_that_takes_over_before_it_is_published_turns_sessions_away() {
    shuttle_finds("turned away", || {
        let only = backend("only", Health::Up);
        let house = House::with(&[&only], 3);
        let clients = sessions(&house, 0..1);
        let newer = Arc::new(house.pool().replaced_by(&pool_config(1), vec![only]));
        newer.take_over();
        let _ = newer.publish();
        assert_eq!(ends(clients), [End::Served], "turned away");
    });
}

/// Sessions that would live for ever, and others that come at that very moment: the shutdown ends all.
#[test]
fn a_shutdown_ends_every_session() {
    model(|| {
        let (first, second) = (backend("first", Health::Up), backend("second", Health::Up));
        let house = House::with(&[&first, &second], 2);
        let long = spawn(&house, |house| house.session(0, true));
        let later = spawn(&house, |house| house.session(1, true));
        let third = spawn(&house, |house| house.session(2, false));
        house.shut_down();
        for end in ends(vec![long, later]) {
            assert!(matches!(end, End::Aborted | End::Refused), "{end:?}");
        }
        third.join().unwrap();
        house.assert_is_empty(&[&first, &second]);
    });
}

#[test]
fn a_shutdown_that_ends_only_those_it_finds_leaves_one_alive() {
    shuttle_finds("exceeded max_steps", || {
        let first = backend("first", Health::Up);
        let house = House::with(&[&first], 1);
        let late = spawn(&house, |house| house.session(0, true));
        house.gate.close();
        let reason = evener::events::EndReason::Shutdown;
        house.registry.abort_those(reason, |_| true);
        late.join().unwrap();
    });
}

/// Three sessions for one place at one backend, in which the backend goes down and comes back.
#[test]
fn who_waits_is_served_or_told() {
    model(|| {
        let only = backend("only", Health::Up);
        let house = House::with(&[&only], 3);
        let (health_thread, news) = checker(&house);
        let clients = sessions(&house, 0..3);
        news.send(News::Found(Arc::clone(&only), Health::Down))
            .unwrap();
        news.send(News::Found(Arc::clone(&only), Health::Up))
            .unwrap();
        drop(news);
        health_thread.join().unwrap();
        let ends = ends(clients);
        assert!(
            ends.iter()
                .all(|end| matches!(end, End::Served | End::NoBackend))
        );
        house.gate.close();
        house.assert_is_empty(&[&only]);
    });
}

#[test]
fn a_lease_that_is_forgotten_is_missed() {
    shuttle_finds("deadlock", || {
        let only = backend("only", Health::Up);
        let house = House::with(&[&only], 2);
        let client = std::net::IpAddr::from([127, 0, 0, 1]);
        std::mem::forget(house.pool().lease(&[], client).unwrap());
        ends(sessions(&house, 0..1));
    });
}
