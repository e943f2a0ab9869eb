//! Changes: from the body of a request to what is asked of the server.

use serde_json::Value;

use super::{closing, status};
use crate::control::{Answer, Change, Close, Control, Refusal};
use crate::policy::health::AdminState;

/// What a change may say, for messages.
const EXAMPLE: &str =
    r#"{"state": "drain"}, {"state": "drain", "close": {"rate": "5/s"}} or {"weight": 3}"#;

/// Reloads the config, or says what that would change.
pub(super) fn reload(control: &Control, dry_run: bool) -> Answer {
    control.ask(Change::Reload { dry_run })
}

/// Changes a backend, and answers with how it is then.
pub(super) fn change_backend(
    control: &Control,
    pool: &str,
    backend: &str,
    body: &[u8],
) -> Result<Value, Refusal> {
    let wanted = parse(body).map_err(Refusal::Invalid)?;
    let Wanted {
        weight,
        state,
        close,
    } = wanted;
    control.ask(Change::Backend {
        pool: pool.to_owned(),
        backend: backend.to_owned(),
        weight,
        state,
        close,
    })?;
    self::backend(control, pool, backend)
}

/// How a backend is.
pub(super) fn backend(control: &Control, pool: &str, backend: &str) -> Result<Value, Refusal> {
    let running = control.running.load();
    let found = running.pool(pool).and_then(|pool| {
        let mut backends = pool.backends.iter();
        backends.find(|found| *found.name == *backend)
    });
    match found {
        Some(found) => Ok(status::backend(found, control)),
        None => {
            let what = format!("there is no backend `{backend}` in a pool `{pool}`");
            Err(Refusal::NotFound(what))
        }
    }
}

/// What a change says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    weight: Option<u32>,
    state: Option<AdminState>,
    pub(super) close: Option<Close>,
}

/// Reads `{"state": …, "weight": …, "close": …}`, of which some may be missing. What else is there is a mistake.
pub(super) fn parse(body: &[u8]) -> Result<Wanted, String> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not JSON ({error}); send {EXAMPLE}"))?;
    let Value::Object(keys) = value else {
        return Err(format!("the body is no JSON object; send {EXAMPLE}"));
    };
    let mut wanted = Wanted::default();
    for (key, value) in &keys {
        match (key.as_str(), value) {
            ("weight", value) => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                wanted.weight =
                    Some(number.ok_or("weight is a whole number that is not negative")?);
            }
            ("state", Value::String(word)) => wanted.state = Some(state_of(word)?),
            ("close", value) => wanted.close = Some(closing::close(value)?),
            ("state", _) => return Err("state is a word in quotes".to_owned()),
            (other, _) => return Err(format!("unknown key {other:?}; send {EXAMPLE}")),
        }
    }
    if wanted == Wanted::default() {
        return Err(format!("nothing to change; send {EXAMPLE}"));
    }
    Ok(wanted)
}

fn state_of(word: &str) -> Result<AdminState, String> {
    AdminState::named(word).ok_or_else(|| {
        let words = AdminState::ALL.map(AdminState::word).join(", ");
        format!("unknown state {word:?}; states: {words}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_it_wants_and_nothing_else() {
        let good = |body: &str| {
            let wanted = parse(body.as_bytes()).unwrap();
            (wanted.weight, wanted.state)
        };
        assert_eq!(good(r#"{"weight": 0}"#), (Some(0), None));
        let close = br#"{"state": "drain", "close": {"rate": "5/s"}}"#;
        let close = parse(close).unwrap().close.unwrap();
        assert_eq!(close.rate, "5/s");
        let both = good(r#"{"state": "maintenance", "weight": 7}"#);
        assert_eq!(both, (Some(7), Some(AdminState::Maintenance)));
        for (body, says) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[]", "no JSON object"),
            ("{}", "nothing to change"),
            (r#"{"weight": -1}"#, "whole number"),
            (r#"{"weight": 1.5}"#, "whole number"),
            (r#"{"weight": 4294967296}"#, "whole number"),
            (r#"{"weight": "3"}"#, "whole number"),
            (r#"{"state": 1}"#, "in quotes"),
            (r#"{"state": "down"}"#, "states: ready, drain, maintenance"),
            (r#"{"state": "drain", "wait": 3}"#, "unknown key \"wait\""),
            (r#"{"state": "drain", "close": true}"#, "JSON object"),
            (r#"{"state": "drain", "close": {}}"#, "rate is missing"),
        ] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{body}: {error}");
        }
    }
}
