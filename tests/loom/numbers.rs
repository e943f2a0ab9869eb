//! Models of the types that are one atomic: nothing is lost, and nobody is told twice what one may hear.

use super::*;

// Ticket: no two calls get the same number.

fn no_two_alike(mut taken: Vec<u64>) {
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 2], "a ticket twice");
}

#[test]
fn ticket_is_unique() {
    model(|| {
        no_two_alike(each_of(3, &Arc::new(Ticket::default()), |ticket| {
            ticket.take()
        }))
    });
}

#[test]
fn ticket_by_load_and_store_is_not() {
    loom_finds("a ticket twice", || {
        let next = Arc::new(AtomicU64::new(0));
        no_two_alike(each_of(3, &next, |next| {
            let taken = next.load(Relaxed);
            next.store(taken + 1, Relaxed);
            taken
        }));
    });
}

// Counter: nothing is lost between reading and starting again at 0.

fn nothing_lost(taken: Vec<u64>, left: u64) {
    let total = taken.iter().sum::<u64>() + left;
    assert_eq!(total, 2, "an event was lost or counted twice");
}

#[test]
fn counter_loses_nothing() {
    model(|| {
        let counter = Arc::new(Counter::default());
        let taken = each_of(2, &counter, |counter| {
            counter.increment();
            counter.take()
        });
        nothing_lost(taken, counter.get());
    });
}

#[test]
fn counter_read_and_then_zeroed_does() {
    loom_finds("lost or counted twice", || {
        let counter = Arc::new(AtomicU64::new(0));
        let taken = each_of(2, &counter, |counter| {
            counter.fetch_add(1, Relaxed);
            let taken = counter.load(Relaxed);
            counter.store(0, Relaxed);
            taken
        });
        nothing_lost(taken, counter.load(Relaxed));
    });
}

// Active: choosing the less busy of two backends and counting oneself there are one step.

fn spread_evenly(sessions: u32, active: &[Active; 2]) {
    let counts = [active[0].get(), active[1].get()];
    assert_eq!(counts[0] + counts[1], sessions);
    assert!(
        counts[0].abs_diff(counts[1]) <= 1,
        "a burst on one: {counts:?}"
    );
}

fn less_busy(active: &[Active; 2]) -> (&Active, u32) {
    let seen = [active[0].get(), active[1].get()];
    let choice = usize::from(seen[1] < seen[0]);
    (&active[choice], seen[choice])
}

#[test]
fn active_claims_spread_a_burst() {
    model(|| {
        let backends = Arc::new([Active::default(), Active::default()]);
        each_of(3, &backends, |backends| {
            loop {
                let (backend, seen) = less_busy(backends);
                if backend.claim_if(seen) {
                    break;
                }
            }
        });
        spread_evenly(3, &backends);
    });
}

#[test]
fn active_checked_and_then_claimed_does_not() {
    loom_finds("a burst on one", || {
        let backends = Arc::new([Active::default(), Active::default()]);
        each_of(3, &backends, |backends| {
            loop {
                let (backend, seen) = less_busy(backends);
                if backend.get() == seen {
                    backend.claim();
                    break;
                }
            }
        });
        spread_evenly(3, &backends);
    });
}

#[test]
fn active_claims_stay_below_the_limit() {
    model(|| {
        let active = Arc::new(Active::default());
        active.claim();
        let won = each_of(3, &active, |active| active.claim_below(2));
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
        assert_eq!(active.get(), 2);
    });
}

/// One leaves the only place and wants it again while another tries to get it.
fn one_of_two_gets_a_place_that_is_left(claim: fn(&Active) -> bool) {
    let active = Arc::new(Active::default());
    active.claim();
    let other = spawn(&active, move |active| claim(&active));
    active.release();
    let again = claim(&active);
    assert!(
        other.join().unwrap() || again,
        "a free place went to nobody"
    );
}

#[test]
fn active_place_that_is_left_goes_to_somebody() {
    model(|| one_of_two_gets_a_place_that_is_left(|active| active.claim_below(1)));
}

#[test]
fn active_claimed_and_then_looked_at_leaves_a_place_to_nobody() {
    loom_finds("went to nobody", || {
        one_of_two_gets_a_place_that_is_left(|active| {
            active.claim();
            let has_room = active.get() <= 1;
            if !has_room {
                active.release();
            }
            has_room
        });
    });
}

#[test]
fn active_looked_at_and_then_claimed_is_above_the_limit() {
    loom_finds("above the limit", || {
        let active = Arc::new(Active::default());
        each_of(2, &active, |active| {
            if active.get() < 1 {
                active.claim();
            }
        });
        assert!(active.get() <= 1, "above the limit");
    });
}

#[test]
fn active_is_won_once_from_the_same_count_and_given_back() {
    model(|| {
        let active = Arc::new(Active::default());
        let won = each_of(3, &active, |active| active.claim_if(0));
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        each_of(2, &active, |active| {
            active.claim();
            active.release();
        });
        assert_eq!(active.get(), 1);
    });
}

/// The same with all that the program has around it: rotation, policy, lease.
#[test]
fn active_of_a_pool_is_spread_by_its_leases_and_given_back() {
    model(|| {
        let pool = Arc::new(pool_of_two());
        let leases = each_of(2, &pool, |pool| {
            pool.lease(&[], [192, 0, 2, 1].into()).unwrap()
        });
        assert_ne!(leases[0].index(), leases[1].index(), "a burst on one");
        drop(leases);
        let left = pool.backends.iter().map(|backend| backend.active.get());
        assert_eq!(left.sum::<u32>(), 0);
    });
}

fn pool_of_two() -> Pool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let server = config::Backend::new(BackendAddress::Ip(address));
    let config = config::Pool {
        balance: balance::by_name("least_connections").unwrap(),
        ..config::Pool::new("web", vec![server])
    };
    let backends = ["one", "two"].map(|name| {
        let backend = Backend::new(name, address, 1, AdminState::Ready, Health::Up);
        Arc::new(backend)
    });
    let pool = Pool::new(&config, backends.into(), 0);
    let _ = pool.publish();
    pool
}

// Streak: of several failures at once each has its number, so the one that is acted upon comes once.

#[test]
fn streak_reaches_a_number_once() {
    model(|| {
        let streak = Arc::new(Streak::default());
        let numbers = each_of(3, &streak, |streak| streak.more());
        assert_eq!(numbers.iter().filter(|number| **number == 3).count(), 1);
        streak.end();
        assert_eq!(streak.more(), 1);
    });
}

#[test]
fn streak_by_load_and_store_misses_its_number() {
    loom_finds("never reached", || {
        let streak = Arc::new(AtomicU32::new(0));
        let numbers = each_of(2, &streak, |streak| {
            let number = streak.load(Relaxed) + 1;
            streak.store(number, Relaxed);
            number
        });
        assert!(numbers.contains(&2), "never reached");
    });
}

// Progress: one writer.

#[test]
fn progress_of_one_writer_only_grows_and_loses_nothing() {
    model(|| {
        let progress = Arc::new(Progress::default());
        let reaper = spawn(&progress, |progress| (progress.get(), progress.get()));
        progress.add(1);
        progress.add(2);
        let (first, second) = reaper.join().unwrap();
        assert!(first <= second && second <= 3);
        assert_eq!(progress.get(), 3);
    });
}

#[test]
fn progress_of_two_writers_loses_bytes() {
    loom_finds("bytes were lost", || {
        let progress = Arc::new(Progress::default());
        each_of(2, &progress, |progress| progress.add(1));
        assert_eq!(progress.get(), 2, "bytes were lost");
    });
}

// Cause: the first reason stays, and everybody who looks agrees on it.

#[test]
fn cause_is_the_first_that_was_given() {
    model(|| {
        let cause = Arc::new(Cause::default());
        let reader = spawn(&cause, |cause| (cause.get(), cause.get()));
        let other = spawn(&cause, |cause| cause.set(1));
        let own_was_first = cause.set(2);
        let other_was_first = other.join().unwrap();
        assert!(own_was_first != other_was_first);
        let stays = if own_was_first { 2 } else { 1 };
        assert_eq!(cause.get(), stays);
        let (before, after) = reader.join().unwrap();
        assert!([0, stays].contains(&before) && [before, stays].contains(&after));
    });
}

#[test]
fn cause_checked_and_then_set_is_given_twice() {
    loom_finds("two were first", || {
        let cause = Arc::new(AtomicU8::new(0));
        let were_first = each_of(2, &cause, |cause| {
            let is_first = cause.load(Relaxed) == 0;
            if is_first {
                cause.store(1, Relaxed);
            }
            is_first
        });
        assert_ne!(were_first, [true, true], "two were first");
    });
}

// Setting: no half of one value with half of another, and never back to the old one.

#[test]
fn setting_is_the_old_or_the_new_one() {
    model(|| {
        let setting = Arc::new(Setting::default());
        setting.set(0x0f);
        let reader = spawn(&setting, |setting| (setting.get(), setting.get()));
        setting.set(0xf0);
        let seen = reader.join().unwrap();
        assert!([(0x0f, 0x0f), (0x0f, 0xf0), (0xf0, 0xf0)].contains(&seen));
    });
}

#[test]
fn a_setting_in_two_parts_is_seen_half_changed() {
    loom_finds("half of each", || {
        let parts = Arc::new((AtomicU8::new(0), AtomicU8::new(0)));
        let reader = spawn(&parts, |parts| {
            (parts.0.load(Relaxed), parts.1.load(Relaxed))
        });
        parts.0.store(1, Relaxed);
        parts.1.store(1, Relaxed);
        let (one, other) = reader.join().unwrap();
        assert_eq!(one, other, "half of each");
    });
}

// Flag: one of those who raise it is the first. And what the relay makes of it: a thread sends our
// FIN to a peer, which may end the connection; another has read 0 there and wants to know whether
// the connection ended in order.

#[test]
fn flag_is_raised_once() {
    model(|| {
        let flag = Arc::new(Flag::default());
        let were_up = each_of(2, &flag, |flag| flag.raise());
        assert!(were_up[0] != were_up[1] && flag.is_raised());
    });
}

#[test]
fn flag_checked_and_then_raised_is_raised_twice() {
    loom_finds("two were first", || {
        let flag = Arc::new(AtomicBool::new(false));
        let were_up = each_of(2, &flag, |flag| {
            let was_up = flag.load(Relaxed);
            flag.store(true, Relaxed);
            was_up
        });
        assert_ne!(were_up, [false, false], "two were first");
    });
}

/// A connection to which the peer has sent its FIN, so that ours is its end.
#[derive(Default)]
struct FinReceived {
    fin_sent: Flag,
    /// In the kernel, and under the socket's own lock there.
    is_gone: Mutex<bool>,
}

impl FinReceived {
    /// What the one thread does, while the other calls `looks_reset`.
    fn ends_in_order(looks_reset: impl FnOnce(&FinReceived) -> bool) {
        let peer = Arc::new(FinReceived::default());
        let writer = spawn(&peer, |peer| {
            peer.fin_sent.raise();
            *peer.is_gone.lock() = true;
        });
        assert!(!looks_reset(&peer), "taken for a reset");
        writer.join().unwrap();
    }
}

#[test]
fn flag_looked_at_after_the_connection_tells_a_fin_from_a_reset() {
    model(|| {
        FinReceived::ends_in_order(|peer| *peer.is_gone.lock() && !peer.fin_sent.is_raised());
    });
}

#[test]
fn flag_looked_at_before_the_connection_does_not() {
    loom_finds("taken for a reset", || {
        FinReceived::ends_in_order(|peer| !peer.fin_sent.is_raised() && *peer.is_gone.lock());
    });
}
