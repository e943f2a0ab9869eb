//! The command line: what evener can be asked to do, and the manual. It decides nothing; a config
//! file is read later, by [`Source::load`], because a reload reads it again.

use super::error::{ConfigError, Problem};
use super::{AdminOption, Ask, Config, arguments};
use crate::policy::balance::{POLICIES, Policy};
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
        /// Begin the guided tour.
        guided: bool,
    },
    /// Validate a config file.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Ask a running evener something, or tell it to do something.
    Ask(Ask),
    /// Print [`help`].
    Help,
    /// Print [`version`].
    Version,
}

/// Where the config of a run comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file, read when it is needed.
    File {
        /// The file.
        path: PathBuf,
        /// What `--admin` says, which goes before the file.
        admin: Option<AdminOption>,
    },
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
            Source::File { path, admin } => Config::load(path)?.with_admin(admin.as_ref()),
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

impl UsageError {
    pub(super) fn new(what: impl Into<String>, help: &str) -> UsageError {
        UsageError {
            what: what.into(),
            help: help.to_string(),
        }
    }
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

/// The manual, 80 columns wide. The policies say themselves what they do.
pub fn help() -> String {
    let line = |policy: &&Policy| format!("      {:<21} {}\n", policy.name, policy.summary);
    let policies: String = POLICIES.iter().map(line).collect();
    include_str!("help.txt").replace("{policies}\n", &policies)
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
    arguments::parse(lexopt::Parser::from_args(arguments))
}
