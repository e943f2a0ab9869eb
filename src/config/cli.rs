//! The command line: raw arguments to a [`Command`]. It decides nothing but what was asked for; a
//! config file is read later, by [`Source::load`], because a reload reads it again.

use super::check::check;
use super::error::{ConfigError, Problem, quoted};
use super::words::{closest, not_implemented};
use super::{Backend, Bind, Config, Listener, Pool, address, defaults, value};
use crate::policy::balance::Policy;
use lexopt::Arg;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What evener is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Balance.
    Run {
        /// Where the config comes from.
        source: Source,
        /// Print the config instead.
        print_config: bool,
    },
    /// Balance over built-in backends, which are still to be started at the addresses of the only pool.
    Demo {
        /// The config, complete.
        config: Box<Config>,
        /// Print the config instead.
        print_config: bool,
    },
    /// Validate a config file.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Print [`help`].
    Help,
    /// Print [`version`].
    Version,
}

/// Where the config of a run comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file, read when it is needed.
    File(PathBuf),
    /// The command line: complete already.
    Arguments(Box<Config>),
}

impl Source {
    /// The config, read anew when it is in a file.
    ///
    /// # Errors
    ///
    /// As [`Config::load`]; a config from the command line has been checked.
    pub fn load(&self) -> Result<Config, Vec<ConfigError>> {
        match self {
            Source::File(path) => Config::load(path),
            Source::Arguments(config) => Ok(Config::clone(config)),
        }
    }
}

/// A command line that can't be followed: exit code 2. `Display` is the whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    what: String,
    help: String,
}

impl std::error::Error for UsageError {}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = ConfigError::without_place(self.what.clone(), &self.help);
        write!(f, "{shown}\ntry `evener --help`")
    }
}

impl From<Problem> for UsageError {
    fn from(problem: Problem) -> UsageError {
        let (what, help) = problem.into_parts();
        UsageError { what, help }
    }
}

const OPTIONS: [&str; 7] = [
    "--config",
    "--listen",
    "--balance",
    "--admin",
    "--print-config",
    "--help",
    "--version",
];
const COMMANDS: [&str; 2] = ["demo", "check"];
const LATER_COMMANDS: [&str; 10] = [
    "status",
    "top",
    "connections",
    "explain",
    "drain",
    "ready",
    "maintain",
    "weight",
    "kill",
    "reload",
];

/// The manual, 80 columns wide.
pub fn help() -> &'static str {
    include_str!("help.txt")
}

/// Name and version.
pub fn version() -> &'static str {
    concat!("evener ", env!("CARGO_PKG_VERSION"))
}

/// Reads the arguments, without the program's name.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut raw = Raw::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        let argument = match parser.next() {
            Ok(Some(argument)) => argument,
            Ok(None) => break,
            Err(error) => return Err(usage(error.to_string(), "")),
        };
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Long("print-config") => raw.print_config = true,
            Arg::Short('c') | Arg::Long("config") => {
                let file = PathBuf::from(os_value(&mut parser, "--config", "FILE")?);
                once("--config", raw.config.replace(file))?;
            }
            Arg::Short('l') | Arg::Long("listen") => {
                let text = value(&mut parser, "--listen", "ADDR")?;
                let bind = address::bind(&text).map_err(|problem| problem.of_key("--listen"))?;
                raw.listen.push(bind);
            }
            Arg::Short('b') | Arg::Long("balance") => {
                let text = value(&mut parser, "--balance", "NAME")?;
                let policy = value::policy(&text).map_err(|problem| problem.of_key("--balance"))?;
                once("--balance", raw.balance.replace(policy))?;
            }
            Arg::Long("admin") => admin(&value(&mut parser, "--admin", "ADDR|off")?)?,
            Arg::Value(text) => raw.word(text)?,
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
    listen: Vec<Bind>,
    balance: Option<&'static Policy>,
    backends: Vec<Backend>,
    print_config: bool,
}

impl Raw {
    /// A command, the file that `check` reads, or a backend.
    fn word(&mut self, word: OsString) -> Result<(), UsageError> {
        if self.command == Some("check") {
            return once("FILE of `check`", self.check.replace(PathBuf::from(word)));
        }
        let word = utf8(word)?;
        let is_first = self.command.is_none() && self.backends.is_empty();
        let command = COMMANDS.into_iter().find(|command| *command == word);
        if command.is_some() && is_first {
            self.command = command;
            return Ok(());
        }
        if LATER_COMMANDS.contains(&word.as_str()) {
            return Err(not_implemented(&word, "").into());
        }
        if self.command == Some("demo") {
            let what = format!(
                "`demo` brings its own backends: {} is too much",
                quoted(&word)
            );
            return Err(usage(what, "leave it out, or leave out `demo`"));
        }
        // Every backend has a colon, and no command has one.
        let near = closest(&word, COMMANDS.into_iter().chain(LATER_COMMANDS));
        if let Some(near) = near.filter(|_| is_first && !word.contains(':')) {
            let what = format!("{} is neither a command nor a backend", quoted(&word));
            return Err(usage(what, &format!("did you mean `{near}`?")));
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
                return Err(usage(
                    "`demo` takes no --config",
                    "to run a config: `evener --config FILE`",
                ));
            }
            return Ok(Command::Demo {
                config: self.built()?,
                print_config,
            });
        }
        let Some(file) = self.config else {
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
                source: Source::File(file),
                print_config,
            });
        };
        let help = "the file says everything: write it there, or leave out --config";
        Err(usage(
            format!("--config and {other} can't be given together"),
            help,
        ))
    }

    fn check_file(self) -> Result<Command, UsageError> {
        let alone = self.config.is_none()
            && self.listen.is_empty()
            && self.balance.is_none()
            && !self.print_config;
        if !alone {
            return Err(usage(
                "`check` takes a file and no options",
                "`evener check FILE`",
            ));
        }
        match self.check {
            Some(file) => Ok(Command::Check { file }),
            None => Err(usage("`check` needs a file", "`evener check FILE`")),
        }
    }

    /// The config that the arguments stand for.
    fn built(self) -> Result<Box<Config>, UsageError> {
        let or_default = |listen: Vec<Bind>| match listen.is_empty() {
            true => address::bind(defaults::LISTEN).map(|bind| vec![bind]),
            false => Ok(listen),
        };
        let mut backends = self.backends;
        if backends.is_empty() {
            for text in defaults::BACKENDS {
                backends.push(backend(text)?);
            }
        }
        let mut pool = Pool::new(defaults::POOL_NAME, backends);
        pool.balance = self.balance.unwrap_or(pool.balance);
        let listen = or_default(self.listen)?;
        let config = Config {
            listeners: listen
                .into_iter()
                .map(|bind| Listener::new(bind, &pool.name))
                .collect(),
            pools: vec![pool],
            timeouts: Default::default(),
            shutdown: Default::default(),
            log: Default::default(),
            limits: Default::default(),
        };
        match check(&config).into_iter().next() {
            Some((_, problem)) => Err(problem.into()),
            None => Ok(Box::new(config)),
        }
    }
}

/// `HOST:PORT` or `HOST:PORT=WEIGHT`.
fn backend(word: &str) -> Result<Backend, UsageError> {
    let (address, weight) = match word.split_once('=') {
        Some((address, weight)) => (address, Some(weight)),
        None => (word, None),
    };
    let address = address::backend(address).map_err(|problem| problem.of_key("backend"))?;
    let mut backend = Backend::new(address);
    if let Some(weight) = weight {
        let weight = value::number(weight, &defaults::WEIGHT_RANGE);
        backend.weight = weight.map_err(|problem| problem.of_key("weight"))?;
    }
    Ok(backend)
}

/// The admin address. This version has none, and so only `off` can be kept.
fn admin(text: &str) -> Result<(), UsageError> {
    if text == "off" {
        return Ok(());
    }
    Err(not_implemented("--admin", "remove it, or write `--admin off`").into())
}

fn unknown_option(option: &str) -> UsageError {
    let near = closest(option, OPTIONS);
    let help = near.map_or(String::new(), |near| format!("did you mean `{near}`?"));
    usage(format!("unknown option {}", quoted(option)), &help)
}

fn once<T>(option: &str, before: Option<T>) -> Result<(), UsageError> {
    match before {
        Some(_) => Err(usage(format!("{option} is given twice"), "give it once")),
        None => Ok(()),
    }
}

fn os_value(parser: &mut lexopt::Parser, option: &str, kind: &str) -> Result<OsString, UsageError> {
    let missing = |_| {
        usage(
            format!("{option} has no value"),
            &format!("`{option} {kind}`"),
        )
    };
    parser.value().map_err(missing)
}

fn value(parser: &mut lexopt::Parser, option: &str, kind: &str) -> Result<String, UsageError> {
    utf8(os_value(parser, option, kind)?)
}

fn utf8(text: OsString) -> Result<String, UsageError> {
    let unreadable = |text: OsString| {
        usage(
            format!("{} is not UTF-8 text", quoted(&text.to_string_lossy())),
            "",
        )
    };
    text.into_string().map_err(unreadable)
}

fn usage(what: impl Into<String>, help: &str) -> UsageError {
    UsageError {
        what: what.into(),
        help: help.to_string(),
    }
}
