//! Socket activation (sd_listen_fds(3)): sockets that listen already when evener starts, by their
//! addresses. The service manager keeps them as well, so a restart refuses no client.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process;

use rustix::net::{SocketAddrAny, SocketAddrUnix, SocketType, getsockname, sockopt};

use crate::policy::address::Address;

/// The first inherited descriptor (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// More than any unit file lists; a larger number is a mistake.
const SOCKETS_MAX: RawFd = 1024;

/// What evener inherited, until its listeners have taken it. Owned by the main thread.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
    /// What was left open and can't be used, in words.
    refused: Vec<String>,
}

/// What a process has from whoever started it, or from the one before it.
#[derive(Debug, Default)]
pub struct Heritage {
    /// Sockets that are open already.
    pub sockets: Inherited,
    /// The one before still runs and is about to go, so what can't be shared is taken from it.
    pub takes_over: bool,
    /// What was asked of the one before at run time, as it has written that.
    pub orders: Option<String>,
}

#[derive(Debug)]
struct Socket {
    name: String,
    address: Address,
    listener: OwnedFd,
}

impl Inherited {
    /// As the environment says. The descriptors are taken out of it once: call it at the start.
    pub fn from_environment() -> Inherited {
        let text = |name| env::var(name).ok();
        let names = names(
            text("LISTEN_FDS").as_deref(),
            text("LISTEN_PID").as_deref(),
            text("LISTEN_FDNAMES").as_deref(),
            process::id(),
        );
        let numbers: Vec<RawFd> = (FIRST..).take(names.len()).collect();
        let taken = evener_sys::take_inherited(&numbers);
        Inherited::of(names.into_iter().zip(taken))
    }

    /// These sockets, each with the name by which messages call it.
    pub fn of(descriptors: impl IntoIterator<Item = (String, io::Result<OwnedFd>)>) -> Inherited {
        let mut inherited = Inherited::default();
        for (name, taken) in descriptors {
            match taken.and_then(|socket| Socket::new(&name, socket)) {
                Ok(socket) => inherited.sockets.push(socket),
                Err(error) => inherited.refused.push(format!("{name}: {error}")),
            }
        }
        inherited
    }

    /// The socket that listens on this address, if there is one.
    pub fn take(&mut self, address: &Address) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|s| s.address == *address)?;
        Some(self.sockets.swap_remove(at).listener)
    }

    /// The address of a socket with this port that nobody has taken.
    pub fn on_port(&self, port: u16) -> Option<String> {
        let mut addresses = self.sockets.iter().map(|socket| &socket.address);
        let found = addresses.find(|address| address.ip().is_some_and(|ip| ip.port() == port));
        found.map(Address::to_string)
    }

    /// What nobody has taken, in words; it is closed.
    pub fn unused(self) -> Vec<String> {
        let unused = self.sockets.into_iter();
        let unused =
            unused.map(|s| format!("{} ({}): no listener has this address", s.address, s.name));
        self.refused.into_iter().chain(unused).collect()
    }
}

impl Socket {
    /// Checks that it is what a listener needs: a stream socket that listens, of the internet or at a path.
    fn new(name: &str, socket: OwnedFd) -> io::Result<Socket> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if sockopt::socket_type(&socket)? != SocketType::STREAM {
            return Err(wrong("not a stream socket"));
        }
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(wrong("it does not listen"));
        }
        let address = address_of(getsockname(&socket)?)
            .ok_or_else(|| wrong("neither a socket of the internet nor one at a path"))?;
        Ok(Socket {
            name: name.to_owned(),
            address,
            listener: socket,
        })
    }
}

fn address_of(address: SocketAddrAny) -> Option<Address> {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Some(Address::Ip(address));
    }
    let address = SocketAddrUnix::try_from(address).ok()?;
    let path = OsStr::from_bytes(address.path_bytes()?);
    Some(Address::Unix(Path::new(path).into()))
}

/// The names of the sockets that were left open for process `own`, in the order of their numbers.
fn names(count: Option<&str>, of: Option<&str>, names: Option<&str>, own: u32) -> Vec<String> {
    let is_own = of.and_then(|of| of.parse().ok()) == Some(own);
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    if !is_own || !(0..=SOCKETS_MAX).contains(&count) {
        return Vec::new();
    }
    let mut names = names.unwrap_or_default().split(':');
    let name = |_: RawFd| names.next().filter(|name| !name.is_empty());
    (0..count)
        .map(name)
        .map(|name| name.unwrap_or("unknown").to_owned())
        .collect()
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "the test plays the service manager, with plain std sockets"
)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn sockets_are_those_of_this_process() {
        assert_eq!(
            names(Some("3"), Some("7"), Some("web::db"), 7),
            ["web", "unknown", "db"]
        );
        assert_eq!(names(Some("2"), Some("7"), None, 7), ["unknown"; 2]);
        for (count, of) in [
            (Some("2"), Some("8")),
            (Some("2"), None),
            (None, Some("7")),
            (Some("-1"), Some("7")),
            (Some("99999999"), Some("7")),
            (Some("two"), Some("7")),
        ] {
            assert_eq!(names(count, of, None, 7), [""; 0], "{count:?} {of:?}");
        }
    }

    fn socket(of: impl Into<OwnedFd>) -> io::Result<Socket> {
        Socket::new("web", of.into())
    }

    #[test]
    fn a_listening_socket_is_found_by_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut inherited = Inherited {
            sockets: vec![socket(listener).unwrap()],
            refused: vec!["x: broken".into()],
        };
        assert!(
            inherited
                .take(&Address::Ip(([127, 0, 0, 1], 1).into()))
                .is_none()
        );
        assert_eq!(inherited.on_port(address.port()), Some(address.to_string()));
        assert_eq!(inherited.on_port(1), None);
        let taken = inherited.take(&address.into()).unwrap();
        let taken = TcpListener::from(taken);
        assert_eq!(taken.local_addr().unwrap(), address);
        assert!(inherited.take(&address.into()).is_none(), "it is taken");
        inherited.sockets.push(socket(taken).unwrap());
        assert_eq!(
            inherited.unused(),
            [
                "x: broken".to_owned(),
                format!("{address} (web): no listener has this address")
            ]
        );
    }

    #[test]
    fn a_unix_socket_is_found_by_its_path() {
        let path = env::temp_dir().join(format!("evener-activation-{}", process::id()));
        let local = UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut inherited = Inherited {
            sockets: vec![socket(local).unwrap()],
            refused: Vec::new(),
        };
        let other = Address::Unix(Path::new("/run/other").into());
        assert!(inherited.take(&other).is_none());
        assert!(inherited.take(&Address::Unix(path.into())).is_some());
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (local, _) = UnixDatagram::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for (socket, why) in [
            (socket(client), "it does not listen"),
            (socket(datagram), "not a stream socket"),
            (socket(local), "not a stream socket"),
            (socket(file), "socket operation on non-socket"),
        ] {
            let error = socket.unwrap_err().to_string();
            assert!(error.to_lowercase().contains(why), "{error}");
        }
    }
}
