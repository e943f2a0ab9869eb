//! Whom a session is for, and whether that client is let in: the access rules, the PROXY header that a
//! trusted proxy sends before the client's bytes, and the one that the backend gets.
//!
//! [`let_in`] runs on the thread that knows the client's address first: the listener's, before anything
//! is set aside for the client; or the session's, when a header has said who it is. The rest runs on the
//! session thread; no backend is leased while it waits.
//!
//! Who is not trusted is not asked: from any other address the bytes are the client's own, a PROXY
//! header among them is passed on like everything else, and nobody can claim an address that way.

use std::sync::Arc;
use std::time::Instant;

use super::Context;
use super::report::Report;
use crate::admission::Admitted;
use crate::config::{self, AcceptProxy};
use crate::events::{EndReason, Event, Refused};
use crate::net::abort;
use crate::net::end::Peer;
use crate::net::proxy_protocol::{self, HeaderError};
use crate::net::stream::Stream;
use crate::policy::address::Address;
use crate::policy::proxy_protocol::Endpoints;
use crate::registry::{Live, Origin};
use crate::threads;

/// Lets the client in, or resets it, counts it and tells the log. `address` is whom it comes from,
/// `at` when it came.
pub fn let_in(
    context: &Context,
    client: &Stream,
    address: &Address,
    at: Instant,
) -> Option<Admitted> {
    let now = at.saturating_duration_since(context.epoch);
    // A client of a unix socket has no address that rules and limits could go by; the mode of the file is
    // what says who may connect.
    let Some(address) = address.ip() else {
        return Some(Admitted::uncounted());
    };
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

/// Is a PROXY header due from this address? Then it is a proxy's, and says nothing of the client.
pub fn is_proxy(context: &Context, address: &Address) -> bool {
    header_due(context, address).is_some()
}

fn header_due<'c>(context: &'c Context, address: &Address) -> Option<&'c AcceptProxy> {
    let accept = context.accept_proxy.as_ref()?;
    accept.trusts(address).then_some(accept)
}

/// Learns from a PROXY header who the client is, and lets it in or not; nothing of that where the other
/// end itself is the client, who was let in before.
pub(super) fn learn_client(
    context: &Context,
    live: &Live,
    report: &mut Report<'_>,
) -> Result<(Endpoints, Option<Admitted>), EndReason> {
    let Some(accept) = header_due(context, &live.origin.address) else {
        return Ok((Endpoints::Local, None));
    };
    let endpoints = receive(accept, live, report)?;
    let client = &live.client.stream;
    // Now, and not when the connection came: a bucket that is asked for a time long gone would owe less.
    match let_in(context, client, &live.client_address(), Instant::now()) {
        Some(admitted) => Ok((endpoints, Some(admitted))),
        None => Err(EndReason::Refused),
    }
}

/// Takes the PROXY header off the client's connection.
fn receive(
    accept: &AcceptProxy,
    live: &Live,
    report: &mut Report<'_>,
) -> Result<Endpoints, EndReason> {
    let Origin { id, .. } = live.origin;
    threads::set_name(&threads::name_of(format_args!("c{id} "), "header"));
    match proxy_protocol::receive(&live.client.stream, report.start + accept.timeout) {
        Ok(endpoints) => {
            if let Endpoints::Tcp { source, .. } = endpoints {
                live.name_client(source);
            }
            Ok(endpoints)
        }
        Err(HeaderError::Invalid(fault)) => {
            report.detail = Some(fault.words());
            Err(EndReason::BadProxyHeader)
        }
        Err(HeaderError::Late) => Err(EndReason::ProxyHeaderTimeout),
        Err(HeaderError::Left) => Err(EndReason::ClientLeftBeforeHeader),
    }
}

/// Tells the backend whom the connection is for, if its pool wants that, before any byte of the client.
pub(super) fn announce(pool: &config::Pool, live: &Live, backend: &Peer, endpoints: Endpoints) {
    let Some(version) = pool.send_proxy_protocol else {
        return;
    };
    let endpoints = match endpoints {
        Endpoints::Tcp { .. } => endpoints,
        // The client is the other end itself, and has connected to ours.
        Endpoints::Local | Endpoints::Unknown => {
            let theirs = live.origin.address.ip();
            let pair = theirs.and_then(|theirs| Some((theirs, live.client.stream.local_addr()?)));
            pair.map_or(Endpoints::Unknown, |(theirs, ours)| {
                Endpoints::tcp(theirs, ours)
            })
        }
    };
    let sent = proxy_protocol::send(&backend.stream, &endpoints.encode(version));
    // A backend that is gone is found by the relay, after what it had sent. One that lives must not take
    // the client's first bytes for a header.
    if sent.is_err() && abort::is_connected(&backend.stream) {
        abort::reset(&backend.stream);
    }
}
