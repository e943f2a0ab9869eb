//! The configuration, checked: what the rest of the program may rely on.
//!
//! A config is read in three steps. `yaml` turns text into a tree in which every key and value knows
//! its place; `file` and `pools` turn that tree into the types below; `check` looks at what no single
//! value can get wrong (two listeners on one address, a pool that isn't there). Everything that is
//! wrong is answered with file, line, column, the line itself and what would be right, all in one go.
//! [`cli`] does the same for the command line, and `print` writes a [`Config`] as YAML that loads
//! again. Nothing here opens a socket. Every default of the program stands in [`defaults`].

mod address;
mod admin;
mod admission;
mod agent;
mod aliases;
mod arguments;
mod ask;
mod bytes;
mod check;
pub mod cli;
pub mod closing;
mod confinement;
pub mod defaults;
pub mod diff;
mod error;
mod file;
mod hashing;
mod health_check;
mod http_probe;
mod names;
mod outlier;
mod pools;
mod print;
mod proxy_protocol;
mod reader;
mod routes;
mod settings;
mod socket;
mod unix;
mod value;
mod when_down;
mod words;
mod yaml;

#[cfg(test)]
mod tests;

pub use admin::{Admin, AdminAddress, AdminBind, AdminOption};
pub use admission::Admission;
pub use agent::Agent;
pub use ask::{Ask, What};
pub use confinement::{Confinement, Sandbox};
pub use error::{ConfigError, Place, is_hidden, visible};
pub use hashing::Hashing;
pub use health_check::{HealthCheck, Probe, ProbeHeader};
pub use http_probe::{HttpMethod, HttpProbe};
pub use proxy_protocol::AcceptProxy;
pub use routes::{Route, Routes};
pub use unix::ListenOn;
pub use when_down::WhenDown;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::policy::bulk::Method;
use crate::policy::patience::BusyPoll;
use crate::policy::proxy_protocol::Version;
use crate::policy::socket::{ConnectOptions, ListenOptions};

/// Everything that one run of evener is told, after validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Addresses that clients connect to; at least one.
    pub listeners: Vec<Listener>,
    /// Sets of backends; every listener names one of them.
    pub pools: Vec<Pool>,
    /// How long each phase of a session may last.
    pub timeouts: Timeouts,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// Where evener can be asked and told; `None` is `off`.
    pub admin: Option<Admin>,
    /// What is logged, and how.
    pub log: Log,
    /// What the process as a whole may hold.
    pub limits: Limits,
    /// How bytes are moved and threads are run; for measuring, and for kernels that do it badly.
    pub performance: Performance,
    /// What the process may do once it serves.
    pub confinement: Confinement,
}

/// An address, or several, that clients connect to.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Unique among the listeners.
    pub name: String,
    /// Where to listen; at least one.
    pub bind: Vec<ListenOn>,
    /// Mode of the files of its unix sockets: who may connect.
    pub mode: u32,
    /// Name of the pool that serves it, or whoever takes none of its routes; `None` is a reset for those.
    pub pool: Option<String>,
    /// Pools for TLS clients that ask for a server by name.
    pub routes: Routes,
    /// Sessions of this listener at once; `None` is no limit of its own.
    pub max_connections: Option<u32>,
    /// Whose PROXY header is believed; `None` is `off`, and nobody's is.
    pub accept_proxy_protocol: Option<AcceptProxy>,
    /// Which clients are let in, and how many from one address.
    pub admission: Admission,
    /// What its sockets are told.
    pub socket: ListenOptions,
}

/// One address of the internet to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// As it was written, which is how messages name it: `:8080` stays `:8080`.
    pub text: String,
    /// The address; `:PORT` is `[::]:PORT`.
    pub address: SocketAddr,
    /// Accept IPv4 clients on an IPv6 socket too: true for `:PORT` only.
    pub dual_stack: bool,
}

/// A named set of backends with one balancing policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Unique among the pools.
    pub name: String,
    /// The policy that picks a backend.
    pub balance: &'static crate::policy::balance::Policy,
    /// Further attempts after the first, other backends first.
    pub retries: u32,
    /// What a client gets when no backend can take it.
    pub when_down: WhenDown,
    /// What becomes of the sessions of a backend that goes down.
    pub on_down: OnDown,
    /// Below this share of live backends, 0.0 to 1.0, health is ignored.
    pub panic_threshold: f64,
    /// The PROXY header that tells its backends whom a connection is for; `None` is `off`.
    pub send_proxy_protocol: Option<Version>,
    /// What the sockets to its backends are told.
    pub socket: ConnectOptions,
    /// How long the share of a backend that has recovered grows to its whole; `None` is `off`.
    pub slow_start: Option<Duration>,
    /// How long the first backend may take to answer before a second one is tried at the same time.
    pub hedge_after: Option<Duration>,
    /// When real connections that fail take a backend out; `None` is `off`.
    pub outlier_detection: Option<crate::policy::outlier::Rules>,
    /// How a policy that hashes does it.
    pub hashing: Hashing,
    /// How backends are probed; `None` is `off`, and every backend counts as up.
    pub health_check: Option<HealthCheck>,
    /// How the agents beside its backends are asked; `None` is `off`.
    pub agent: Option<Agent>,
    /// The servers; at least one.
    pub backends: Vec<Backend>,
}

/// One server, as configured: its name may stand for several addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Unique within the pool; the address as written when no name was given.
    pub name: String,
    /// Where it listens.
    pub address: BackendAddress,
    /// Its share relative to the others of the pool; 0 takes no new session.
    pub weight: u32,
    /// What the administrator wants of it from the start.
    pub state: crate::policy::health::AdminState,
    /// It only stands in while no other backend of the pool is up.
    pub backup: bool,
    /// How often its host name is looked up; `None` (`off`): when the config is loaded only.
    pub resolve_interval: Option<Duration>,
    /// Sessions that it may have at once; `None` is no limit of its own.
    pub max_connections: Option<u32>,
    /// How many more may wait for the pool on its account; `None` is any number.
    pub max_queue: Option<u32>,
}

/// The address of a backend as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendAddress {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A host name and port, to be resolved; every address of the name is a backend.
    Name {
        /// The host name.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

/// How long each phase of a session may last; `None` is `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt to connect to one backend.
    pub connect: Duration,
    /// No byte in either direction.
    pub idle: Option<Duration>,
    /// No byte in either direction once one side has ended.
    pub half_close: Option<Duration>,
    /// The wait for a backend that has room, or that is up with `when_down: hold`.
    pub queue: Option<Duration>,
    /// The longest that a session may live.
    pub max_lifetime: Option<Duration>,
}

/// How the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// From the signal to the closing of the listeners.
    pub pre_stop_delay: Duration,
    /// How long sessions may go on after that; `None` (`off`) waits for ever.
    pub drain_timeout: Option<Duration>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Text for people or JSON for programs.
    pub format: LogFormat,
    /// The least important level that is still written.
    pub level: LogLevel,
    /// One line at the end of each session.
    pub connections: bool,
    /// One line of each session in so long, while it lives; `None` (`off`) is none.
    pub progress_interval: Option<Duration>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A time, a level and a sentence.
    Text,
    /// One JSON object.
    Json,
    /// HAProxy's line for a session, a level and a sentence for the rest, as syslog would have it.
    Tcplog,
}

/// How important a log line is, most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// evener itself is in trouble.
    Error,
    /// Something outside is in trouble, or is about to be.
    Warn,
    /// What an operator wants to know later.
    Info,
    /// What a developer wants to know now.
    Debug,
}

/// What the process as a whole may hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once; `None` (`auto`) is what the machine allows, see `crate::limits`.
    pub max_connections: Option<u32>,
}

/// How bytes are moved and threads are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Performance {
    /// How the two ways of a session are copied.
    pub relay: Method,
    /// Whether their threads look for the next message before they sleep.
    pub busy_poll: BusyPoll,
    /// How the kernel schedules evener's threads.
    pub scheduler: Scheduler,
}

/// How the kernel schedules evener's threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// As a batch: a thread that wakes waits for its turn instead of interrupting the one that runs.
    #[default]
    Batch,
    /// As the process was started.
    Inherit,
}

impl Pool {
    /// May a session have to wait for a backend here?
    pub fn has_queue(&self) -> bool {
        let is_limited = |backend: &Backend| backend.max_connections.is_some();
        self.when_down == WhenDown::Hold || self.backends.iter().any(is_limited)
    }
}

/// What becomes of the sessions of a backend that goes down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDown {
    /// They may go on: it may be the probes that fail.
    #[default]
    Keep,
    /// They are reset, so that their clients come again and get another backend.
    Close,
}

impl OnDown {
    const ALL: [OnDown; 2] = [OnDown::Keep, OnDown::Close];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            OnDown::Keep => "keep",
            OnDown::Close => "close",
        }
    }
}

// The words of the config for the closed sets above: what the reader takes and the printer writes.

impl LogFormat {
    const ALL: [LogFormat; 3] = [LogFormat::Text, LogFormat::Json, LogFormat::Tcplog];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
            LogFormat::Tcplog => "tcplog",
        }
    }
}

impl LogLevel {
    const ALL: [LogLevel; 4] = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
    ];

    /// The word for it in configs and logs.
    pub fn word(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

impl Scheduler {
    const ALL: [Scheduler; 2] = [Scheduler::Batch, Scheduler::Inherit];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            Scheduler::Batch => "batch",
            Scheduler::Inherit => "inherit",
        }
    }
}
