//! Where the routes of a listener lead: explained for one name, and counted.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::exposition::escaped;
use crate::control::Running;
use crate::policy::routes::{Asked, Table, shown};

/// Explains the pool that a TLS client of this listener gets when it asks for that server.
///
/// # Errors
///
/// The status and the text of an answer that says which listener it has to be.
pub(super) fn explain(
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
        return Err(super::no_such("listener", listener, &names));
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
        Some(pool) => super::explain::explain(pool, client),
        None => json!({ "pool": null, "next": null, "backends": [] }),
    };
    if let Value::Object(fields) = &mut answer {
        fields.insert("listener".to_owned(), json!(found.name));
        fields.insert("sni".to_owned(), json!(shown(sni.as_bytes())));
        fields.insert("route".to_owned(), json!(asked.word()));
    }
    Ok(answer)
}

/// The labels and the value of each series of `evener_listener_routes_total`. What clients ask for is no
/// label, only whether it has a route.
pub(super) fn counts(running: &Running) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for open in &running.listeners {
        let listener = escaped(&open.listener.name);
        for (pool, counts) in &open.routed {
            let pool = escaped(pool.as_deref().unwrap_or_default());
            all.extend(Asked::ALL.map(|asked| {
                let sni = asked.word();
                let labels = format!("listener=\"{listener}\",pool=\"{pool}\",sni=\"{sni}\"");
                (labels, counts.of(asked).get())
            }));
        }
    }
    all
}
