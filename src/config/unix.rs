//! Unix sockets in the config: `unix:/path` where an address may stand, and the `mode` of a listener's.

use super::address;
use super::error::{Problem, quoted};
use super::{BackendAddress, Bind, Listener};
use std::fmt;
use std::path::{Path, PathBuf};

/// What stands before a path.
const PREFIX: &str = "unix:";

/// Longest path of a unix socket, bytes: `sun_path` holds 108 with the final 0 (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenOn {
    /// An address of the internet.
    Tcp(Bind),
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

impl ListenOn {
    /// The address, if it is one of the internet.
    pub fn tcp(&self) -> Option<&Bind> {
        match self {
            ListenOn::Tcp(bind) => Some(bind),
            ListenOn::Unix(_) => None,
        }
    }

    /// Can't both be open.
    pub(super) fn overlaps(&self, other: &ListenOn) -> bool {
        match (self, other) {
            (ListenOn::Tcp(one), ListenOn::Tcp(other)) => one.overlaps(other),
            (ListenOn::Unix(one), ListenOn::Unix(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenOn::Tcp(bind) => bind.fmt(f),
            ListenOn::Unix(path) => write!(f, "{PREFIX}{}", path.display()),
        }
    }
}

impl Listener {
    /// Has it a unix socket, to which its `mode` applies?
    pub fn has_unix_socket(&self) -> bool {
        let is_unix = |on: &ListenOn| matches!(on, ListenOn::Unix(_));
        self.bind.iter().any(is_unix)
    }
}

/// An address or a path to listen on.
pub(super) fn listen_on(text: &str) -> Result<ListenOn, Problem> {
    match path_of(text) {
        Some(path) => Ok(ListenOn::Unix(path?)),
        None => Ok(ListenOn::Tcp(address::bind(text)?)),
    }
}

/// An address or a path of a backend.
pub(super) fn backend(text: &str) -> Result<BackendAddress, Problem> {
    match path_of(text) {
        Some(path) => Ok(BackendAddress::Unix(path?)),
        None => address::backend(text),
    }
}

fn path_of(text: &str) -> Option<Result<PathBuf, Problem>> {
    let written = text.strip_prefix(PREFIX)?;
    Some(path(written, "unix:/run/evener/web.sock"))
}

/// The path behind `unix:`. Absolute, because the file is shared by processes that may stand in different
/// directories.
pub(super) fn path(path: &str, example: &str) -> Result<PathBuf, Problem> {
    if !Path::new(path).is_absolute() || path.contains('\0') {
        let what = format!("{} is no absolute path", quoted(path));
        return Err(Problem::new(what, format!("for example \"{example}\"")));
    }
    if path.len() > PATH_BYTES_MAX {
        let what = format!("{} is longer than {PATH_BYTES_MAX} bytes", quoted(path));
        return Err(Problem::new(
            what,
            "the system has no room for more; choose a shorter path",
        ));
    }
    Ok(path.into())
}

/// The mode of a file, in octal.
pub(super) fn mode(text: &str) -> Result<u32, Problem> {
    let is_octal = text.len() >= 3 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => {
            let what = format!("{} is no mode of a file", quoted(text));
            Err(Problem::new(
                what,
                "three digits from 0 to 7, for owner, group and others, and a 0 before them: \
                 0660, 0666; who connects needs to write",
            ))
        }
    }
}
