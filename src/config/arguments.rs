//! Raw arguments to a [`Command`].

use super::check::check;
use super::cli::{Command, Source, UsageError};
use super::error::quoted;
use super::words::closest;
use super::{
    AdminOption, Backend, BackendAddress, Config, ListenOn, Listener, Pool, admin, ask, defaults,
    unix, value,
};
use crate::policy::balance::Policy;
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

const OPTIONS: [&str; 8] = [
    "--config",
    "--listen",
    "--balance",
    "--admin",
    "--print-config",
    "--guide",
    "--help",
    "--version",
];
const COMMANDS: [&str; 2] = ["demo", "check"];

/// Reads them all; the first that is wrong ends it.
pub(super) fn parse(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let mut raw = Raw::default();
    loop {
        let argument = match parser.next() {
            Ok(Some(argument)) => argument,
            Ok(None) => break,
            Err(error) => return Err(UsageError::new(error.to_string(), "")),
        };
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Long("print-config") => raw.print_config = true,
            Arg::Long("guide") => raw.guided = true,
            Arg::Short('c') | Arg::Long("config") => {
                let file = PathBuf::from(os_value(&mut parser, "--config", "FILE")?);
                once("--config", raw.config.replace(file))?;
            }
            Arg::Short('l') | Arg::Long("listen") => {
                let text = value(&mut parser, "--listen", "ADDR")?;
                let bind = unix::listen_on(&text).map_err(|problem| problem.of_key("--listen"))?;
                raw.listen.push(bind);
            }
            Arg::Short('b') | Arg::Long("balance") => {
                let text = value(&mut parser, "--balance", "NAME")?;
                let policy = value::policy(&text).map_err(|problem| problem.of_key("--balance"))?;
                once("--balance", raw.balance.replace(policy))?;
            }
            Arg::Long("admin") => {
                let text = value(&mut parser, "--admin", "ADDR|off")?;
                once("--admin", raw.admin.replace(text))?;
            }
            Arg::Value(word) if word == "help" && raw.is_first() => return Ok(Command::Help),
            Arg::Value(word) => {
                if let Some(command) = raw.ask(&word)? {
                    return ask::parse(command, parser, raw.admin, raw.config);
                }
                raw.word(word)?;
            }
            Arg::Short(letter) => return Err(unknown_option(&format!("-{letter}"))),
            Arg::Long(name) => return Err(unknown_option(&format!("--{name}"))),
        }
    }
    raw.command()
}

/// The arguments as they were given, each valid by itself.
#[derive(Debug, Default)]
struct Raw {
    command: Option<&'static str>,
    check: Option<PathBuf>,
    config: Option<PathBuf>,
    listen: Vec<ListenOn>,
    balance: Option<&'static Policy>,
    admin: Option<String>,
    backends: Vec<Backend>,
    print_config: bool,
    guided: bool,
}

impl Raw {
    /// The command of the client that this word is. Only `--admin` and `--config` may stand before it.
    fn ask(&self, word: &OsStr) -> Result<Option<&'static str>, UsageError> {
        let command = word.to_str().and_then(ask::command);
        let Some(command) = command.filter(|_| self.is_first()) else {
            return Ok(None);
        };
        if self.is_bare() {
            return Ok(Some(command));
        }
        let what = format!("`{command}` asks a running evener and takes no options of a new one");
        Err(UsageError::new(
            what,
            &format!("`evener {command}`, and what it needs behind it"),
        ))
    }

    /// Is the next word the first that is no option?
    fn is_first(&self) -> bool {
        self.command.is_none() && self.backends.is_empty()
    }

    /// Is there no option for a new evener alone?
    fn is_bare(&self) -> bool {
        self.listen.is_empty() && self.balance.is_none() && !self.print_config && !self.guided
    }

    /// A command, the file that `check` reads, or a backend.
    fn word(&mut self, word: OsString) -> Result<(), UsageError> {
        if self.command == Some("check") {
            return once("FILE of `check`", self.check.replace(PathBuf::from(word)));
        }
        let word = utf8(word)?;
        let is_first = self.is_first();
        let command = COMMANDS.into_iter().find(|command| *command == word);
        if command.is_some() && is_first {
            self.command = command;
            return Ok(());
        }
        // Every backend has a colon, and no command has one.
        let near = closest(
            &word,
            COMMANDS
                .into_iter()
                .chain(ask::COMMANDS.map(|(name, _)| name)),
        )
        .or_else(|| closest(&format!("--{word}"), OPTIONS));
        if let Some(near) = near.filter(|_| is_first && !word.contains(':')) {
            let what = format!("{} is neither a command nor a backend", quoted(&word));
            return Err(UsageError::new(what, &format!("did you mean `{near}`?")));
        }
        self.backends.push(backend(&word)?);
        Ok(())
    }

    fn command(self) -> Result<Command, UsageError> {
        if self.command == Some("check") {
            return self.check_file();
        }
        let print_config = self.print_config;
        if self.command == Some("demo") {
            if self.config.is_some() {
                return Err(UsageError::new(
                    "`demo` takes no --config",
                    "to run a config: `evener --config FILE`",
                ));
            }
            let guided = self.guided;
            let config = self.built()?;
            demo_backends(&config)?;
            return Ok(Command::Demo {
                config,
                print_config,
                guided,
            });
        }
        if self.guided {
            return Err(UsageError::new(
                "--guide is the tour of the demo",
                "`evener demo --guide`",
            ));
        }
        let Some(path) = self.config else {
            return Ok(Command::Run {
                source: Source::Arguments(self.built()?),
                print_config,
            });
        };
        let other = if !self.backends.is_empty() {
            "backends"
        } else if !self.listen.is_empty() {
            "--listen"
        } else if self.balance.is_some() {
            "--balance"
        } else {
            return Ok(Command::Run {
                source: Source::File {
                    path,
                    admin: admin_option(self.admin)?,
                },
                print_config,
            });
        };
        let help = "the file says everything: write it there, or leave out --config";
        Err(UsageError::new(
            format!("--config and {other} can't be given together"),
            help,
        ))
    }

    fn check_file(self) -> Result<Command, UsageError> {
        if !self.is_bare() || self.admin.is_some() || self.config.is_some() {
            return Err(UsageError::new(
                "`check` takes a file and no options",
                "`evener check FILE`",
            ));
        }
        match self.check {
            Some(file) => Ok(Command::Check { file }),
            None => Err(UsageError::new(
                "`check` needs a file",
                "`evener check FILE`",
            )),
        }
    }

    /// The config that the arguments stand for.
    fn built(self) -> Result<Box<Config>, UsageError> {
        let mut listen = self.listen;
        if listen.is_empty() {
            listen.push(unix::listen_on(defaults::LISTEN)?);
        }
        let mut backends = self.backends;
        if backends.is_empty() {
            for text in defaults::BACKENDS {
                backends.push(backend(text)?);
            }
        }
        let mut pool = Pool::new(defaults::POOL_NAME, backends);
        pool.balance = self.balance.unwrap_or(pool.balance);
        let mut config = Config {
            listeners: listen
                .into_iter()
                .map(|bind| Listener::new(bind, &pool.name))
                .collect(),
            pools: vec![pool],
            timeouts: Default::default(),
            shutdown: Default::default(),
            admin: Some(defaults::admin()),
            log: Default::default(),
            limits: Default::default(),
            performance: Default::default(),
            confinement: Default::default(),
        };
        if let Some(option) = admin_option(self.admin)? {
            option.apply(&mut config);
        }
        match check(&config).into_iter().next() {
            Some((_, problem)) => Err(problem.into()),
            None => Ok(Box::new(config)),
        }
    }
}

/// `demo` starts its backends itself, so it takes them where it can.
fn demo_backends(config: &Config) -> Result<(), UsageError> {
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    for backend in backends {
        if !matches!(backend.address, BackendAddress::Ip(_)) {
            return Err(UsageError::new(
                format!(
                    "`demo` starts its backends itself, and {} is no address of an interface",
                    backend.address
                ),
                "write IP:PORT, or leave it out",
            ));
        }
    }
    Ok(())
}

/// `HOST:PORT` or `HOST:PORT=WEIGHT`.
fn backend(word: &str) -> Result<Backend, UsageError> {
    let (address, weight) = match word.split_once('=') {
        Some((address, weight)) => (address, Some(weight)),
        None => (word, None),
    };
    let address = unix::backend(address).map_err(|problem| problem.of_key("backend"))?;
    let mut backend = Backend::new(address);
    if let Some(weight) = weight {
        let weight = value::number(weight, &defaults::WEIGHT_RANGE);
        backend.weight = weight.map_err(|problem| problem.of_key("weight"))?;
    }
    Ok(backend)
}

/// `off`, or where to listen.
fn admin_option(text: Option<String>) -> Result<Option<AdminOption>, UsageError> {
    let Some(text) = text else { return Ok(None) };
    let bind = value::or_off(&text, admin::bind).map_err(|problem| problem.of_key("--admin"))?;
    Ok(Some(bind.map_or(AdminOption::Off, AdminOption::At)))
}

fn unknown_option(option: &str) -> UsageError {
    let near = closest(option, OPTIONS);
    let help = near.map_or(String::new(), |near| format!("did you mean `{near}`?"));
    UsageError::new(format!("unknown option {}", quoted(option)), &help)
}

pub(super) fn once<T>(option: &str, before: Option<T>) -> Result<(), UsageError> {
    match before {
        Some(_) => Err(UsageError::new(
            format!("{option} is given twice"),
            "give it once",
        )),
        None => Ok(()),
    }
}

pub(super) fn os_value(
    parser: &mut lexopt::Parser,
    option: &str,
    kind: &str,
) -> Result<OsString, UsageError> {
    let missing = |_| {
        UsageError::new(
            format!("{option} has no value"),
            &format!("`{option} {kind}`"),
        )
    };
    parser.value().map_err(missing)
}

pub(super) fn value(
    parser: &mut lexopt::Parser,
    option: &str,
    kind: &str,
) -> Result<String, UsageError> {
    utf8(os_value(parser, option, kind)?)
}

pub(super) fn utf8(text: OsString) -> Result<String, UsageError> {
    let unreadable = |text: OsString| {
        UsageError::new(
            format!("{} is not UTF-8 text", quoted(&text.to_string_lossy())),
            "",
        )
    };
    text.into_string().map_err(unreadable)
}
