//! What sockets are told: plain values that the config reads and `net` sets. Nothing is decided here.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What every connection of a listener, or to the backends of a pool, is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// How the kernel finds out that a silent peer is gone; `None` is `off`.
    pub keepalive: Option<KeepAlive>,
    /// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`); `None` is what the kernel does.
    pub user_timeout: Option<Duration>,
    /// Bytes for what has come and is not read; `None` is `auto`.
    pub receive_buffer: Option<u32>,
    /// Bytes for what is written and not acknowledged; `None` is `auto`.
    pub send_buffer: Option<u32>,
    /// Small writes go out at once (`TCP_NODELAY`).
    pub nodelay: bool,
    /// The only network interface that is used; `None` is `off`.
    pub interface: Option<String>,
    /// Addresses that are not this machine's: of a listener those that clients connect to, of a pool those
    /// of the clients, which become the source.
    pub transparent: bool,
}

/// How the kernel finds out that a silent peer is gone. Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first question.
    pub idle: Duration,
    /// From one question to the next.
    pub interval: Duration,
    /// Questions without an answer that end the connection.
    pub count: u32,
}

impl KeepAlive {
    /// The kernel's own two hours outlast every firewall's memory. After a minute of silence and six
    /// questions ten seconds apart a peer that is gone is known to be, two minutes in all.
    pub const USUAL: KeepAlive = KeepAlive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        count: 6,
    };
}

impl SocketOptions {
    /// What sockets are told when nobody says otherwise.
    pub const USUAL: SocketOptions = SocketOptions {
        keepalive: Some(KeepAlive::USUAL),
        user_timeout: None,
        receive_buffer: None,
        send_buffer: None,
        nodelay: true,
        interface: None,
        transparent: false,
    };
}

/// What a listening socket is told. The rest its connections inherit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// For its connections.
    pub common: SocketOptions,
    /// Connections that may wait to be accepted; `None` (`auto`) is as many as the system allows.
    pub backlog: Option<u32>,
    /// How long the kernel keeps a client that has sent nothing; whole seconds, `None` is `off`.
    pub defer_accept: Option<Duration>,
}

impl ListenOptions {
    /// What a listening socket is told when nobody says otherwise.
    pub const USUAL: ListenOptions = ListenOptions {
        common: SocketOptions::USUAL,
        backlog: None,
        defer_accept: None,
    };
}

/// What a socket that connects is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// As every connection.
    pub common: SocketOptions,
    /// Where it comes from; `None` (`off`) leaves that to the kernel.
    pub source: Option<Source>,
}

impl ConnectOptions {
    /// What a socket that connects is told when nobody says otherwise.
    pub const USUAL: ConnectOptions = ConnectOptions {
        common: SocketOptions::USUAL,
        source: None,
    };
}

/// Where connections to backends come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// An address of this machine.
    pub address: IpAddr,
    /// The ports that may be used; `None` are those that the system gives out.
    pub ports: Option<RangeInclusive<u16>>,
}
