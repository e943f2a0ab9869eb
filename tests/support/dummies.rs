//! Backends that greet by name, in the test's own process, and a config to balance over them.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use evener::dummy::{Backend, Behaviour, Options};

use super::{RefusingPort, connect_from, http_get, read_until_end};

/// What stands before the name in the greeting.
const GREETING: &str = "Hello from Backend Server on port: ";

/// A backend that can be stopped and started again. Its port stays its own in between, so that
/// nobody else answers there, and it refuses connections then.
#[derive(Debug)]
pub struct Dummy {
    options: Options,
    port: RefusingPort,
    running: Option<Backend>,
}

impl Dummy {
    /// One that greets by this name.
    pub fn start(name: &str) -> Dummy {
        Dummy::with(Options {
            name: Some(name.into()),
            ..Options::default()
        })
    }

    /// One that behaves so.
    pub fn behaving(behaviour: Behaviour) -> Dummy {
        Dummy::with(Options {
            behaviour,
            ..Options::default()
        })
    }

    /// One with these options, but for address and port.
    pub fn with(options: Options) -> Dummy {
        let port = RefusingPort::new();
        let options = Options {
            bind: port.address().ip(),
            port: port.address().port(),
            ..options
        };
        let mut dummy = Dummy {
            options,
            port,
            running: None,
        };
        dummy.restart();
        dummy
    }

    /// Where it listens, while it runs.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Stops it as a kill would: its port refuses, its open connections are reset.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it on its port.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "it runs");
        self.running = Some(Backend::start(self.options.clone()).unwrap());
    }
}

/// Dummies of these names.
pub fn dummies<const N: usize>(names: [&str; N]) -> [Dummy; N] {
    names.map(Dummy::start)
}

/// Where they listen.
pub fn addresses(dummies: &[Dummy]) -> Vec<SocketAddr> {
    dummies.iter().map(Dummy::address).collect()
}

/// The name of the dummy that answers behind `address`. Anything but its greeting is an error.
pub fn who_serves(address: SocketAddr) -> io::Result<String> {
    let body = http_get(address)?;
    let name = body.strip_prefix(GREETING).map(str::trim_end);
    name.map(str::to_string)
        .ok_or_else(|| io::Error::other(format!("no greeting: {body:?}")))
}

/// The name of the dummy that answers a client with this address.
#[track_caller]
pub fn who_serves_from(source: IpAddr, address: SocketAddr) -> String {
    let mut stream = connect_from(source, address);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_until_end(&stream).0).unwrap();
    let name = answer.split_once(GREETING).map(|(_, name)| name.trim_end());
    name.unwrap_or_else(|| panic!("no greeting: {answer:?}"))
        .to_owned()
}

/// A config of one listener, `in`, on a free port, and one pool, `p`, of these backends. `pool` are
/// more lines of the pool, `rest` are more lines of the config.
pub fn config(backends: &[impl Display], pool: &[&str], rest: &[&str]) -> String {
    let mut text = String::from(
        "listeners:\n  - { name: in, bind: \"127.0.0.1:0\", pool: p }\npools:\n  - name: p\n",
    );
    for line in pool {
        let _ = writeln!(text, "    {line}");
    }
    text.push_str("    backends:\n");
    for backend in backends {
        let backend = backend.to_string();
        // An address by itself is quoted; a map is written as it is.
        let _ = match backend.starts_with('{') {
            true => writeln!(text, "      - {backend}"),
            false => writeln!(text, "      - \"{backend}\""),
        };
    }
    for line in rest {
        let _ = writeln!(text, "{line}");
    }
    text
}
