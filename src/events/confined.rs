//! How it is told that the process can do less from now on.

use std::fmt;

use serde_json::{Value, json};

use crate::config::LogLevel;

/// The process can do less from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confined {
    /// The sandbox stands.
    Sandbox {
        /// What the kernel can't do of it, a sentence each.
        missing: Vec<String>,
    },
    /// It runs as this user, for good.
    User {
        /// As written in the config.
        user: String,
        /// Its number.
        uid: u32,
        /// The number of its group.
        gid: u32,
        /// It may still speak from addresses that are not the machine's.
        keeps_net_raw: bool,
    },
}

impl Confined {
    pub(super) fn level(&self) -> LogLevel {
        match self {
            Confined::Sandbox { missing } if !missing.is_empty() => LogLevel::Warn,
            _ => LogLevel::Info,
        }
    }

    pub(super) fn fields(&self) -> Value {
        match self {
            Confined::Sandbox { missing } => json!({"missing": missing}),
            Confined::User {
                user,
                uid,
                gid,
                keeps_net_raw,
            } => {
                json!({"user": user, "uid": uid, "gid": gid, "keeps_net_raw": keeps_net_raw})
            }
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Confined::Sandbox { .. } => "sandbox",
            Confined::User { .. } => "user",
        }
    }
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Confined::Sandbox { missing } if missing.is_empty() => write!(
                f,
                "sandbox: files and system calls that evener does not need are out of its reach"
            ),
            Confined::Sandbox { missing } => {
                write!(f, "sandbox: {}", missing.join("; "))
            }
            Confined::User {
                user,
                uid,
                gid,
                keeps_net_raw,
            } => {
                write!(f, "runs as user {user} (uid {uid}, gid {gid}) from now on")?;
                if *keeps_net_raw {
                    write!(f, ", with CAP_NET_RAW for `transparent`")?;
                }
                Ok(())
            }
        }
    }
}
