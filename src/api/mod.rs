//! What the admin server answers: health, status, metrics, explanations, changes.
//!
//! It runs on the threads of the admin server. To answer a question it takes snapshots; a change it
//! asks of the server's thread, over [`Control`], and waits. Only what is in [`PATHS`] is served.
//!
//! | path | method | answer |
//! | --- | --- | --- |
//! | `/` | GET | the status page |
//! | `/healthz` | GET | the process lives |
//! | `/readyz` | GET | 200 if every pool in use can serve and no drain has begun, else 503 and why |
//! | `/metrics` | GET | Prometheus |
//! | `/api/v1/status`, `/api/v1/connections` | GET | JSON |
//! | `/api/v1/explain?pool=P[&client=IP]` | GET | JSON |
//! | `/api/v1/explain?listener=L&sni=NAME` | GET | the same, of the pool for TLS clients that ask for that name |
//! | `/api/v1/pools/P/backends/B` | GET, POST | the backend; POST changes `state` and `weight`, or closes its sessions |
//! | `/api/v1/pools/P/rebalance` | POST, DELETE | closes what backends have beyond their shares, or no longer |
//! | `/api/v1/connections/ID` | DELETE | ends the session with a reset |
//! | `/api/v1/reload[?dry_run=true]` | POST | what has changed, or would |

mod changes;
mod closing;
mod connections;
mod explain;
mod exposition;
mod metrics;
mod names;
mod page;
mod paths;
mod process;
mod routes;
mod status;

pub use paths::PATHS;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::admin::{Handler, Method, Request, Response};
use crate::control::{Close, Control, Refusal};

/// Answers for one balancer.
#[derive(Debug)]
pub struct Api {
    control: Arc<Control>,
}

impl Api {
    /// For the balancer behind this control.
    pub fn new(control: Arc<Control>) -> Api {
        Api { control }
    }

    fn get(&self, request: &Request, path: &[&str]) -> Option<Response> {
        let control = &*self.control;
        Some(match path {
            [] => page::page(),
            ["healthz"] => Response::text("alive\n"),
            ["readyz"] => match control.readiness() {
                Ok(()) => Response::text("ready\n"),
                Err(why) => Response::text(format!("{why}\n")).with_status(503),
            },
            ["metrics"] => Response::text(metrics::metrics(control))
                .with_content_type("text/plain; version=0.0.4; charset=utf-8"),
            ["api", "v1", "status"] => Response::json(&status::status(control)),
            ["api", "v1", "connections"] => Response::json(&connections::connections(control)),
            ["api", "v1", "explain"] => self.explain(request),
            ["api", "v1", "pools", pool, "backends", backend] => {
                answered(changes::backend(control, pool, backend))
            }
            _ => return None,
        })
    }

    fn post(&self, request: &Request, path: &[&str]) -> Option<Response> {
        let control = &*self.control;
        Some(match path {
            ["api", "v1", "pools", pool, "backends", backend] => answered(changes::change_backend(
                control,
                pool,
                backend,
                &request.body,
            )),
            ["api", "v1", "pools", pool, "rebalance"] => {
                answered(closing::rebalance(control, pool, &request.body))
            }
            ["api", "v1", "reload"] => {
                let dry_run = match request.parameter("dry_run") {
                    None | Some("false") => false,
                    Some("true" | "") => true,
                    Some(_) => return Some(Response::error(400, "dry_run is true or false")),
                };
                match changes::reload(control, dry_run) {
                    Ok(made) => Response::json(&json!({
                        "dry_run": dry_run,
                        "changes": made.changes,
                        "warnings": made.warnings,
                    })),
                    Err(refusal) => refused(refusal),
                }
            }
            _ => return None,
        })
    }

    fn delete(&self, path: &[&str]) -> Option<Response> {
        let id = match path {
            ["api", "v1", "connections", id] => id,
            ["api", "v1", "pools", pool, "rebalance"] => {
                return Some(answered(closing::stop_rebalance(&self.control, pool)));
            }
            _ => return None,
        };
        let Ok(number) = id.parse::<u64>() else {
            return Some(Response::error(
                400,
                "a connection is named by its number, as /api/v1/connections has it",
            ));
        };
        Some(match self.control.kill(number) {
            true => Response::json(&json!({"id": number, "killed": true})),
            false => Response::error(404, format!("there is no connection {number} any more")),
        })
    }

    fn explain(&self, request: &Request) -> Response {
        let running = self.control.running.load();
        let client = match request.parameter("client").map(str::parse::<IpAddr>) {
            None => None,
            Some(Ok(client)) => Some(client),
            Some(Err(_)) => return Response::error(400, "client is an IP address"),
        };
        if let Some(sni) = request.parameter("sni") {
            let listener = request.parameter("listener");
            return match routes::explain(&running, listener, sni, client) {
                Ok(answer) => Response::json(&answer),
                Err((status, what)) => Response::error(status, what),
            };
        }
        let name = request.parameter("pool");
        let pool = match (name, running.pools.as_slice()) {
            (Some(name), _) => running.pool(name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        match pool {
            Some(pool) => Response::json(&explain::explain(pool, client)),
            None => {
                let pools: Vec<&str> = running.pools.iter().map(|pool| &*pool.name).collect();
                let (status, what) = no_such("pool", name, &pools);
                Response::error(status, what)
            }
        }
    }
}

impl Handler for Api {
    fn handle(&self, request: &Request) -> Response {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        if let Err(answer) = paths::check(request.method, &path) {
            return answer;
        }
        let answer = match request.method {
            Method::Get => self.get(request, &path),
            Method::Post => self.post(request, &path),
            Method::Delete => self.delete(&path),
            Method::Other => None,
        };
        answer.unwrap_or_else(|| Response::error(404, "nothing is here"))
    }
}

/// What the body of a change asks to be closed, for [`crate::fuzzing`].
pub(crate) fn wanted(body: &[u8]) -> Result<Option<Close>, String> {
    changes::parse(body).map(|wanted| wanted.close)
}

/// The status and the text of the answer to a question about something by name: there is no such thing, or
/// no name where there are several.
fn no_such(what: &str, name: Option<&str>, known: &[&str]) -> (u16, String) {
    let known = known.join(", ");
    match name {
        Some(name) => (
            404,
            format!("there is no {what} `{name}`; {what}s: {known}"),
        ),
        None => (400, format!("which {what}? ?{what}= is one of: {known}")),
    }
}

/// An answer, or why there is none.
fn answered(answer: Result<Value, Refusal>) -> Response {
    match answer {
        Ok(value) => Response::json(&value),
        Err(refusal) => refused(refusal),
    }
}

/// The answer to a change that was not made.
fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::NotFound(what) => Response::error(404, what),
        Refusal::Invalid(what) => Response::error(422, what),
        Refusal::Config { errors, report } => {
            let all = json!({"error": errors.join("; "), "errors": errors, "report": report});
            Response::json(&all).with_status(422)
        }
        Refusal::Gone => Response::error(503, "this evener is shutting down; nothing was changed"),
        Refusal::TooLong => Response::error(
            503,
            "the change was not made in time and may still be; look at the status",
        ),
    }
}

/// A moment as RFC 3339 has it.
fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
