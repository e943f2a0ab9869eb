//! What has to be true, whatever happened. Each rule is said in its own words here, and not by asking the
//! code that it is about.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evener::policy::health::Health;
use evener::policy::lifetime::Age;
use evener::policy::outlier::Rules;

use super::server::Server;
use super::serving::{Serving, is_full};
use super::world::{Session, World};

/// Whether the rules held; if not, which is broken, and how.
pub type Held = Result<(), String>;

/// Says how a rule is broken, if it is.
pub fn rule(holds: bool, broken: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(broken()) }
}

/// What holds after every step.
pub fn check(world: &mut World) -> Held {
    for server in &world.servers {
        wish_and_health(world, server)?;
        let held = world
            .sessions
            .iter()
            .filter(|one| Arc::ptr_eq(one.lease.backend(), &server.backend));
        let (held, active) = (held.count(), server.backend.active.get());
        rule(held == active as usize, || {
            format!("{} counts {active} sessions of {held}", server.name())
        })?;
        rule(server.limit.is_none_or(|limit| active <= limit), || {
            format!(
                "{} has {active} sessions, its limit is {:?}",
                server.name(),
                server.limit
            )
        })?;
    }
    let serving = Serving::expected(world);
    let members = world.pool.peek(IpAddr::from([127, 0, 0, 1]), |choice| {
        let members = choice.rotation.members().iter();
        members
            .map(|member| (member.backend, member.weight))
            .collect::<Vec<_>>()
    });
    let weighted = |at: &usize| (*at, world.servers[*at].wanted.counts().weight);
    let expected: Vec<(usize, u32)> = serving.members.iter().map(weighted).collect();
    let mode = world.pool.mode();
    rule((&members, mode) == (&expected, serving.mode), || {
        format!(
            "the rotation is {members:?} ({mode:?}), not {expected:?} ({:?})",
            serving.mode
        )
    })?;
    let has_room = serving
        .members
        .iter()
        .find(|at| !is_full(&world.servers[**at]));
    rule(world.waiting.is_empty() || has_room.is_none(), || {
        format!(
            "{} wait, and {} has room",
            world.waiting.len(),
            world.servers[has_room.copied().unwrap_or(0)].name()
        )
    })
}

/// A wish survives whatever comes after it but another wish, and the health is what the results say.
fn wish_and_health(world: &World, server: &Server) -> Held {
    let name = server.name();
    let (is, expected) = (server.backend.intent().effective(), server.wanted.counts());
    rule(is == expected, || {
        format!("{name} is wanted to be {is:?}, not {expected:?}")
    })?;
    let found = server.machine.health();
    let by_results = server.expected.health();
    rule(found == by_results, || {
        format!("{name} is {found:?}, and {by_results:?} by its last results")
    })?;
    let expected = match (by_results, server.says_down, server.ejected_until) {
        (_, true, _) => Health::Down,
        (Health::Up, false, Some(_)) => Health::Ejected,
        (health, false, _) => health,
    };
    let is = server.backend.health();
    rule(is == expected, || {
        format!("{name} is published as {is:?}, and is {expected:?}")
    })?;
    let overdue = server.ejected_until.filter(|until| *until <= world.now);
    rule(overdue.is_none(), || {
        format!("{name} is ejected beyond {overdue:?}")
    })
}

/// No more are ejected than may be, one stays in, and not for longer than may be.
pub fn ejected(rules: &Rules, out: usize, total: usize, lasts: Option<Duration>) -> Held {
    let percent = rules.max_ejection_percent as usize;
    rule(out < total && out * 100 <= total * percent, || {
        format!("{out} are ejected, of {total}, with {percent} %")
    })?;
    let most = rules.max_ejection_time;
    rule(
        lasts.is_some_and(|lasts| !lasts.is_zero() && lasts <= most),
        || format!("an ejection lasts {lasts:?}, and {most:?} at most"),
    )
}

/// The next probe is neither in the past nor too far away, however late the last one was.
pub fn planned(
    due: Duration,
    now: Duration,
    next: Duration,
    interval: Duration,
    jitter: f64,
) -> Held {
    let latest = due.max(now) + interval.mul_f64(1.0 + jitter) + Duration::from_nanos(1);
    rule((now.max(due)..=latest).contains(&next), || {
        format!("the next probe is at {next:?}; the last was due at {due:?}, it is {now:?}")
    })
}

/// A session only grows older, ends when its time is over, and is young for most of it.
pub fn aged(session: &Session, age: Age, now: Duration, most: Duration) -> Held {
    let lived = now - session.began;
    let rank = |age: Age| match age {
        Age::Young => 0,
        Age::Old => 1,
        Age::TooOld => 2,
    };
    let is_right =
        (age == Age::TooOld) == (lived >= most) && (lived >= most * 9 / 10 || age == Age::Young);
    rule(is_right && rank(age) >= rank(session.age), || {
        format!(
            "a session was {:?} and is {age:?} after {lived:?} of {most:?}",
            session.age
        )
    })
}

/// What moves is not silent, and what is called silent was so for long enough.
pub fn silent(
    is_silent: bool,
    is_moving: bool,
    session: &Session,
    now: Duration,
    timeout: Duration,
) -> Held {
    let silence = session.watch.silence(now);
    rule(!is_silent || (!is_moving && silence >= timeout), || {
        format!("a session is called silent after {silence:?}, moving: {is_moving}")
    })
}
