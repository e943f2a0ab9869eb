//! The built-in backends of the demo: which run, and which are stopped.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::config::{BackendAddress, Config};
use crate::dummy::{Backend, Options};
use crate::sync::Mutex;

/// A built-in backend could not be started.
#[derive(Debug)]
pub struct DemoError {
    address: SocketAddr,
    error: io::Error,
}

impl std::error::Error for DemoError {}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the demo can't start its backend on {address}: {}; end the program that listens there, \
             balance over it (evener {address}), or choose other addresses: evener demo 127.0.0.1:9001 \
             127.0.0.1:9002",
            self.error,
            address = self.address,
        )
    }
}

/// The built-in backends.
#[derive(Debug)]
pub(super) struct Backends {
    /// By address; `None` while stopped. Written and read by the thread that reads the commands; held by
    /// [`super::Demo`] as well, so that they live on when that thread finds the terminal closed.
    by_address: Mutex<BTreeMap<SocketAddr, Option<Backend>>>,
}

impl Backends {
    /// Starts one at each address of the config's pool.
    pub(super) fn start(config: &Config) -> Result<Backends, DemoError> {
        let mut backends = BTreeMap::new();
        for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
            // The command line lets the demo have no others.
            if let BackendAddress::Ip(address) = backend.address {
                backends.insert(address, Some(start(address)?));
            }
        }
        Ok(Backends {
            by_address: Mutex::new(backends),
        })
    }

    /// Their addresses, in order.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.by_address.lock().keys().copied().collect()
    }

    /// Their ports, as one types them.
    pub(super) fn ports(&self) -> String {
        let ports = self.addresses();
        let ports: Vec<String> = ports.iter().map(|one| one.port().to_string()).collect();
        ports.join(", ")
    }

    /// Stops the one on this port, or starts it again. `None` if there is none; otherwise whether it runs
    /// now.
    pub(super) fn toggle(&self, port: u16) -> Option<Result<bool, DemoError>> {
        let mut backends = self.by_address.lock();
        let (address, backend) = backends
            .iter_mut()
            .find(|(address, _)| address.port() == port)?;
        if backend.take().is_some() {
            return Some(Ok(false));
        }
        Some(start(*address).map(|started| {
            *backend = Some(started);
            true
        }))
    }

    /// Stops the one at this address, if it runs.
    pub(super) fn stop(&self, address: SocketAddr) {
        if let Some(backend) = self.by_address.lock().get_mut(&address) {
            drop(backend.take());
        }
    }

    /// Starts those that are stopped.
    pub(super) fn start_all(&self) -> Result<(), DemoError> {
        for (address, backend) in self.by_address.lock().iter_mut() {
            if backend.is_none() {
                *backend = Some(start(*address)?);
            }
        }
        Ok(())
    }
}

fn start(address: SocketAddr) -> Result<Backend, DemoError> {
    let options = Options {
        bind: address.ip(),
        port: address.port(),
        ..Options::default()
    };
    Backend::start(options).map_err(|error| DemoError { address, error })
}
