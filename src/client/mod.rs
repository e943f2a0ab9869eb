//! The client: asks a running evener what it does, and tells it what to do (`evener status`,
//! `evener drain web/a`). It runs on the main thread of a process of its own and shares nothing with
//! the server but the words of the API.
//!
//! | file | what it is |
//! | --- | --- |
//! | `http` | one request to the admin server, one answer |
//! | `place` | where that server is, and with which token |
//! | `text` | numbers, durations, bytes and tables, for people |
//! | `status`, `connections`, `explain`, `change`, `closing` | JSON to text, one file for each kind of answer; pure |
//! | `top` | two snapshots to a page of rates; pure |
//! | `screen` | the terminal that `top` draws on |

mod change;
mod closing;
mod connections;
mod error;
mod explain;
mod http;
mod place;
mod screen;
mod status;
mod text;
mod top;

pub use error::ClientError;

use std::io::{self, IsTerminal};
use std::time::SystemTime;

use crossbeam_channel::Receiver;
use serde_json::{Value, json};

use crate::config::{Ask, What};
use crate::policy::health::AdminState;
use http::{Method, Server, encoded};
use place::Place;

/// Asks, and returns what is to be printed. `quit` is called for a question that goes on until it is
/// told to stop, by a message of that channel.
///
/// # Errors
///
/// [`ClientError`]: nobody answers, or what answers refuses.
pub fn run<E: std::fmt::Display>(
    ask: &Ask,
    quit: impl FnOnce() -> Result<Receiver<()>, E>,
) -> Result<String, ClientError> {
    let server = Server::new(Place::of(ask)?)?;
    match &ask.what {
        What::Status => {
            let text = server.send(Method::Get, "/api/v1/status", None)?;
            shown(ask, &server, text, |answer| {
                status::render(answer, SystemTime::now())
            })
        }
        What::Connections => {
            let text = server.send(Method::Get, "/api/v1/connections", None)?;
            shown(ask, &server, text, connections::render)
        }
        What::Top if io::stdout().is_terminal() => {
            let quit = quit().map_err(|error| {
                ClientError::new(format!("can't wait for signals: {error}"), "")
            })?;
            screen::run(&server, &quit)
        }
        What::Top => Ok(top::render(None, &top::Snapshot::take(&server)?, None)),
        What::Explain { pool, client } => {
            let mut path = format!("/api/v1/explain?pool={}", encoded(pool));
            if let Some(client) = client {
                path.push_str(&format!("&client={}", encoded(&client.to_string())));
            }
            let text = server.send(Method::Get, &path, None)?;
            shown(ask, &server, text, explain::render)
        }
        What::ExplainRoute { listener, sni } => {
            let (listener, sni) = (encoded(listener), encoded(sni));
            let path = format!("/api/v1/explain?listener={listener}&sni={sni}");
            let text = server.send(Method::Get, &path, None)?;
            shown(ask, &server, text, explain::render_route)
        }
        What::State {
            backend,
            state,
            close,
        } => {
            let state = AdminState::word(*state);
            let order = match close {
                Some(close) => json!({"state": state, "close": closing::order(close)}),
                None => json!({"state": state}),
            };
            change_backend(ask, &server, backend, &order)
        }
        What::Rebalance { pool, close } => {
            let path = format!("/api/v1/pools/{}/rebalance", encoded(pool));
            let (method, order) = match close {
                Some(close) => (Method::Post, Some(closing::order(close))),
                None => (Method::Delete, None),
            };
            let text = server.send(method, &path, order.as_ref())?;
            shown(ask, &server, text, closing::rebalanced)
        }
        What::Weight { backend, weight } => {
            change_backend(ask, &server, backend, &json!({"weight": weight}))
        }
        What::Kill { id } => {
            let path = format!("/api/v1/connections/{id}");
            let text = server.send(Method::Delete, &path, None)?;
            shown(ask, &server, text, change::killed)
        }
        What::Reload { dry_run } => {
            let query = if *dry_run { "?dry_run=true" } else { "" };
            let path = format!("/api/v1/reload{query}");
            let text = server.send(Method::Post, &path, Some(&json!({})))?;
            shown(ask, &server, text, change::reloaded)
        }
    }
}

/// The answer as text for people, or as the JSON that it is.
fn shown(
    ask: &Ask,
    server: &Server,
    answer: String,
    render: impl Fn(&Value) -> String,
) -> Result<String, ClientError> {
    let value = server.parse(&answer)?;
    if ask.json {
        return Ok(text::printable_json(&answer));
    }
    Ok(render(&value))
}

fn change_backend(
    ask: &Ask,
    server: &Server,
    wanted: &str,
    order: &Value,
) -> Result<String, ClientError> {
    let status = server.get("/api/v1/status")?;
    let (pool, backend) = change::find(&status, wanted)?;
    let path = format!(
        "/api/v1/pools/{}/backends/{}",
        encoded(&pool),
        encoded(&backend)
    );
    let text = server.send(Method::Post, &path, Some(order))?;
    shown(ask, server, text, |answer| change::changed(&pool, answer))
}
