//! Who may do what: the rules that a request has to pass before anything looks at it. Pure.
//!
//! The enemy is a web page in the browser of somebody who can reach this address. It may send
//! requests, but not read answers; it may not choose `Host`, `Origin` and `Sec-Fetch-Site`, which
//! the browser sets; and its own name may suddenly stand for 127.0.0.1 (DNS rebinding), after which
//! it may read answers too. Then there is whoever reaches the address without the token.
//!
//! | rule | against | otherwise |
//! | --- | --- | --- |
//! | `Host` is an IP address or `localhost`, and ours | DNS rebinding | 421 |
//! | the token comes along, where there is one | strangers | 401 |
//! | a change has no foreign `Origin` and no other site | forged requests | 403 |
//! | a POST is `application/json` | the requests that a form can send | 415 |

use std::net::{IpAddr, SocketAddr};

use super::head::Head;
use super::message::{Method, Response};
use super::token::Token;

/// Where the server listens, as far as it decides what a `Host` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A unix socket: no browser gets there, so the host means nothing.
    Unix,
    /// A TCP address, with its real port.
    Tcp(SocketAddr),
}

/// The rules for one address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard<'t> {
    pub(super) place: Place,
    /// What every request has to bring along, but for [`OPEN_PATHS`].
    pub(super) token: Option<&'t Token>,
}

/// What needs no token, besides the status page, which asks for it: the probes of whoever runs evener.
/// They tell nothing but yes or no.
const OPEN_PATHS: [&str; 2] = ["healthz", "readyz"];

impl Guard<'_> {
    /// Lets the request through, or says what it gets instead.
    pub(super) fn check(&self, head: &Head) -> Result<(), Response> {
        self.check_host(head)?;
        self.check_token(head)?;
        if head.method != Method::Get {
            check_site(head)?;
        }
        if head.method == Method::Post {
            check_content_type(head)?;
        }
        Ok(())
    }

    fn check_host(&self, head: &Head) -> Result<(), Response> {
        let Place::Tcp(ours) = self.place else {
            return Ok(());
        };
        match &head.host {
            Some(host) if is_ours(host, ours) => Ok(()),
            Some(_) => {
                let what = format!(
                    "this Host is not evener's; use the IP address, or localhost: \
                     http://{ours}/ (a name could be anybody's)"
                );
                Err(Response::error(421, what))
            }
            // No browser sends such a request.
            None if head.is_old => Ok(()),
            None => Err(Response::error(
                400,
                "an HTTP/1.1 request needs a Host header",
            )),
        }
    }

    fn check_token(&self, head: &Head) -> Result<(), Response> {
        let Some(token) = self.token else {
            return Ok(());
        };
        let is_open = match head.path.as_slice() {
            [] => true,
            [only] => OPEN_PATHS.contains(&only.as_str()),
            _ => false,
        };
        if is_open && head.method == Method::Get {
            return Ok(());
        }
        let offered = head.authorization.as_deref().and_then(bearer);
        if offered.is_some_and(|offered| token.matches(offered)) {
            return Ok(());
        }
        let what = match offered {
            Some(_) => "this is not the token that evener was started with; see admin.token_file",
            None => "a token is needed: send `Authorization: Bearer TOKEN`; see admin.token_file",
        };
        Err(Response::error(401, what).with_header("WWW-Authenticate", "Bearer realm=\"evener\""))
    }
}

/// The token in `Bearer TOKEN`.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start())
}

/// A page of another origin may not change anything. What is no browser sends neither header.
fn check_site(head: &Head) -> Result<(), Response> {
    let is_foreign = head
        .origin
        .as_ref()
        .is_some_and(|origin| !is_same_origin(origin, head.host.as_deref()));
    let site = head.fetch_site.as_deref().unwrap_or("none");
    if is_foreign || !matches!(site, "none" | "same-origin") {
        let what = "a page of another origin can't change anything here; use evener's own page";
        return Err(Response::error(403, what));
    }
    Ok(())
}

/// An origin is a scheme and what `Host` says. TLS may have been taken off on the way.
fn is_same_origin(origin: &str, host: Option<&str>) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority
        .zip(host)
        .is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

fn check_content_type(head: &Head) -> Result<(), Response> {
    let given = head.content_type.as_deref().unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or(given).trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let what = "a change needs `Content-Type: application/json`, even with an empty body";
    Err(Response::error(415, what))
}

/// Is this the authority of a server at `ours`? On loopback and on a certain address the address has to
/// be that one; a server on every address of the machine can't know them all (and the way there may
/// change the port), but an IP address, unlike a name, can't be made to stand for another.
fn is_ours(authority: &str, ours: SocketAddr) -> bool {
    let Some((host, port)) = split(authority) else {
        return false;
    };
    let ip = match host {
        Host::Localhost => None,
        Host::Ip(ip) => Some(ip),
    };
    let our_ip = ours.ip().to_canonical();
    if our_ip.is_unspecified() {
        return true;
    }
    let is_this_machine = ip.is_none_or(|ip| ip.is_loopback());
    let is_there = if our_ip.is_loopback() {
        is_this_machine
    } else {
        ip == Some(our_ip)
    };
    is_there && port == ours.port()
}

enum Host {
    Localhost,
    Ip(IpAddr),
}

/// Host and port; without a port it is that of HTTP.
fn split(authority: &str) -> Option<(Host, u16)> {
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return Some((Host::Ip(address.ip().to_canonical()), address.port()));
    }
    let bare = authority
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(authority);
    if let Ok(ip) = bare.parse::<IpAddr>()
        && ip.is_ipv6() == (bare.len() != authority.len())
    {
        return Some((Host::Ip(ip.to_canonical()), 80));
    }
    let (name, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number)?;
    name.eq_ignore_ascii_case("localhost")
        .then_some((Host::Localhost, port))
}

#[cfg(test)]
mod tests;
