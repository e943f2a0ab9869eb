//! What is running: replaced as a whole by each change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::config::Config;
use crate::pool::{Backend, Pool};
use crate::registry::{Listener, Routed};

use super::Addresses;

/// What a config has become.
#[derive(Debug, Clone)]
pub struct Running {
    /// Number of the config, from 1 for the one of the start.
    pub generation: u64,
    /// The config itself.
    pub config: Arc<Config>,
    /// The file that it comes from; `None`: from the command line.
    pub file: Option<PathBuf>,
    /// When it came into force.
    pub loaded_at: SystemTime,
    /// How the last reload went; `None`: there was none.
    pub last_reload: Option<LastReload>,
    /// The listeners that are open, in the order of the config.
    pub listeners: Vec<OpenListener>,
    /// The pools, in the order of the config.
    pub pools: Vec<Arc<Pool>>,
    /// Backends that are in no pool any more and still have sessions.
    pub leaving: Vec<Leaving>,
    /// What the host names of backends stand for.
    pub addresses: Arc<Addresses>,
}

/// An open listener.
#[derive(Debug, Clone)]
pub struct OpenListener {
    /// Its counts and limits.
    pub listener: Arc<Listener>,
    /// Name of its pool, for clients that take no route.
    pub pool: Option<Arc<str>>,
    /// Where its sessions went; empty without routes.
    pub routed: Routed,
    /// Its addresses: as written, or the real ones where the OS chose the port.
    pub addresses: Vec<String>,
}

/// A backend that is no longer in the config, or is no address of its name any more.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Name of the pool that it was in.
    pub pool: Arc<str>,
    /// The backend.
    pub backend: Arc<Backend>,
    /// When its sessions are aborted; `None`: they may end by themselves.
    pub until: Option<Instant>,
    /// Its name may bring it back, and somebody has asked something of it at run time: it is remembered
    /// without sessions, too.
    pub remembered: bool,
}

/// How a reload went.
#[derive(Debug, Clone)]
pub struct LastReload {
    /// When.
    pub at: SystemTime,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl Running {
    /// A pool by its name.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| *pool.name == *name)
    }

    /// Does an open listener lead to this pool, for all of its clients or for some?
    pub fn is_in_use(&self, pool: &Pool) -> bool {
        self.listeners.iter().any(|open| {
            let mut routed = open.routed.iter().filter_map(|(pool, _)| pool.as_ref());
            open.pool.as_ref() == Some(&pool.name) || routed.any(|name| *name == pool.name)
        })
    }
}
