//! What can happen in a step of a history.

use std::sync::Arc;
use std::time::Duration;

use evener::policy::agent;
use evener::policy::health::{AdminState, is_probed};
use evener::policy::idle::Outstanding;
use evener::policy::lifetime::{self, Age};
use evener::policy::schedule::{self, Intervals};
use evener::pool::{AgentReport, Condition};

use super::picks;
use super::rules;
use super::world::{SESSIONS_MAX, World};

const INTERVALS: Intervals = Intervals {
    normal: Duration::from_secs(2),
    fast: Duration::from_millis(500),
    down: Duration::from_secs(3),
};

const MAX_LIFETIME: Duration = Duration::from_secs(1800);

const IDLE: Duration = Duration::from_secs(600);

/// What agents say, sense and nonsense.
const LINES: [&str; 10] = [
    "100%",
    "50%",
    "1%",
    "0%",
    "ready",
    "drain",
    "maint",
    "down #disk",
    "up",
    "sideways",
];

/// One step.
pub fn step(world: &mut World) -> Result<(), String> {
    world.step += 1;
    match world.random.below(100) {
        0..30 => arrive(world),
        30..45 => leave(world),
        45..75 => probe(world),
        75..80 => live_or_die(world),
        80..89 => pass_time(world),
        89..93 => ask(world),
        93..96 => hear(world),
        96..98 => reload(world),
        98 => picks::survey(world),
        _ => picks::rebalance(world),
    }
}

/// A client comes: it is connected to the first backend that is alive, of as many as it may try.
fn arrive(world: &mut World) -> Result<(), String> {
    if world.sessions.len() >= SESSIONS_MAX {
        return leave(world);
    }
    let client = world.client();
    if !world.waiting.is_empty() {
        return wait(world, client);
    }
    let mut tried = Vec::new();
    for _ in 0..=world.config.retries {
        let before = picks::Before::of(world);
        let Some(lease) = world.pool.lease(&tried, client) else {
            if world.pool.has_untried(&tried) {
                picks::all_are_full(world, &tried)?;
                return if tried.is_empty() {
                    wait(world, client)
                } else {
                    Ok(())
                };
            }
            return picks::nobody_is_left(world, &tried);
        };
        let at = lease.index();
        picks::leased(world, &before, &lease, &tried)?;
        if world.servers[at].is_alive {
            world.servers[at].backend.failures.end();
            world.begin(lease);
            return Ok(());
        }
        tried.push(at);
        drop(lease);
        world.failed(at)?;
        world.serve_those_who_wait();
    }
    Ok(())
}

fn wait(world: &mut World, client: std::net::IpAddr) -> Result<(), String> {
    let room = world.pool.queue().map_or(0, |(_, room)| room);
    if world.waiting.len() < room.min(SESSIONS_MAX) {
        world.waiting.push_back(client);
    }
    Ok(())
}

/// A session ends, and who waits has its place.
fn leave(world: &mut World) -> Result<(), String> {
    if !world.sessions.is_empty() {
        let at = world.random.place(&world.sessions);
        drop(world.sessions.swap_remove(at));
        world.serve_those_who_wait();
    }
    Ok(())
}

/// The probe that is due next ends; if that is later, the clock moves on to it.
fn probe(world: &mut World) -> Result<(), String> {
    let is_asked = |at: &usize| is_probed(world.servers[*at].backend.intent().effective().state);
    let all = (0..world.servers.len()).filter(is_asked);
    let Some(at) = all.min_by_key(|at| world.servers[*at].probes.due) else {
        return Ok(());
    };
    world.now = world.now.max(world.servers[at].probes.due);
    world.wake();
    let is_lost = world.random.one_in(30);
    world.observe(at, world.servers[at].is_alive && !is_lost);
    let random = world.random.bits();
    let (now, jitter, next_probe) = (world.now, world.jitter, world.core.next_probe);
    let server = &mut world.servers[at];
    let interval = INTERVALS.after(server.machine.health(), server.machine.streak());
    let due = server.probes.due;
    server.probes.due = match server.probes.probed_before {
        true => next_probe(due, now, interval, jitter, random),
        false => schedule::second_probe(due, interval, random).max(now),
    };
    server.probes.probed_before = true;
    let next = server.probes.due;
    rules::planned(due, now, next, interval, jitter)
}

fn live_or_die(world: &mut World) -> Result<(), String> {
    if !world.servers.is_empty() {
        let at = world.random.place(&world.servers);
        let server = &mut world.servers[at];
        server.is_alive = !server.is_alive;
        let line = format!("{} lives: {}", server.name(), server.is_alive);
        world.note(line);
    }
    Ok(())
}

/// The clock stands, crawls, runs or leaps, and the reaper looks at the sessions.
fn pass_time(world: &mut World) -> Result<(), String> {
    let most = world
        .random
        .one_of(&[0, 1, 300, 300, 5_000, 60_000, 600_000, 86_400_000]);
    let passed = Duration::from_millis(world.random.below(most + 1));
    world.now += passed;
    world.note(format!("{passed:?} have passed"));
    world.wake();
    let now = world.now;
    for at in (0..world.sessions.len()).rev() {
        let is_moving = world.random.one_in(2);
        let session = &mut world.sessions[at];
        session.moved += u64::from(is_moving);
        let age = lifetime::age(session.id, now - session.began, MAX_LIFETIME);
        rules::aged(session, age, now, MAX_LIFETIME)?;
        session.age = age;
        let moved = session.moved;
        let watch = &mut session.watch;
        let is_silent =
            watch.seems_silent(now, moved, IDLE) && watch.is_silent(now, Outstanding::Nothing);
        rules::silent(is_silent, is_moving, session, now, IDLE)?;
        if is_silent || age == Age::TooOld {
            drop(world.sessions.swap_remove(at));
        }
    }
    world.serve_those_who_wait();
    Ok(())
}

/// The administrator wants something of a server.
fn ask(world: &mut World) -> Result<(), String> {
    if world.servers.is_empty() {
        return Ok(());
    }
    let at = world.random.place(&world.servers);
    let weight = world
        .random
        .one_of(&[None, None, Some(0), Some(1), Some(4)]);
    let state = world
        .random
        .one_of(&[None, Some(AdminState::Ready), Some(AdminState::Ready)]);
    let state = state.map(|ready| {
        world
            .random
            .one_of(&[ready, AdminState::Drain, AdminState::Maintenance])
    });
    let server = &mut world.servers[at];
    server
        .backend
        .change_intent(|intent| intent.asked(weight, state));
    server.wanted.ask(weight, state, world.step);
    let line = format!("{} is asked for {weight:?} {state:?}", server.name());
    world.note(line);
    world.rest_or_start(at);
    world.publish(true);
    Ok(())
}

/// The agent of a server says something.
fn hear(world: &mut World) -> Result<(), String> {
    if world.servers.is_empty() {
        return Ok(());
    }
    let (at, line) = (
        world.random.place(&world.servers),
        world.random.one_of(&LINES),
    );
    let Ok(said) = agent::parse(line) else {
        return Ok(());
    };
    let server = &mut world.servers[at];
    server
        .backend
        .change_intent(|intent| intent.advised(said.percent, said.state));
    server.wanted.advise(said.percent, said.state, world.step);
    if let Some(health) = said.health {
        server.says_down = health.is_err();
        let down = health
            .err()
            .map(|why| Condition::new(evener::policy::health::Health::Down, &why));
        let line = Arc::from(line);
        server
            .backend
            .set_agent_report(Some(AgentReport { line, down }));
    }
    let line = format!("the agent of {} says {line}", server.name());
    world.note(line);
    world.rest_or_start(at);
    world.publish(true);
    Ok(())
}

/// A config comes that has lost servers, has new ones, says something new of one, or is the same.
fn reload(world: &mut World) -> Result<(), String> {
    world.note("a reload".to_owned());
    if world.servers.len() > 1 && world.random.one_in(3) {
        let at = world.random.place(&world.servers);
        let gone = world.servers.remove(at);
        gone.backend.set_ejection(None);
    }
    if world.servers.len() < 8 && world.random.one_in(3) {
        let server = world.new_server();
        let at = world.random.below(world.servers.len() as u64 + 1) as usize;
        world.servers.insert(at, server);
    }
    for at in 0..world.servers.len() {
        let mut wish = world.servers[at].wanted.configured();
        if world.random.one_in(6) {
            wish.weight = world.random.below(5) as u32;
        }
        let reloaded = world.core.reloaded;
        let server = &mut world.servers[at];
        server
            .backend
            .change_intent(|intent| reloaded(intent, wish));
        server.wanted.reload(wish);
        world.rest_or_start(at);
    }
    world.build_pool();
    Ok(())
}
