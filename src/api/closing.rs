//! Sessions that are closed little by little: the orders, from the body of a request, and how far they are.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::closer::Progress;
use crate::control::{Change, Close, Control, Refusal};
use crate::pool::Backend;

/// What an order may say, for messages.
const EXAMPLE: &str = r#"{"rate": "5/s", "idle_for": "10s"}"#;

/// Begins to close what backends of a pool have beyond their shares, in the place of what was begun before.
pub(super) fn rebalance(control: &Control, pool: &str, body: &[u8]) -> Result<Value, Refusal> {
    let wanted = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not JSON ({error}); send {EXAMPLE}"))
        .and_then(|body: Value| close(&body));
    let wanted = wanted.map_err(Refusal::Invalid)?;
    ask(control, pool, Some(wanted))
}

/// Ends it.
pub(super) fn stop_rebalance(control: &Control, pool: &str) -> Result<Value, Refusal> {
    ask(control, pool, None)
}

fn ask(control: &Control, pool: &str, close: Option<Close>) -> Result<Value, Refusal> {
    let pool = pool.to_owned();
    let change = Change::Rebalance {
        pool: pool.clone(),
        close,
    };
    let news = control.ask(change)?.changes;
    Ok(json!({"pool": pool, "news": news, "rebalance": of_pool(control, &pool)}))
}

/// Reads `{"rate": …, "idle_for": …}`, of which the second may be missing. What else is there is a mistake.
pub(super) fn close(value: &Value) -> Result<Close, String> {
    let Value::Object(keys) = value else {
        return Err(format!("how to close is a JSON object: {EXAMPLE}"));
    };
    let (mut rate, mut idle_for) = (None, None);
    for (key, value) in keys {
        let place = match key.as_str() {
            "rate" => &mut rate,
            "idle_for" => &mut idle_for,
            _ => return Err(format!("unknown key {key:?}; send {EXAMPLE}")),
        };
        let text = value
            .as_str()
            .ok_or_else(|| format!("{key} is text in quotes: {EXAMPLE}"))?;
        *place = Some(text.to_owned());
    }
    let rate = rate.ok_or_else(|| format!("rate is missing; send {EXAMPLE}"))?;
    Ok(Close { rate, idle_for })
}

/// How far the rebalance of a pool is, if there is one.
pub(super) fn of_pool(control: &Control, pool: &str) -> Option<Value> {
    control.closer.rebalance(pool).map(progress)
}

/// How far the closing of a backend's sessions is, if somebody has asked for that.
pub(super) fn of_backend(control: &Control, backend: &Arc<Backend>) -> Option<Value> {
    control.closer.emptying(backend).map(progress)
}

fn progress(progress: Progress) -> Value {
    json!({
        "left": progress.left,
        "closed": progress.closed,
        "rate": progress.pace.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_how_fast_and_nothing_else() {
        let read = |text: &str| close(&serde_json::from_str(text).unwrap());
        let good = read(r#"{"rate": "5/s"}"#).unwrap();
        assert_eq!((good.rate.as_str(), good.idle_for), ("5/s", None));
        let both = read(r#"{"idle_for": "3s", "rate": "x"}"#).unwrap();
        assert_eq!(
            (both.rate.as_str(), both.idle_for.as_deref()),
            ("x", Some("3s"))
        );
        for (text, says) in [
            ("5", "JSON object"),
            ("{}", "rate is missing"),
            (r#"{"idle_for": "3s"}"#, "rate is missing"),
            (r#"{"rate": 5}"#, "rate is text in quotes"),
            (r#"{"rate": "5/s", "stop": true}"#, "unknown key \"stop\""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
