//! `accept_proxy_protocol` of a listener: whose word it takes for the address of a client.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::policy::address::Address;

use super::defaults;
use super::error::{Problem, quoted};
use super::reader::{Map, Reading, text};
use super::value::duration;
use super::yaml::Node;

/// Whom a listener expects a PROXY header from, and how long it waits for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Networks of the proxies, none with bits behind its prefix.
    pub from: Vec<IpNet>,
    /// Whoever comes by a unix socket is a proxy; otherwise `from` is not empty.
    pub from_unix: bool,
    /// From the accept to the end of the header.
    pub timeout: Duration,
}

impl AcceptProxy {
    /// Is the peer one of the proxies? Nobody else's header is believed, or even looked for.
    pub fn trusts(&self, peer: &Address) -> bool {
        let Some(peer) = peer.ip() else {
            return self.from_unix;
        };
        let peer = peer.ip().to_canonical();
        self.from.iter().any(|network| network.contains(&peer))
    }

    /// The networks among them that are a whole address family: everybody.
    pub(super) fn everybody(&self) -> impl Iterator<Item = &IpNet> {
        self.from.iter().filter(|network| network.prefix_len() == 0)
    }
}

/// Reads `off` or a mapping.
pub(super) fn read_accept(node: Option<&Node>, reading: &mut Reading) -> Option<AcceptProxy> {
    let node = node?;
    let help = "write `off`, or who sends the header: `{ from: [10.0.0.0/8] }`";
    let mut map = Map::or_off(node, "accept_proxy_protocol", help, reading)?;
    let nodes = map.list(reading, "from");
    if nodes.is_none() {
        let help = "the networks of the proxies, for example `from: [10.0.0.0/8]`";
        map.missing(reading, "from", help);
    }
    let mut from = Vec::new();
    let mut from_unix = false;
    for node in nodes.unwrap_or_default() {
        let text = text(node, "from");
        if matches!(text, Ok("unix")) {
            from_unix = true;
            continue;
        }
        let network = text
            .and_then(|text| network(text).map_err(|problem| problem.of_key("from").at(node.spot)));
        match network {
            Ok(network) => from.push(network),
            Err(problem) => reading.problems.push(problem),
        }
    }
    let timeout = map.read(reading, "timeout", defaults::PROXY_HEADER_TIMEOUT, |text| {
        duration(text, defaults::TIMEOUT_MIN)
    });
    map.finish(reading);
    Some(AcceptProxy {
        from,
        from_unix,
        timeout,
    })
}

/// An IP address, or a network by its first address and the length of its prefix. IPv4 that is written
/// as IPv6 (`::ffff:10.0.0.0/104`) becomes IPv4, which is what clients' addresses become.
fn network(text: &str) -> Result<IpNet, Problem> {
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            let what = format!("{} is no IP address and no network", quoted(text));
            Problem::new(
                what,
                "for example 10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\", or unix for everybody at a unix socket",
            )
        })?;
    let network = canonical(network);
    if network != network.trunc() {
        let what = format!("{} has bits behind its prefix", quoted(text));
        let help = format!(
            "write \"{}\" for the network, \"{}\" for the one address",
            network.trunc(),
            network.addr()
        );
        return Err(Problem::new(what, help));
    }
    Ok(network)
}

fn canonical(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let prefix = network.prefix_len().checked_sub(MAPPED_PREFIX);
    match (network.addr().to_canonical(), prefix) {
        (ip @ IpAddr::V4(_), Some(prefix)) if network.addr().is_ipv6() => {
            IpNet::new(ip, prefix).unwrap_or(network)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(from: &[&str]) -> AcceptProxy {
        AcceptProxy {
            from: from.iter().map(|text| network(text).unwrap()).collect(),
            from_unix: false,
            timeout: Duration::from_secs(3),
        }
    }

    fn ip(text: &str) -> Address {
        Address::Ip((text.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn whoever_is_in_one_of_the_networks_is_trusted_and_nobody_else() {
        let some = accept(&[
            "10.0.0.0/8",
            "192.0.2.7",
            "2001:db8::/32",
            "::ffff:172.16.0.0/108",
        ]);
        for (peer, trusted) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:11.1.2.3", false),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(some.trusts(&ip(peer)), trusted, "{peer}");
        }
        let all_of_four = accept(&["0.0.0.0/0"]);
        assert!(all_of_four.trusts(&ip("192.0.2.1")));
        assert!(!all_of_four.trusts(&ip("::1")));
        assert!(!accept(&["::/0"]).trusts(&ip("192.0.2.1")));
        let unix = Address::Unix(std::path::Path::new("/run/a.sock").into());
        assert!(!all_of_four.trusts(&unix));
        let from_unix = AcceptProxy {
            from_unix: true,
            ..accept(&[])
        };
        assert!(from_unix.trusts(&unix) && !from_unix.trusts(&ip("127.0.0.1")));
    }

    #[test]
    fn networks_are_kept_in_one_form() {
        for (text, kept) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), kept, "{text}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/",
            "::/129",
            "a/8",
            "10.0.0.1/8",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
