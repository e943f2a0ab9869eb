//! The commands that talk to a running evener: what is asked, and where. Their arguments are read
//! here; `crate::client` does what they say.

use std::net::IpAddr;
use std::path::PathBuf;

use lexopt::Arg;

use super::admin::{self, AdminAddress};
use super::arguments::{once, os_value, utf8, value};
use super::cli::{Command, UsageError};
use super::closing::{Close, Closing};
use super::error::quoted;
use super::words::closest;
use super::{defaults, value as values};
use crate::policy::health::AdminState;

/// A question to a running evener, or an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub what: What,
    /// Where it is, as far as the command line says so.
    pub address: Option<AdminAddress>,
    /// A file with the token; without one, the config or the environment may have it.
    pub token_file: Option<PathBuf>,
    /// The config of that evener, which says where it is as well.
    pub config: Option<PathBuf>,
    /// Print the answer as JSON, as it came.
    pub json: bool,
}

/// What is asked or ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Listeners, pools, backends.
    Status,
    /// The same and the busiest connections, again and again.
    Top,
    /// Every connection.
    Connections,
    /// Who would get the next client, and why.
    Explain {
        /// The pool.
        pool: String,
        /// The client, for policies that look at it.
        client: Option<IpAddr>,
    },
    /// Which pool a TLS client gets, who of it would be next, and why.
    ExplainRoute {
        /// The listener.
        listener: String,
        /// The server that the client asks for.
        sni: String,
    },
    /// A backend gets another administrative state.
    State {
        /// `POOL/BACKEND`, or the backend's name alone where it is the only one.
        backend: String,
        /// The new state.
        state: AdminState,
        /// Close its sessions as well, at this pace.
        close: Option<Close>,
    },
    /// What backends have beyond their shares is closed.
    Rebalance {
        /// The pool.
        pool: String,
        /// At this pace; `None`: no longer.
        close: Option<Close>,
    },
    /// A backend gets another weight.
    Weight {
        /// As in [`What::State`].
        backend: String,
        /// The new weight.
        weight: u32,
    },
    /// A connection is reset.
    Kill {
        /// Its number.
        id: u64,
    },
    /// The config is read again.
    Reload {
        /// Say only what would change.
        dry_run: bool,
    },
}

/// The commands, and what stands behind each.
pub(super) const COMMANDS: [(&str, &str); 11] = [
    ("status", ""),
    ("top", ""),
    ("connections", ""),
    ("explain", "POOL [--client IP]"),
    ("drain", "POOL/BACKEND [--close --rate N/s]"),
    ("ready", "POOL/BACKEND"),
    ("maintain", "POOL/BACKEND"),
    ("weight", "POOL/BACKEND N"),
    ("rebalance", "POOL --rate N/s"),
    ("kill", "ID"),
    ("reload", "[--dry-run]"),
];

const OPTIONS: [&str; 12] = [
    "--config",
    "--admin",
    "--token-file",
    "--json",
    "--client",
    "--sni",
    "--dry-run",
    "--close",
    "--rate",
    "--idle-for",
    "--stop",
    "--help",
];

/// The command of this name, if it is one of these.
pub(super) fn command(word: &str) -> Option<&'static str> {
    let found = COMMANDS.iter().find(|(name, _)| *name == word);
    found.map(|(name, _)| *name)
}

/// Reads what is behind the command; `admin` and `config` are such options before it.
pub(super) fn parse(
    command: &'static str,
    mut parser: lexopt::Parser,
    admin: Option<String>,
    config: Option<PathBuf>,
) -> Result<Command, UsageError> {
    let mut raw = Raw {
        admin,
        config,
        ..Raw::default()
    };
    loop {
        let argument = match parser.next() {
            Ok(Some(argument)) => argument,
            Ok(None) => break,
            Err(error) => return Err(UsageError::new(error.to_string(), "")),
        };
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("json") => raw.json = true,
            Arg::Long("admin") => {
                once(
                    "--admin",
                    raw.admin.replace(value(&mut parser, "--admin", "ADDR")?),
                )?;
            }
            Arg::Short('c') | Arg::Long("config") => {
                let file = os_value(&mut parser, "--config", "FILE")?;
                once("--config", raw.config.replace(file.into()))?;
            }
            Arg::Long("token-file") => {
                let file = os_value(&mut parser, "--token-file", "FILE")?;
                once("--token-file", raw.token_file.replace(file.into()))?;
            }
            Arg::Long("client") if command == "explain" => {
                let text = value(&mut parser, "--client", "IP")?;
                once("--client", raw.client.replace(client(&text)?))?;
            }
            Arg::Long("sni") if command == "explain" => {
                let name = value(&mut parser, "--sni", "NAME")?;
                once("--sni", raw.sni.replace(name))?;
            }
            Arg::Long("dry-run") if command == "reload" => raw.dry_run = true,
            Arg::Long(name) if raw.closing.has(command, name) => {
                let name = name.to_owned();
                raw.closing.read(&name, &mut parser)?;
            }
            Arg::Value(word) => raw.words.push(utf8(word)?),
            Arg::Short(letter) => return Err(unknown(command, &format!("-{letter}"))),
            Arg::Long(name) => return Err(unknown(command, &format!("--{name}"))),
        }
    }
    raw.command(command)
}

/// The arguments as they were given, each valid by itself.
#[derive(Debug, Default)]
struct Raw {
    admin: Option<String>,
    config: Option<PathBuf>,
    token_file: Option<PathBuf>,
    json: bool,
    client: Option<IpAddr>,
    sni: Option<String>,
    dry_run: bool,
    closing: Closing,
    words: Vec<String>,
}

impl Raw {
    fn command(self, command: &'static str) -> Result<Command, UsageError> {
        let address = self.admin.as_deref().map(admin::address).transpose();
        let address = address.map_err(|problem| problem.of_key("--admin"))?;
        let state = |backend: &String, state| What::State {
            backend: backend.clone(),
            state,
            close: None,
        };
        let what = match (command, self.words.as_slice()) {
            ("status", []) => What::Status,
            ("top", []) if self.json => {
                let help = "`evener status --json` and `evener connections --json` have all of it";
                return Err(UsageError::new("`top` has no --json", help));
            }
            ("top", []) => What::Top,
            ("connections", []) => What::Connections,
            ("explain", [listener]) if let Some(sni) = self.sni => What::ExplainRoute {
                listener: listener.clone(),
                sni,
            },
            ("explain", [pool]) => What::Explain {
                pool: pool.clone(),
                client: self.client,
            },
            ("drain", [backend]) => What::State {
                backend: backend.clone(),
                state: AdminState::Drain,
                close: self.closing.of_drain()?,
            },
            ("rebalance", [pool]) => What::Rebalance {
                pool: pool.clone(),
                close: self.closing.of_rebalance()?,
            },
            ("ready", [backend]) => state(backend, AdminState::Ready),
            ("maintain", [backend]) => state(backend, AdminState::Maintenance),
            ("weight", [backend, weight]) => What::Weight {
                backend: backend.clone(),
                weight: values::number(weight, &defaults::WEIGHT_RANGE)
                    .map_err(|problem| problem.of_key("weight"))?,
            },
            ("kill", [id]) => What::Kill {
                id: connection(id)?,
            },
            ("reload", []) => What::Reload {
                dry_run: self.dry_run,
            },
            _ => return Err(wrong_words(command, self.words.len())),
        };
        Ok(Command::Ask(Ask {
            what,
            address,
            token_file: self.token_file,
            config: self.config,
            json: self.json,
        }))
    }
}

fn client(text: &str) -> Result<IpAddr, UsageError> {
    text.parse().map_err(|_| {
        let what = format!("--client {} is no IP address", quoted(text));
        UsageError::new(what, "for example `--client 192.0.2.7`")
    })
}

fn connection(text: &str) -> Result<u64, UsageError> {
    text.parse().map_err(|_| {
        let what = format!("{} is no connection", quoted(text));
        UsageError::new(what, "its number, which `evener connections` shows")
    })
}

/// Too many or too few words behind a command.
fn wrong_words(command: &str, given: usize) -> UsageError {
    let usage = COMMANDS.iter().find(|(name, _)| *name == command);
    let behind = usage.map_or("", |(_, behind)| *behind);
    let what = match given {
        0 => format!("`{command}` needs more"),
        _ => format!("`{command}` does not take that many words"),
    };
    let usage = format!("evener {command} {behind}");
    UsageError::new(what, &format!("`{}`", usage.trim_end()))
}

fn unknown(command: &str, option: &str) -> UsageError {
    let near = closest(option, OPTIONS).filter(|near| *near != option);
    let help = near.map_or(String::new(), |near| format!("did you mean `{near}`?"));
    UsageError::new(
        format!("`{command}` has no option {}", quoted(option)),
        &help,
    )
}
