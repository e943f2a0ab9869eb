//! What the process may do: whose it is, and what is out of its reach. Each step is taken once, by the
//! main thread, and can't be taken back; so the order is the whole story:
//!
//! 1. [`confine`], before the first other thread starts: no new privileges, ever; and the sandbox, which
//!    threads inherit from the one that starts them.
//! 2. The sockets are bound, the privileged ports among them.
//! 3. [`become_user`]: root no more, in all threads.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use evener_sys::{Reach, SandboxError};

use crate::config::cli::Source;
use crate::config::{Config, Confinement, Sandbox};
use crate::events::Confined;
use crate::upgrade::Program;

/// What programs read everywhere: the resolver's files and libraries, and what the kernel tells.
const SYSTEM: [&str; 6] = ["/etc", "/proc", "/sys", "/lib", "/lib64", "/usr/lib"];

/// The resolver's file is a link on many systems, to where a program keeps it up to date.
const RESOLVER: &str = "/etc/resolv.conf";

/// Why the process can't be made less powerful, as the config wants.
#[derive(Debug)]
pub enum PrivilegeError {
    /// The sandbox is `required`, and a part of it can't be had.
    Sandbox(SandboxError),
    /// The user database does not know whom to become.
    Unknown {
        /// `user` or `group`.
        key: &'static str,
        /// As written.
        name: String,
        /// What the database said.
        error: io::Error,
    },
    /// A number without an entry in the user database, and no group in the config.
    NoGroup(String),
    /// The system does not let the process become that user.
    Become {
        /// As written.
        user: String,
        /// What the kernel said.
        error: io::Error,
    },
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrivilegeError::Sandbox(error) => write!(
                f,
                "sandbox: required, but {error}; with `sandbox: best_effort` evener runs with what there is"
            ),
            PrivilegeError::Unknown { key, name, error } => write!(
                f,
                "{key} {name}: {error}; look at /etc/passwd and /etc/group, or write a number"
            ),
            PrivilegeError::NoGroup(user) => write!(
                f,
                "user {user} is not in the user database, which would know its group; write `group: NUMBER`, too"
            ),
            PrivilegeError::Become { user, error } => write!(
                f,
                "can't become user {user}: {error}; start evener as root, or as that user, or leave out `user`"
            ),
        }
    }
}

impl std::error::Error for PrivilegeError {}

/// Makes sure that no privileges are gained any more, and enters the sandbox, if the config wants one.
/// Gives what there is to tell
/// of it.
///
/// # Errors
///
/// [`PrivilegeError::Sandbox`], where the config insists.
pub fn confine(config: &Config, source: &Source) -> Result<Option<Confined>, PrivilegeError> {
    // Where the kernel does not know this, it changes nothing for evener, which starts no setuid programs.
    let _ = evener_sys::set_no_new_privileges();
    let wanted = config.confinement.sandbox;
    if wanted == Sandbox::Off {
        return Ok(None);
    }
    let mut missing = Vec::new();
    for step in [
        evener_sys::keep_files_away(&reach(config, source)),
        evener_sys::filter_calls(),
    ] {
        match step {
            Err(error) if wanted == Sandbox::Required => {
                return Err(PrivilegeError::Sandbox(error));
            }
            Err(error) => missing.push(error.to_string()),
            Ok(()) => {}
        }
    }
    Ok(Some(Confined::Sandbox { missing }))
}

/// The files that evener reads while it runs, and where it makes sockets. Directories rather than files,
/// since a new config is mostly another file of the same name.
fn reach(config: &Config, source: &Source) -> Reach {
    let mut read: BTreeSet<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    read.extend(directory(Path::new(RESOLVER)));
    if let Source::File { path, .. } = source {
        read.extend(directory_as_named(path));
        read.extend(directory(path));
    }
    if let Some(file) = (config.admin.as_ref()).and_then(|admin| admin.token_file.as_deref()) {
        read.extend(directory_as_named(file));
        read.extend(directory(file));
    }
    let sockets = config.unix_sockets();
    let sockets = sockets.into_iter().filter_map(Path::parent);
    Reach {
        read: read.into_iter().collect(),
        sockets: sockets.map(Path::to_path_buf).collect(),
    }
}

/// Where a file really is, behind all links.
fn directory(file: &Path) -> Option<PathBuf> {
    fs::canonicalize(file).ok()?.parent().map(Path::to_path_buf)
}

/// Where its name is.
fn directory_as_named(file: &Path) -> Option<PathBuf> {
    let directory = match file.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        directory => directory,
    };
    fs::canonicalize(directory).ok()
}

/// Becomes the user whom the config names, if it does and this is another one. The files of unix
/// sockets, which have just been made, go along.
///
/// # Errors
///
/// [`PrivilegeError`]: there is no such user, or evener may not become one.
pub fn become_user(config: &Config) -> Result<Option<Confined>, PrivilegeError> {
    let (Some(user), Some((uid, gid))) = (&config.confinement.user, find_user(config)?) else {
        return Ok(None);
    };
    if evener_sys::is_user(uid, gid) {
        return Ok(None);
    }
    let keeps_net_raw = config.has_transparent();
    let sockets = config.unix_sockets();
    let changed = sockets
        .into_iter()
        .try_for_each(|path| lchown(path, Some(uid), Some(gid)))
        .and_then(|()| evener_sys::become_user(uid, gid, keeps_net_raw));
    match changed {
        Ok(()) => Ok(Some(Confined::User {
            user: user.clone(),
            uid,
            gid,
            keeps_net_raw,
        })),
        Err(error) => Err(PrivilegeError::Become {
            user: user.clone(),
            error,
        }),
    }
}

/// The ids of the user and the group that the config names; `None`: it names no user.
///
/// # Errors
///
/// [`PrivilegeError`]: there is no such user or group on this machine.
pub fn find_user(config: &Config) -> Result<Option<(u32, u32)>, PrivilegeError> {
    let Confinement { user, group, .. } = &config.confinement;
    let Some(user) = user else {
        return Ok(None);
    };
    let unknown = |key, name: &String| {
        let name = name.clone();
        move |error| PrivilegeError::Unknown { key, name, error }
    };
    let (uid, usual) = evener_sys::find_user(user).map_err(unknown("user", user))?;
    let gid = match (group, usual) {
        (Some(group), _) => evener_sys::find_group(group).map_err(unknown("group", group))?,
        (None, Some(gid)) => gid,
        (None, None) => return Err(PrivilegeError::NoGroup(user.clone())),
    };
    Ok(Some((uid, gid)))
}

/// The files that a reload reads and this process can't, a sentence each. Asked once it is the user that it
/// stays: who started it may have been able to.
pub fn out_of_reach(config: &Config, source: &Source) -> Vec<String> {
    let config_file = match source {
        Source::File { path, .. } => Some(path.as_path()),
        Source::Arguments(_) => None,
    };
    let token = (config.admin.as_ref()).and_then(|admin| admin.token_file.as_deref());
    let files = config_file.into_iter().chain(token);
    files
        .filter_map(|file| Some((file, File::open(file).err()?)))
        .map(|(file, error)| {
            format!(
                "evener can't read {} as the user that it runs as: {error}; a reload will fail",
                file.display()
            )
        })
        .collect()
}

/// How to start another evener, for an upgrade: the sandbox lets nobody start a program.
///
/// # Errors
///
/// The sandbox; and those of [`Program::of_this_process`].
pub fn program(config: &Config) -> io::Result<Program> {
    match config.confinement.sandbox {
        Sandbox::Off => Program::of_this_process(),
        Sandbox::BestEffort | Sandbox::Required => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the sandbox lets evener start no program; restart it, with sockets from the service \
             manager no client is refused meanwhile",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let yaml = format!(
            "listeners: [{{ bind: ['127.0.0.1:0', 'unix:/run/evener/web.sock'] }}]\n\
             pools: [{{ backends: ['127.0.0.1:1'] }}]\nadmin: {{ bind: 'unix:/run/evener-admin/admin.sock' }}\n{more}"
        );
        Config::from_yaml("test", &yaml).unwrap()
    }

    #[test]
    fn what_a_reload_reads_is_within_reach_and_sockets_where_they_are_made() {
        let file = Source::File {
            path: PathBuf::from("/usr/share/../bin/evener.yaml"),
            admin: None,
        };
        let reach = reach(&config(""), &file);
        assert!(reach.read.contains(&PathBuf::from("/etc")));
        assert!(reach.read.contains(&fs::canonicalize("/usr/bin").unwrap()));
        let sockets = ["/run/evener", "/run/evener-admin"].map(PathBuf::from);
        assert_eq!(reach.sockets, sockets);
    }

    #[test]
    fn what_can_not_be_read_any_more_is_told() {
        let source = Source::File {
            path: PathBuf::from("/nowhere/evener.yaml"),
            admin: None,
        };
        let told = out_of_reach(&config(""), &source);
        assert!(told[0].starts_with("evener can't read /nowhere/evener.yaml as the user"));
        let here = Source::Arguments(Box::new(config("")));
        assert_eq!(out_of_reach(&config(""), &here), [""; 0]);
    }

    #[test]
    fn nobody_else_is_no_change() {
        assert!(become_user(&config("")).unwrap().is_none());
    }

    #[test]
    fn who_is_not_there_is_an_error_that_says_what_to_try() {
        let error = |more| become_user(&config(more)).unwrap_err().to_string();
        assert_eq!(
            error("user: nobody-of-that-name"),
            "user nobody-of-that-name: there is no such user; look at /etc/passwd and /etc/group, or write a number"
        );
        assert!(error("user: 4123456").contains("write `group: NUMBER`, too"));
        assert!(
            error("user: root\ngroup: no-such-group")
                .starts_with("group no-such-group: there is no such group")
        );
    }
}
