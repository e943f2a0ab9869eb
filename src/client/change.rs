//! Orders: which backend is meant, and what came of it.

use serde_json::Value;

use super::ClientError;
use super::text::{connections, field, items};

/// The pool and the name of the backend that was meant: `POOL/BACKEND`, or the backend's name alone
/// where there is only one of that name. Names may have slashes in them, so the status decides.
pub(super) fn find(status: &Value, wanted: &str) -> Result<(String, String), ClientError> {
    let mut all = Vec::new();
    for pool in items(status, "pools") {
        let pool_name = pool.get("name").and_then(Value::as_str).unwrap_or_default();
        for backend in items(pool, "backends") {
            let name = backend.get("name").and_then(Value::as_str);
            all.push((pool_name, name.unwrap_or_default()));
        }
    }
    let full = |(pool, backend): &(&str, &str)| format!("{pool}/{backend}");
    let in_full: Vec<_> = all.iter().filter(|pair| full(pair) == wanted).collect();
    let by_name: Vec<_> = all.iter().filter(|(_, name)| *name == wanted).collect();
    let found = if in_full.is_empty() { by_name } else { in_full };
    let list = |pairs: &mut dyn Iterator<Item = &(&str, &str)>| {
        pairs.map(full).collect::<Vec<_>>().join(", ")
    };
    match found.as_slice() {
        [(pool, backend)] => Ok(((*pool).to_owned(), (*backend).to_owned())),
        [] => Err(ClientError::new(
            format!("there is no backend `{wanted}`"),
            format!("there are: {}", list(&mut all.iter())),
        )),
        several => Err(ClientError::new(
            format!("`{wanted}` may be one of several backends"),
            format!("say which: {}", list(&mut several.iter().copied())),
        )),
    }
}

/// A backend as it is after an order.
pub(super) fn changed(pool: &str, backend: &Value) -> String {
    format!(
        "{}/{} is {}, {}, weight {}, {}\n",
        crate::config::visible(pool),
        field(backend, "name"),
        field(backend, "admin_state"),
        field(backend, "health"),
        field(backend, "weight"),
        connections(backend, "active")
    )
}

/// A connection after its end.
pub(super) fn killed(answer: &Value) -> String {
    format!("connection {} was reset\n", field(answer, "id"))
}

/// What a reload has changed, or would.
pub(super) fn reloaded(answer: &Value) -> String {
    let is_dry = answer.get("dry_run") == Some(&Value::Bool(true));
    let changes = items(answer, "changes");
    let mut out = match (is_dry, changes.is_empty()) {
        (false, true) => "reloaded; nothing has changed\n",
        (false, false) => "reloaded:\n",
        (true, true) => "the config is valid; a reload would change nothing\n",
        (true, false) => "the config is valid; a reload would change:\n",
    }
    .to_owned();
    for change in changes.iter().filter_map(Value::as_str) {
        out.push_str(&format!("  {}\n", crate::config::visible(change)));
    }
    for warning in items(answer, "warnings").iter().filter_map(Value::as_str) {
        out.push_str(&format!("warning: {}\n", crate::config::visible(warning)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_backend_is_found_by_its_full_name_or_by_its_own_where_that_is_enough() {
        let status = json!({"pools": [
            {"name": "web", "backends": [{"name": "a"}, {"name": "b"}, {"name": "db:1/10.0.0.1"}]},
            {"name": "api", "backends": [{"name": "a"}, {"name": "web/b"}]},
        ]});
        let found = |wanted: &str| find(&status, wanted).map_err(|error| error.to_string());
        let pair = |pool: &str, backend: &str| Ok((pool.to_owned(), backend.to_owned()));
        assert_eq!(found("web/a"), pair("web", "a"));
        assert_eq!(found("b"), pair("web", "b"));
        assert_eq!(found("db:1/10.0.0.1"), pair("web", "db:1/10.0.0.1"));
        assert_eq!(found("web/db:1/10.0.0.1"), pair("web", "db:1/10.0.0.1"));
        assert_eq!(found("api/web/b"), pair("api", "web/b"));
        assert_eq!(
            found("web/b"),
            pair("web", "b"),
            "the full name goes before"
        );
        let several = found("a").unwrap_err();
        assert!(several.contains("say which: web/a, api/a"), "{several}");
        let none = found("web/c").unwrap_err();
        assert!(none.contains("there are: web/a, web/b"), "{none}");
    }

    #[test]
    fn what_came_of_it_is_told() {
        let backend =
            json!({"name": "a", "admin_state": "drain", "health": "up", "weight": 3, "active": 12});
        assert_eq!(
            changed("web", &backend),
            "web/a is drain, up, weight 3, 12 connections\n"
        );
        assert_eq!(killed(&json!({"id": 12})), "connection 12 was reset\n");
        let answer = |dry_run: bool, changes: &[&str]| {
            reloaded(&json!({"dry_run": dry_run, "changes": changes}))
        };
        assert_eq!(answer(false, &[]), "reloaded; nothing has changed\n");
        assert_eq!(
            answer(false, &["pool web: + a"]),
            "reloaded:\n  pool web: + a\n"
        );
        assert!(answer(true, &["x\u{1b}"]).ends_with("would change:\n  x\\u{1b}\n"));
        let warned = reloaded(&json!({"dry_run": true, "changes": [], "warnings": ["w\u{1b}"]}));
        assert!(warned.ends_with("change nothing\nwarning: w\\u{1b}\n"));
    }
}
