//! Names to addresses, once, when the config is loaded.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::config::BackendAddress;

/// Every address that `address` stands for, IPv4 first, each once. Blocks as long as the system's
/// resolver does.
///
/// # Errors
///
/// When the name is unknown or the resolver fails.
pub fn resolve(address: &BackendAddress) -> io::Result<Vec<SocketAddr>> {
    match address {
        BackendAddress::Ip(address) => Ok(vec![*address]),
        BackendAddress::Name { host, port } => {
            let mut addresses: Vec<SocketAddr> =
                (host.as_str(), *port).to_socket_addrs()?.collect();
            addresses.sort();
            addresses.dedup();
            if addresses.is_empty() {
                return Err(io::Error::other("the name has no address"));
            }
            Ok(addresses)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_itself() {
        let address = "[::1]:8000".parse().unwrap();
        assert_eq!(resolve(&BackendAddress::Ip(address)).unwrap(), [address]);
    }

    #[test]
    fn localhost_has_addresses_and_ipv4_comes_first() {
        let name = BackendAddress::Name {
            host: "localhost".into(),
            port: 80,
        };
        let addresses = resolve(&name).unwrap();
        assert!(
            addresses[0].ip().is_loopback() && addresses[0].port() == 80,
            "{addresses:?}"
        );
        assert!(addresses.is_sorted());
    }
}
