//! Where a connection to a backend comes from, and what its socket is told before it connects.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::{self, SocketFlags, SocketType};

use super::connect::{ConnectError, local_ports};
use super::options::{self, OptionError, of};
use super::{family, set_oobinline};
use crate::policy::socket::ConnectOptions;

/// How to connect.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// What the socket is told.
    pub options: &'a ConnectOptions,
    /// For whom; its address becomes the source if the options say so. A probe is for nobody.
    pub client: Option<IpAddr>,
}

impl Outgoing<'_> {
    /// As nobody in particular, and with nothing said.
    pub const USUAL: Outgoing<'static> = Outgoing {
        options: &ConnectOptions::USUAL,
        client: None,
    };

    /// The address that the connection comes from, if that is not the kernel's choice.
    fn source(&self) -> Option<IpAddr> {
        let of_client = self.client.filter(|_| self.options.common.transparent);
        of_client.or_else(|| Some(self.options.source.as_ref()?.address))
    }
}

/// Gets a new socket ready to connect to `address`. Nothing here says anything of the backend.
pub(super) fn prepare(
    socket: impl AsFd,
    outgoing: Outgoing<'_>,
    address: SocketAddr,
) -> Result<(), ConnectError> {
    let socket = socket.as_fd();
    set_oobinline(socket)?;
    let local = |error: OptionError| ConnectError::Local(io::Error::other(error.to_string()));
    let common = &outgoing.options.common;
    options::set(socket, Some(&options::UNTOLD), common, address.is_ipv6()).map_err(local)?;
    match outgoing.source() {
        None => Ok(()),
        Some(source) if source.is_ipv4() != address.is_ipv4() => {
            let what = format!("{source} can't be the source: it is of another family");
            Err(ConnectError::Local(io::Error::other(what)))
        }
        Some(source) => bind(socket, source, outgoing.options).map_err(local),
    }
}

/// Gives a socket its address. The port is left to connect(2): bind(2) would take one that is free
/// towards everybody, and there are some 28,000 of them; connect takes one that is free towards this
/// backend, and there are as many for each.
fn bind(socket: impl AsFd, source: IpAddr, options: &ConnectOptions) -> Result<(), OptionError> {
    let socket = socket.as_fd();
    evener_sys::set_bind_address_no_port(socket).map_err(of("source"))?;
    let ports = options
        .source
        .as_ref()
        .and_then(|source| source.ports.as_ref());
    if let Some(ports) = ports {
        evener_sys::set_local_port_range(socket, *ports.start(), *ports.end())
            .map_err(of("source"))?;
    }
    net::bind(socket, &SocketAddr::new(source, 0)).map_err(of("source"))
}

/// Tries all of it on a socket that connects nowhere, so that what can't be is told at the start.
///
/// # Errors
///
/// The first option that can't be had.
pub fn try_options(options: &ConnectOptions) -> Result<(), OptionError> {
    let source = options.source.as_ref();
    let ip = source.map_or(Ipv4Addr::LOCALHOST.into(), |source| source.address);
    let address = SocketAddr::new(ip, 0);
    let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
    let socket = net::socket_with(family(address), kind, flags, None).map_err(of("source"))?;
    options::set_keepalive(&socket, options.common.keepalive)?;
    options::set(
        &socket,
        Some(&options::UNTOLD),
        &options.common,
        address.is_ipv6(),
    )?;
    options::check_buffers(&socket, &options.common)?;
    let Some(source) = source else { return Ok(()) };
    if let Some(ports) = &source.ports {
        let given_out = local_ports();
        if !given_out.contains(ports.start()) || !given_out.contains(ports.end()) {
            let (first, last) = (given_out.start(), given_out.end());
            let what = format!("the system gives out ports {first} to {last} only");
            return Err(of("source")(io::Error::new(
                io::ErrorKind::InvalidInput,
                what,
            )));
        }
    }
    bind(&socket, source.address, options)
}
