//! Where a connection goes to, or comes from. PURE: plain data.

use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// One end of a connection. Shared text, so that a copy costs a reference count at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Of the internet.
    Ip(SocketAddr),
    /// A unix socket, by its path. A client of one has no address of its own: here it is the path of the
    /// socket that it came by.
    Unix(Arc<Path>),
}

impl Address {
    /// The address, if it is one of the internet.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = AddrParseError;

    /// Reads what is written by `Display`.
    fn from_str(text: &str) -> Result<Address, AddrParseError> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Address::Unix(Path::new(path).into())),
            None => text.parse().map(Address::Ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_is_written_in_a_config() {
        let ip: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Address::from(ip).to_string(), "[::1]:80");
        assert_eq!(Address::from(ip).ip(), Some(ip));
        let unix = Address::Unix(Path::new("/run/app.sock").into());
        assert_eq!(
            (unix.to_string(), unix.ip()),
            ("unix:/run/app.sock".to_owned(), None)
        );
        assert_eq!("unix:/run/app.sock".parse(), Ok(unix));
        assert_eq!("[::1]:80".parse(), Ok(Address::from(ip)));
        assert!("db:80".parse::<Address>().is_err());
    }
}
