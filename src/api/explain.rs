//! `/api/v1/explain`: which backend of a pool the next client would get, and why not the others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::time;
use crate::policy::health::{AdminState, Health};
use crate::policy::slow_start;
use crate::pool::{Backend, Pool};

/// Of each backend, how it stands now. The answer is of one moment: by the time somebody reads it,
/// another client may have taken the turn. Where it depends on who the client is, it says so unless it
/// was told.
pub(super) fn explain(pool: &Pool, client: Option<IpAddr>) -> Value {
    let policy = pool.config.balance;
    // Where nothing depends on the client, anybody will do.
    let anybody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (depends, next, standing) = pool.peek(client.unwrap_or(anybody), |choice| {
        let depends = policy.by_client && client.is_none() && choice.rotation.len() > 1;
        let members = choice
            .rotation
            .members()
            .iter()
            .map(|member| member.backend);
        let share = |index: usize| match choice.share_of(index) {
            slow_start::WHOLE => String::new(),
            share => format!("; starts slowly: {} % of its share for now", share / 10),
        };
        let told = members.zip((policy.standing)(choice));
        let standing = told.map(|(index, told)| match depends {
            true => (index, "it depends on the client's address".to_owned()),
            false => (index, told + &share(index)),
        });
        let next = (policy.pick)(choice).map(|pick| pick.backend);
        let next = next.filter(|_| !depends);
        (depends, next, standing.collect::<HashMap<usize, String>>())
    });
    let backends: Vec<Value> = pool
        .backends
        .iter()
        .enumerate()
        .map(|(index, backend)| {
            let standing = standing.get(&index);
            json!({
                "name": &*backend.name,
                "address": backend.address.to_string(),
                "chosen": next == Some(index),
                "can_serve": standing.is_some() && !backend.is_full(),
                "why": match standing {
                    Some(_) if backend.is_full() => full(backend),
                    Some(standing) => standing.clone(),
                    None => obstacle(backend),
                },
            })
        })
        .collect();
    let next = next.and_then(|index| pool.backends.get(index));
    let is_nobody = next.is_none() && !depends;
    json!({
        "pool": &*pool.name,
        "balance": policy.name,
        "mode": pool.mode().word(),
        "client": client.map(|client| client.to_string()),
        "next": next.map(|backend| &*backend.name),
        "otherwise": is_nobody.then(|| otherwise(pool)),
        "depends_on_client": depends,
        "how": policy.summary,
        "backends": backends,
    })
}

/// What becomes of a client for whom no backend has room.
fn otherwise(pool: &Pool) -> String {
    match pool.queue().filter(|_| pool.can_serve()) {
        Some((queue, room)) => match queue.len() {
            waiting if waiting >= room => {
                format!("it is turned away: {waiting} wait, and no more may")
            }
            0 => "it waits until one has room".to_owned(),
            waiting => format!("it waits until one has room, behind {waiting} others"),
        },
        None => pool.config.when_down.fate().to_owned(),
    }
}

/// Why a backend that could take a session can't take another one.
fn full(backend: &Backend) -> String {
    let limit = backend.limit().unwrap_or_default();
    format!("full: {} sessions of {limit}", backend.active.get())
}

/// Why a backend can't take a session.
fn obstacle(backend: &Backend) -> String {
    let (intent, condition) = (backend.intent(), backend.condition());
    let wish = intent.current();
    let by = match intent.is_overridden() {
        true => "asked for at run time",
        false => "by the config",
    };
    if wish.state != AdminState::Ready {
        return format!("its state is {}, {by}", wish.state.word());
    }
    if wish.weight == 0 {
        return format!("its weight is 0, {by}");
    }
    let effective = intent.effective();
    if effective.state != AdminState::Ready {
        return format!("its state is {}, by its agent", effective.state.word());
    }
    if effective.weight == 0 {
        return "its weight is 0, by its agent".to_owned();
    }
    let since = time(condition.since);
    if wish.backup && condition.health == Health::Up {
        return "a backup, and others are up".to_owned();
    }
    match condition.health {
        Health::Starting => "no probe of it has ended yet".to_owned(),
        Health::Down => format!("down since {since}: {}", condition.reason),
        Health::Ejected => format!("ejected since {since}: {}", condition.reason),
        Health::Up => format!("up since {since}, and about to be in the rotation"),
    }
}
