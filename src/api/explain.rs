//! `/api/v1/explain`: which backend of a pool the next client would get, and why not the others; and to
//! which pool a listener's routes lead.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::time;
use crate::control::Running;
use crate::policy::health::{AdminState, Health};
use crate::policy::routes::{Asked, Table, shown};
use crate::pool::{Backend, Pool};

/// Of each backend, how it stands now. The answer is of one moment: by the time somebody reads it,
/// another client may have taken the turn.
pub(super) fn explain(pool: &Pool, client: Option<IpAddr>) -> Value {
    let policy = pool.config.balance;
    let (next, standing) = pool.peek(|choice| {
        let members = choice
            .rotation
            .members()
            .iter()
            .map(|member| member.backend);
        let standing = members.zip((policy.standing)(choice));
        let next = (policy.pick)(choice).map(|pick| pick.backend);
        (next, standing.collect::<HashMap<usize, String>>())
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
                "can_serve": standing.is_some(),
                "why": standing.map_or_else(|| obstacle(backend), String::clone),
            })
        })
        .collect();
    let next = next.and_then(|index| pool.backends.get(index));
    json!({
        "pool": &*pool.name,
        "balance": policy.name,
        "mode": pool.mode().word(),
        "client": client.map(|client| client.to_string()),
        "next": next.map(|backend| &*backend.name),
        "how": policy.summary,
        "backends": backends,
    })
}

/// The same, of the pool that a TLS client of this listener gets when it asks for that server.
///
/// # Errors
///
/// The status and the text of an answer that says which listener it has to be.
pub(super) fn route(
    running: &Running,
    listener: Option<&str>,
    sni: &str,
    client: Option<IpAddr>,
) -> Result<Value, (u16, String)> {
    let listeners = &running.config.listeners;
    let found = match (listener, listeners.as_slice()) {
        (Some(name), all) => all.iter().find(|one| one.name == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some(found) = found else {
        let names: Vec<&str> = listeners.iter().map(|one| one.name.as_str()).collect();
        let what = format!("which listener? ?listener= is one of: {}", names.join(", "));
        return Err((if listener.is_some() { 404 } else { 400 }, what));
    };
    let routes = &found.routes.list;
    let names = routes
        .iter()
        .zip(0..)
        .flat_map(|(route, place)| route.sni.iter().map(move |name| (name, place)));
    let place = Table::new(names).find(sni.as_bytes());
    let route = place.and_then(|place| routes.get(place));
    let name = route.map_or(found.pool.as_ref(), |route| Some(&route.pool));
    let asked = route.map_or(Asked::Unknown, |_| Asked::Known);
    let mut answer = match name.and_then(|name| running.pool(name)) {
        Some(pool) => explain(pool, client),
        None => json!({ "pool": null, "next": null, "backends": [] }),
    };
    if let Value::Object(fields) = &mut answer {
        fields.insert("listener".to_owned(), json!(found.name));
        fields.insert("sni".to_owned(), json!(shown(sni.as_bytes())));
        fields.insert("route".to_owned(), json!(asked.word()));
    }
    Ok(answer)
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
    let since = time(condition.since);
    if wish.backup && condition.health == Health::Up {
        return "a backup, and others are up".to_owned();
    }
    match condition.health {
        Health::Starting => "no probe of it has ended yet".to_owned(),
        Health::Down => format!("down since {since}: {}", condition.reason),
        Health::Up => format!("up since {since}, and about to be in the rotation"),
    }
}
