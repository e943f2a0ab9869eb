//! What has to be true of picks, of shares, and of what a rebalance moves.

use std::sync::Arc;
use std::time::Duration;

use evener::policy::balance::{Choice, Hashing};
use evener::policy::health::AdminState;
use evener::policy::slow_start;
use evener::pool::Lease;

use super::rules::{Held, rule};
use super::server::Server;
use super::serving::{Serving, is_full};
use super::world::{Session, World};

/// How busy all were before a pick.
pub struct Before {
    active: Vec<u32>,
}

impl Before {
    pub fn of(world: &World) -> Before {
        let active = world
            .servers
            .iter()
            .map(|server| server.backend.active.get());
        Before {
            active: active.collect(),
        }
    }
}

/// Nobody is picked who can't serve, who was tried, or who is full; and the least busy where that is the
/// policy.
pub fn leased(world: &World, before: &Before, lease: &Lease, tried: &[usize]) -> Held {
    let (at, serving) = (lease.index(), Serving::expected(world));
    let name = world.servers[at].name();
    rule(!tried.contains(&at), || {
        format!("{name} was tried before: {tried:?}")
    })?;
    let is_one_of = |these: &[usize]| these.contains(&at);
    rule(
        is_one_of(&serving.members) || is_one_of(&serving.open_to(tried)),
        || format!("{name} is picked, which does not serve: {serving:?}"),
    )?;
    let is_open = |at: &&usize| {
        !tried.contains(at)
            && world.servers[**at]
                .limit
                .is_none_or(|limit| before.active[**at] < limit)
    };
    let open: Vec<usize> = serving.members.iter().filter(is_open).copied().collect();
    rule(is_one_of(&serving.members) || open.is_empty(), || {
        format!("{name} is picked out of the reserve, while {open:?} are there")
    })?;
    if world.config.balance.name != "least_connections" || !is_one_of(&open) {
        return Ok(());
    }
    let weight = |at: usize| u64::from(world.servers[at].wanted.counts().weight);
    let load = |at: usize, by: usize| u64::from(before.active[at]) * weight(by);
    let lesser = open
        .iter()
        .find(|other| load(**other, at) < load(at, **other));
    rule(lesser.is_none(), || {
        format!("{name} is picked, and {lesser:?} has less to do")
    })
}

/// A session was given nobody though there are some that it could go to: they are full.
pub fn all_are_full(world: &World, tried: &[usize]) -> Held {
    let open = Serving::expected(world).open_to(tried);
    let with_room = open.iter().find(|at| !is_full(&world.servers[**at]));
    rule(with_room.is_none(), || {
        format!("nobody is picked, and {with_room:?} has room")
    })
}

/// A session was told that there is nobody at all that it has not tried.
pub fn nobody_is_left(world: &World, tried: &[usize]) -> Held {
    let open = Serving::expected(world).open_to(tried);
    rule(open.is_empty(), || {
        format!("nobody is left but {tried:?}, and {open:?} were not tried")
    })
}

/// Shares: over a whole cycle each member gets its weight by round robin, and nobody else anything; where
/// the client decides, it decides the same twice; who starts slowly gets no less as time goes on.
pub fn survey(world: &mut World) -> Held {
    let (policy, client) = (world.config.balance, world.client());
    let ticket = world.random.below(1 << 40);
    let recovered: Vec<u64> = world
        .servers
        .iter()
        .map(|_| world.random.below(2_000))
        .collect();
    let bits = world.random.bits();
    world.pool.peek(client, |seen| {
        let ask = |ticket: u64, share: Option<&dyn Fn(usize) -> u32>| {
            let choice = Choice {
                is_full: None,
                share,
                ticket,
                random: if policy.by_client {
                    seen.hashing.client
                } else {
                    bits
                },
                hashing: Hashing { ..seen.hashing },
                ..*seen
            };
            (policy.pick)(&choice).map(|pick| pick.backend)
        };
        let members = seen.rotation.members();
        let picks = seen.rotation.slots().len() as u64;
        if policy.name.ends_with("round_robin") {
            let picked: Vec<_> = (0..picks).map(|n| ask(ticket + n, None)).collect();
            for member in members {
                let count = picked
                    .iter()
                    .filter(|pick| **pick == Some(member.backend))
                    .count() as u64;
                let weights: u64 = members.iter().map(|one| u64::from(one.weight)).sum();
                rule(count * weights == picks * u64::from(member.weight), || {
                    format!("{member:?} is picked {count} times of {picks}")
                })?;
            }
        }
        let (once, again) = (ask(ticket, None), ask(ticket + 1, None));
        rule(!policy.by_client || once == again, || {
            format!("{client} gets {once:?}, then {again:?}")
        })?;
        rule(once.is_some() || members.is_empty(), || {
            "nobody is picked of some".to_owned()
        })?;
        let ramp = Duration::from_millis(1_000);
        let at = |later: u64| {
            let recovered = &recovered;
            move |at: usize| slow_start::share(Duration::from_millis(recovered[at] + later), ramp)
        };
        let (now, later) = (at(0), at(100));
        let falls = (0..recovered.len()).find(|at| now(*at) > later(*at));
        rule(falls.is_none(), || format!("the share of {falls:?} falls"))?;
        let slowly = ask(ticket, Some(&now));
        rule(
            slowly.is_none_or(|at| members.iter().any(|one| one.backend == at)),
            || format!("{slowly:?} is picked, which does not serve"),
        )
    })
}

/// What is closed for a rebalance leaves each with no more than its share, and touches nobody who is to be
/// left alone.
pub fn rebalance(world: &mut World) -> Held {
    let excess: Vec<_> = world
        .pool
        .excess()
        .iter()
        .map(|(one, _, beyond)| (Arc::clone(one), *beyond))
        .collect();
    let serving = Serving::expected(world);
    let active = |server: &Server| u64::from(server.backend.active.get());
    let is_apart = |server: &Server| {
        let wish = server.wanted.counts();
        !server.is_well() || wish.state != AdminState::Ready || wish.weight == 0
    };
    let weight = |at: usize| match serving.members.contains(&at) && world.servers[at].is_well() {
        true => u64::from(world.servers[at].wanted.counts().weight),
        false => 0,
    };
    let weights: u64 = (0..world.servers.len()).map(weight).sum();
    let total: u64 = world
        .servers
        .iter()
        .filter(|one| !is_apart(one))
        .map(active)
        .sum();
    for (at, server) in world.servers.iter().enumerate() {
        let beyond = excess
            .iter()
            .find(|(one, _)| Arc::ptr_eq(one, &server.backend));
        let beyond = beyond.map_or(0, |(_, beyond)| u64::from(*beyond));
        let active = active(server);
        rule(
            beyond <= active && (beyond == 0 || !is_apart(server) && weights > 0),
            || {
                format!(
                    "{beyond} of {active} sessions of {} are moved",
                    server.name()
                )
            },
        )?;
        let left = (active - beyond) * weights;
        rule(
            is_apart(server) || left < total * weight(at) + weights.max(1),
            || {
                format!(
                    "{} keeps {} of {total} sessions",
                    server.name(),
                    active - beyond
                )
            },
        )?;
    }
    for (backend, beyond) in excess {
        for _ in 0..beyond {
            let is_its = |session: &Session| Arc::ptr_eq(session.lease.backend(), &backend);
            if let Some(at) = world.sessions.iter().position(is_its) {
                drop(world.sessions.swap_remove(at));
            }
        }
    }
    world.serve_those_who_wait();
    Ok(())
}
