//! `evener demo`: three built-in backends to balance over, and a way to stop and start them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{BackendAddress, Config, ListenOn};
use crate::dummy::{Backend, Options};
use crate::events::Event;
use crate::log::Log;
use crate::sync::Mutex;
use crate::threads;

/// The built-in backends.
#[derive(Debug)]
pub struct Demo {
    /// By port; `None` while stopped. Written and read by the thread that reads the commands; read by
    /// [`Demo::explain`], and held here so that they live on when that thread finds the terminal closed.
    backends: Arc<Mutex<BTreeMap<u16, Option<Backend>>>>,
    /// Where the balancer listens; 0 when the OS is to choose.
    listen_port: u16,
}

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
            "the demo can't start its backend on {}: {}; end the program that listens there, \
             or balance over it: evener {}",
            self.address, self.error, self.address
        )
    }
}

impl Demo {
    /// Starts a backend at each address of the config's pool.
    ///
    /// # Errors
    ///
    /// When an address can't be listened on.
    pub fn start(config: &Config) -> Result<Demo, DemoError> {
        let mut backends = BTreeMap::new();
        let addresses = config
            .pools
            .iter()
            .flat_map(|pool| &pool.backends)
            .filter_map(|backend| match backend.address {
                BackendAddress::Ip(address) => Some(address),
                BackendAddress::Name { .. } | BackendAddress::Unix(_) => None,
            });
        for address in addresses {
            backends.insert(address.port(), Some(start(address)?));
        }
        let mut binds = config.listeners.iter().flat_map(|listener| &listener.bind);
        Ok(Demo {
            backends: Arc::new(Mutex::new(backends)),
            listen_port: binds
                .next()
                .and_then(ListenOn::tcp)
                .map_or(0, |bind| bind.address.port()),
        })
    }

    /// Tells what to try, and where the status page is if there is one, and begins to read commands from the terminal: a port and Enter stops or
    /// starts the backend on it.
    pub fn explain(&self, log: &Log, status_page: Option<&str>) {
        let port = self.listen_port;
        let ports: Vec<String> = self.backends.lock().keys().map(u16::to_string).collect();
        let watch = status_page.map_or(String::new(), |address| {
            format!("Watch it in a browser:         {address}\n")
        });
        let text = format!(
            "\nTry it, in another terminal:   curl localhost:{port}   (four times)\n{watch}\
             Stop or start a backend:       type its port here ({ports}) and Enter\n\
             See a thread per direction:    ps -L -p {pid} -o tid,comm\n\
             End:                           Ctrl-C\n",
            ports = ports.join(", "),
            pid = std::process::id()
        );
        log.send(Event::Note { text });
        let (backends, log) = (Arc::clone(&self.backends), log.clone());
        // Nobody joins it: it blocks in reading the terminal until the program ends. Without it the
        // demo can still be watched.
        drop(threads::spawn("demo", move || {
            read_commands(&backends, &log)
        }));
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

fn read_commands(backends: &Mutex<BTreeMap<u16, Option<Backend>>>, log: &Log) {
    let say = |text| log.send(Event::Note { text });
    for line in io::stdin().lines() {
        let Ok(line) = line else { return };
        let mut backends = backends.lock();
        let Some((port, backend)) = line
            .trim()
            .parse::<u16>()
            .ok()
            .and_then(|port| backends.get_mut(&port).map(|backend| (port, backend)))
        else {
            let ports: Vec<String> = backends.keys().map(u16::to_string).collect();
            say(format!("(type one of {} and Enter)", ports.join(", ")));
            continue;
        };
        match backend.take() {
            Some(running) => {
                drop(running);
                say(format!(
                    "(backend {port} stopped; the next health checks will notice)"
                ));
            }
            None => match start((std::net::Ipv4Addr::LOCALHOST, port).into()) {
                Ok(started) => {
                    *backend = Some(started);
                    say(format!("(backend {port} started again)"));
                }
                Err(error) => say(format!("({error})")),
            },
        }
    }
}
