//! Why evener could not start, or not take a new config, with what to try.

use std::fmt;
use std::io;

use crate::admin::DoorError;
use crate::config::ConfigError;
use crate::control::Refusal;
use crate::net::options::OptionError;
use crate::privileges::PrivilegeError;

/// Why evener could not start.
#[derive(Debug)]
pub enum StartError {
    /// An address can't be listened on.
    Bind {
        /// The address as written.
        address: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// An address overlaps with one that evener itself listens on until the new config is in force.
    Overlap {
        /// The address as written.
        address: String,
        /// The one that is open.
        open: String,
    },
    /// An address can't be listened on, and a socket was passed to evener that may have been meant for it.
    Passed {
        /// The address as written.
        address: String,
        /// The one of the socket.
        passed: String,
    },
    /// There can be no admin server as the config wants it.
    Admin(DoorError),
    /// A backend's name has no address.
    Resolve {
        /// The backend's name in the config.
        backend: String,
        /// What the resolver said.
        error: String,
    },
    /// The sockets of a listener or a pool can't be told what the config wants.
    Option {
        /// Which.
        of: String,
        /// The option, and why not.
        error: OptionError,
    },
    /// The process can't give up the privileges that it is to give up.
    Privilege(PrivilegeError),
    /// A signal came before the listeners were open.
    Interrupted,
    /// A thread of evener's own was refused.
    Thread(io::Error),
    /// A socket of evener's own was refused.
    Socket(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind { address, error } => {
                write!(f, "can't listen on {address}: {error}; ")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        write!(
                            f,
                            "another program listens there: end it, or choose another address"
                        )
                    }
                    io::ErrorKind::PermissionDenied if address.starts_with("unix:") => write!(
                        f,
                        "evener's user has to be allowed to write to that directory; with `sandbox`, \
                         one in which it has had sockets since it started"
                    ),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= in the unit \
                         file), or root and the port at the start"
                    ),
                    io::ErrorKind::AddrNotAvailable => {
                        write!(f, "no interface of this machine has that address")
                    }
                    io::ErrorKind::NotFound if address.starts_with("unix:") => {
                        write!(
                            f,
                            "make the directory first, as `RuntimeDirectory=` in a unit file does"
                        )
                    }
                    _ => write!(f, "choose another address"),
                }
            }
            StartError::Overlap { address, open } => write!(
                f,
                "can't listen on {address} while evener itself listens on {open}; \
                 take {open} out of the config first, reload, and then add {address}"
            ),
            StartError::Passed { address, passed } => write!(
                f,
                "can't listen on {address}: evener was passed a socket for {passed}, which has the port; \
                 make `bind:` and ListenStream= of the socket unit the same"
            ),
            StartError::Admin(error) => write!(f, "{error}"),
            StartError::Privilege(error) => write!(f, "{error}"),
            StartError::Resolve { backend, error } => write!(
                f,
                "can't find the address of backend {backend}: {error}; \
                 check the name and the system's resolver, or write an IP address"
            ),
            StartError::Option { of, error } => write!(f, "{of}: socket.{error}"),
            StartError::Interrupted => {
                write!(f, "interrupted before the first health check was done")
            }
            StartError::Thread(error) => {
                write!(
                    f,
                    "the system refuses a thread: {error}; raise ulimit -u or TasksMax="
                )
            }
            StartError::Socket(error) => {
                write!(
                    f,
                    "the system refuses a socket: {error}; raise ulimit -n (LimitNOFILE=)"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<DoorError> for StartError {
    fn from(error: DoorError) -> StartError {
        StartError::Admin(error)
    }
}

/// Why a config is not taken.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is wrong.
    Config(Vec<ConfigError>),
    /// It can't be put in force.
    Start(StartError),
}

impl Fault {
    /// A line for each thing that is wrong.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Fault::Config(errors) => errors.iter().map(ConfigError::one_line).collect(),
            Fault::Start(error) => vec![error.to_string()],
        }
    }

    /// As `evener check` or a start prints it.
    fn report(&self) -> String {
        match self {
            Fault::Config(errors) => {
                let errors = errors.iter().map(ConfigError::to_string);
                errors.collect::<Vec<_>>().join("\n")
            }
            Fault::Start(error) => format!("error: {error}"),
        }
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Fault {
        Fault::Start(error)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        match fault {
            Fault::Start(StartError::Interrupted) => Refusal::Gone,
            _ => Refusal::Config {
                errors: fault.lines(),
                report: fault.report(),
            },
        }
    }
}
