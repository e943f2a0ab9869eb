//! Whom a session is for: the PROXY header that a trusted proxy sends before the client's bytes, and
//! the one that the backend gets. Runs on the session thread; no backend is leased while it waits.
//!
//! Who is not trusted is not asked: from any other address the bytes are the client's own, a PROXY
//! header among them is passed on like everything else, and nobody can claim an address that way.

use super::Context;
use super::report::Report;
use crate::config::AcceptProxy;
use crate::events::EndReason;
use crate::net::abort;
use crate::net::end::Peer;
use crate::net::proxy_protocol::{self, HeaderError};
use crate::policy::proxy_protocol::Endpoints;
use crate::registry::{Live, Origin};
use crate::threads;

/// Takes the PROXY header off the client's connection, if one is due from its other end. `Local` is also
/// the answer where none is: the other end itself is the client.
pub(super) fn receive(
    context: &Context,
    live: &Live,
    report: &mut Report<'_>,
) -> Result<Endpoints, EndReason> {
    let Origin { id, address, .. } = live.origin;
    let trusts = |accept: &&AcceptProxy| accept.trusts(address.ip());
    let Some(accept) = context.accept_proxy.as_ref().filter(trusts) else {
        return Ok(Endpoints::Local);
    };
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
pub(super) fn announce(context: &Context, live: &Live, backend: &Peer, endpoints: Endpoints) {
    let Some(version) = context.pool.config.send_proxy_protocol else {
        return;
    };
    let endpoints = match endpoints {
        Endpoints::Tcp { .. } => endpoints,
        // The client is the other end itself, and has connected to ours.
        Endpoints::Local | Endpoints::Unknown => live
            .client
            .stream
            .local_addr()
            .map_or(Endpoints::Unknown, |ours| {
                Endpoints::tcp(live.origin.address, ours)
            }),
    };
    let sent = proxy_protocol::send(&backend.stream, &endpoints.encode(version));
    // A backend that is gone is found by the relay, after what it had sent. One that lives must not take
    // the client's first bytes for a header.
    if sent.is_err() && abort::is_connected(&backend.stream) {
        abort::reset(&backend.stream);
    }
}
