//! Names to addresses, once, when the config is loaded.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Every address that `host` stands for, with `port`, IPv4 first, each once. Blocks as long as the system's
/// resolver does.
///
/// # Errors
///
/// When the name is unknown or the resolver fails.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_itself() {
        let address = "[::1]:8000".parse().unwrap();
        assert_eq!(resolve("::1", 8000).unwrap(), [address]);
    }

    #[test]
    fn localhost_has_addresses_and_ipv4_comes_first() {
        let addresses = resolve("localhost", 80).unwrap();
        assert!(
            addresses[0].ip().is_loopback() && addresses[0].port() == 80,
            "{addresses:?}"
        );
        assert!(addresses.is_sorted());
    }
}
