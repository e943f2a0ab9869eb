//! The keys `user`, `group` and `sandbox`: what the process may do once it serves.

use super::error::Problem;
use super::reader::{Map, Reading};
use super::unix::ListenOn;
use super::value::{or_off, word};
use super::{AdminBind, Config};
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

/// The longest name that a user may have here; Linux' own tools allow 32 bytes.
const NAME_BYTES_MAX: usize = 256;

/// What the process may do once it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Whose process it becomes when its sockets are bound, by name or number; `None` is `off`.
    pub user: Option<String>,
    /// With which group; `None` is that of the user.
    pub group: Option<String>,
    /// Whether files and system calls are put out of its reach at the start.
    pub sandbox: Sandbox,
}

/// Whether files and system calls are put out of the process's reach at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// No.
    #[default]
    Off,
    /// As far as the kernel can.
    BestEffort,
    /// Altogether, or evener does not start.
    Required,
}

impl Sandbox {
    /// Every one.
    pub const ALL: [Sandbox; 3] = [Sandbox::Off, Sandbox::BestEffort, Sandbox::Required];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            Sandbox::Off => "off",
            Sandbox::BestEffort => "best_effort",
            Sandbox::Required => "required",
        }
    }
}

pub(super) fn read_confinement(map: &mut Map<'_>, reading: &mut Reading) -> Confinement {
    let name = |text: &str| or_off(text, name);
    let confinement = Confinement {
        user: map.read(reading, "user", None, name),
        group: map.read(reading, "group", None, name),
        sandbox: map.read(reading, "sandbox", Sandbox::default(), |text| {
            word(
                "sandbox",
                text,
                &Sandbox::ALL.map(|sandbox| (sandbox.word(), sandbox)),
            )
        }),
    };
    if confinement.user.is_none() && confinement.group.is_some() {
        let help = "`group` is the group of `user`: add `user: NAME`, or leave out both";
        let problem = Problem::new("`group` without `user`", help);
        reading.problems.push(problem.at(map.spot("group")));
    }
    confinement
}

/// The name or number of a user or group. Whether there is such a one is known where evener runs.
fn name(text: &str) -> Result<String, Problem> {
    let is_fine = |char: char| !char.is_whitespace() && !char.is_control() && char != ':';
    match text {
        "" => Err(Problem::new(
            "an empty name",
            "a user's name or number, or `off`",
        )),
        text if text.len() <= NAME_BYTES_MAX && text.chars().all(is_fine) => Ok(text.to_string()),
        _ => Err(Problem::new(
            "that is no name of a user or group",
            "a name as in /etc/passwd, or a number",
        )),
    }
}

pub(super) fn write_confinement(out: &mut String, confinement: &Confinement) -> fmt::Result {
    let off_or = |name: &Option<String>| match name {
        Some(name) => super::print::text(name),
        None => "off".to_string(),
    };
    writeln!(out, "user: {}", off_or(&confinement.user))?;
    writeln!(out, "group: {}", off_or(&confinement.group))?;
    writeln!(out, "sandbox: {}", confinement.sandbox.word())
}

impl Config {
    /// The paths of all unix sockets that it listens on.
    pub fn unix_sockets(&self) -> Vec<&Path> {
        let binds = self.listeners.iter().flat_map(|listener| &listener.bind);
        let of_listeners = binds.filter_map(|on| match on {
            ListenOn::Unix(path) => Some(path),
            ListenOn::Tcp(_) => None,
        });
        let of_admin = (self.admin.iter()).filter_map(|admin| match &admin.bind {
            AdminBind::Unix(path) => Some(path),
            AdminBind::Tcp(_) => None,
        });
        of_listeners.chain(of_admin).map(PathBuf::as_path).collect()
    }

    /// Does any socket speak from addresses that are not the machine's?
    pub fn has_transparent(&self) -> bool {
        let listeners = self
            .listeners
            .iter()
            .map(|listener| &listener.socket.common);
        let pools = self.pools.iter().map(|pool| &pool.socket.common);
        listeners.chain(pools).any(|options| options.transparent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_has_no_blank_in_it() {
        for good in ["nobody", "1000", "a.b-c$", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(name(good).unwrap(), good);
        }
        let too_long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "a b", "a:b", "a\n", &too_long] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
