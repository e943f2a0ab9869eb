//! The door of a listener: asks whether a client is let in, and sends away whom it refuses.
//!
//! It runs on the thread that knows the client's address first: the listener's, before anything is set
//! aside for the client.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::Context;
use crate::admission::Admitted;
use crate::events::{Event, Refused};
use crate::net::abort;

/// Lets the client in, or resets it, counts it and tells the log. `address` is whom it comes from,
/// `at` when it came.
pub fn let_in(
    context: &Context,
    client: &TcpStream,
    address: SocketAddr,
    at: Instant,
) -> Option<Admitted> {
    let now = at.saturating_duration_since(context.epoch);
    let reason = match context.admission.admit(address.ip(), now) {
        Ok(admitted) => return Some(admitted),
        Err(reason) => reason,
    };
    abort::reset(client);
    let refused = |count| Refused {
        listener: Arc::clone(&context.listener.name),
        reason,
        count,
        example: address,
    };
    context.log.debug(|| Event::ClientRefused(refused(1)));
    if let Some(count) = context.listener.rejections.add(reason, now) {
        context.log.send(Event::Refused(refused(count)));
    }
    None
}
