//! The admin server: questions about the balancer and orders to it, over HTTP on `admin.bind`.
//!
//! This module reads requests, decides whether they are allowed, and writes answers. What they mean
//! is the business of a [`Handler`], which the server above brings along. A thread of its own
//! accepts, and each of at most [`crate::limits::ADMIN_CONNECTIONS`] connections has one; none of
//! them is a session's, so the admin server answers when the data path is full. It never waits for
//! a peer longer than 5 s in all.
//!
//! | file | what it is |
//! | --- | --- |
//! | `message` | requests and responses, as a handler sees them |
//! | `head` | bytes to the head of a request; pure |
//! | `guard` | **who may do what**: rebinding, cross-site requests, the token; pure |
//! | `http` | one request in, one response out |
//! | `door` | the address taken, the token read |
//! | `server` | the threads |

mod door;
mod guard;
mod head;
mod http;
mod message;
mod server;
mod token;

use std::io::{Read, Write};
use std::net::SocketAddr;

use guard::{Guard, Place};

pub use door::{Door, DoorError};
pub use message::{Method, Request, Response};
pub use server::Admin;
pub use token::Token;

/// Answers what the guard let through.
///
/// A handler runs on the thread of its connection, several at once. It may take its time: the peer's
/// 5 s stand still meanwhile. A panic in it answers 500 and ends that connection only. It must never
/// call [`Admin::join`], which waits for it.
pub trait Handler: Send + Sync {
    /// The answer. A [`Method::Get`] changes nothing, ever.
    fn handle(&self, request: &Request) -> Response;
}

/// What comes of a request that this peer sends to that address (`None`: to a unix socket), for
/// [`crate::fuzzing`]: the length of its body, or the status of the refusal; `None`: nobody to answer.
pub(crate) fn received(
    peer: &mut (impl Read + Write),
    address: Option<SocketAddr>,
) -> Option<Result<usize, u16>> {
    let place = address.map_or(Place::Unix, Place::Tcp);
    let received = http::read(peer, Guard { place, token: None })?;
    let body_bytes = received.request.map(|request| request.body.len());
    Some(body_bytes.map_err(|response| response.status))
}
