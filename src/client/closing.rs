//! Sessions that are closed little by little: what is asked for, and how far it is.

use serde_json::{Value, json};

use super::text::{field, items};
use crate::config::closing::Close;

/// The order, as the API takes it.
pub(super) fn order(close: &Close) -> Value {
    match &close.idle_for {
        Some(idle_for) => json!({"rate": close.rate, "idle_for": idle_for}),
        None => json!({"rate": close.rate}),
    }
}

/// What a rebalance has begun, or ended.
pub(super) fn rebalanced(answer: &Value) -> String {
    let mut out = String::new();
    for line in items(answer, "news").iter().filter_map(Value::as_str) {
        out.push_str(&format!("{}\n", crate::config::visible(line)));
    }
    if out.is_empty() {
        out = format!(
            "pool {}: there is nothing to close\n",
            field(answer, "pool")
        );
    }
    out
}

/// Of a pool or a backend: how many of its sessions are still to be closed, and how fast.
pub(super) fn progress(of: &Value, key: &str, word: &str) -> String {
    match of.get(key) {
        Some(progress @ Value::Object(_)) => format!(
            ", {word} {} at {}",
            field(progress, "left"),
            field(progress, "rate")
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_and_how_far_it_is() {
        let news = json!({"pool": "web", "news": ["rebalance of pool web: 12"], "rebalance": {}});
        assert_eq!(rebalanced(&news), "rebalance of pool web: 12\n");
        let none = json!({"pool": "web", "news": [], "rebalance": null});
        assert_eq!(rebalanced(&none), "pool web: there is nothing to close\n");
        let status = json!({"rebalance": {"left": 7, "closed": 5, "rate": "5/s"}, "closing": null});
        assert_eq!(
            progress(&status, "rebalance", "to move"),
            ", to move 7 at 5/s"
        );
        assert_eq!(progress(&status, "closing", "closing"), "");
    }
}
