//! The address of the admin server, taken, and its token, read: everything that can go wrong before
//! it starts, so that a reload can try a new one while the old one still serves.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::guard::{Guard, Place};
use super::token::Token;
use crate::config::{Admin, AdminBind, Bind, Config};
use crate::events::Start;
use crate::log::Log;
use crate::net::listener::{self, Bound, Listening};
use crate::net::stream::Stream;
use crate::net::unix::UnixListener;
use crate::sync::Published;
use crate::systemd::Heritage;

/// A listening admin address. Connections wait in its backlog until a server is started on it.
#[derive(Debug)]
pub struct Door {
    listener: Listener,
    place: Place,
    /// Written by a reload, read by every connection. Published, so that one connection sees one
    /// token from beginning to end.
    token: Published<Option<Token>>,
    /// As in the config.
    bind: AdminBind,
    address: String,
}

#[derive(Debug)]
enum Listener {
    Tcp(Listening),
    Unix(UnixListener),
}

/// Why there can be no admin server. `Display` says what, where, and what to try.
#[derive(Debug)]
pub enum DoorError {
    /// The address can't be listened on.
    Bind {
        /// The address as written.
        address: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The token can't be used.
    Token {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
}

impl Door {
    /// Takes the admin address of this config; `None` when there is none, or when it is the default
    /// one and can't be had, which the log then says.
    ///
    /// Called after the listeners of the config are bound: the default address gives way to them.
    ///
    /// # Errors
    ///
    /// [`DoorError`].
    pub fn open(
        config: &Config,
        heritage: &mut Heritage,
        log: &Log,
    ) -> Result<Option<Door>, DoorError> {
        let Some(admin) = &config.admin else {
            return Ok(None);
        };
        let token = Door::read_token(admin, log)?;
        let bound = match config.listener_at(&admin.bind) {
            Some(listener) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("listener {listener} has it"),
            )),
            None => bind(&admin.bind, heritage),
        };
        match bound {
            Ok((listener, place, address)) => Ok(Some(Door {
                listener,
                place,
                token: Published::new(token),
                bind: admin.bind.clone(),
                address,
            })),
            Err(error) if admin.configured => Err(DoorError::Bind {
                address: admin.bind.to_string(),
                error,
            }),
            Err(error) => {
                log.send(Start::AdminUnavailable {
                    address: admin.bind.to_string(),
                    error: error.to_string(),
                });
                Ok(None)
            }
        }
    }

    /// Reads the token of this config; `None` is none. Apart from [`Door::open`], so that a reload can
    /// read one before it decides to use it.
    ///
    /// # Errors
    ///
    /// [`DoorError::Token`].
    pub fn read_token(admin: &Admin, log: &Log) -> Result<Option<Token>, DoorError> {
        let Some(file) = &admin.token_file else {
            return Ok(None);
        };
        let (token, is_public) = Token::read(file).map_err(|error| DoorError::Token {
            file: file.clone(),
            error,
        })?;
        if is_public {
            log.send(Start::AdminTokenPublic {
                file: file.display().to_string(),
            });
        }
        Ok(Some(token))
    }

    pub(super) fn set_token(&self, token: Option<Token>) {
        self.token.store(token);
    }

    /// What `act` makes of the rules of this moment.
    pub(super) fn with_guard<T>(&self, act: impl FnOnce(Guard<'_>) -> T) -> T {
        let token = self.token.load();
        act(Guard {
            place: self.place,
            token: Option::as_ref(&token),
        })
    }

    /// Wakes who accepts here, which is the end of it; a unix socket's file is gone.
    pub(super) fn close(&self) {
        match &self.listener {
            Listener::Tcp(listener) => listener.shut_down(),
            Listener::Unix(listener) => {
                listener.remove_file();
                listener.shut_down();
            }
        }
    }

    /// Waits for the next connection.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        match &self.listener {
            Listener::Tcp(listener) => Ok(listener::accept(listener)?.0),
            Listener::Unix(listener) => Stream::accept(listener),
        }
    }

    /// The socket once more, for a program that this process starts. It makes one of the file system
    /// anew.
    pub(super) fn for_another_program(&self) -> io::Result<Option<OwnedFd>> {
        match &self.listener {
            Listener::Tcp(listener) => listener.for_another_program().map(Some),
            Listener::Unix(_) => Ok(None),
        }
    }

    pub(super) fn is_at(&self, bind: &AdminBind) -> bool {
        self.bind == *bind
    }

    /// Where it is: `http://127.0.0.1:9900/` or `unix:/path`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn bind(address: &AdminBind, heritage: &mut Heritage) -> io::Result<(Listener, Place, String)> {
    match address {
        AdminBind::Tcp(Bind {
            address,
            dual_stack,
            ..
        }) => {
            let bound = match heritage.sockets.take(&(*address).into()) {
                Some(socket) => Bound::inherited(socket)?,
                None => Bound::new(*address, *dual_stack)?,
            };
            let listener = Listening::new(bound)?;
            let real = listener.local_addr()?;
            let shown = format!("http://{real}/");
            Ok((Listener::Tcp(listener), Place::Tcp(real), shown))
        }
        AdminBind::Unix(path) => {
            let listener = UnixListener::bind(path, heritage.takes_over)?;
            Ok((Listener::Unix(listener), Place::Unix, address.to_string()))
        }
    }
}

impl std::error::Error for DoorError {}

impl fmt::Display for DoorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoorError::Bind { address, error } => write!(
                f,
                "the admin server can't listen on {address}: {error}; choose another \
                 `admin: {{ bind: … }}` (or --admin), or `off`"
            ),
            DoorError::Token { file, error } => write!(
                f,
                "the admin token in {} can't be used: {error}; it is one line of at least 16 printable \
                 characters, for example from `head -c 24 /dev/urandom | base64`",
                file.display()
            ),
        }
    }
}
