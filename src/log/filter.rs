//! What of all events is written, and what has to be measured for it.

use std::time::Duration;

use crate::config::{self, LogFormat, LogLevel};
use crate::sync::{Published, Setting};

/// Which events are written. Every part is written by [`super::Log::configure`] and read by whoever has
/// something to log. Several settings, because half changed is harmless here: a session or two is logged by
/// the old ones in part.
#[derive(Debug)]
pub struct Filter {
    /// Number of the least important level that is.
    level: Setting,
    /// 1: those of sessions, too.
    connections: Setting,
    /// 1: the form of the log is HAProxy's.
    tcplog: Setting,
    /// How often a session is told about while it lives. Read by the reaper.
    progress: Published<Option<Duration>>,
}

impl Filter {
    /// As this config says.
    pub(super) fn new(config: &config::Log) -> Filter {
        let filter = Filter {
            level: Setting::default(),
            connections: Setting::default(),
            tcplog: Setting::default(),
            progress: Published::new(None),
        };
        filter.set(config);
        filter
    }

    /// From now on as this config says.
    pub(super) fn set(&self, config: &config::Log) {
        self.level.set(config.level as u32);
        self.connections.set(config.connections.into());
        self.tcplog.set((config.format == LogFormat::Tcplog).into());
        self.progress.store(config.progress_interval);
    }

    /// Are events of this level written?
    pub fn has(&self, level: LogLevel) -> bool {
        level as u32 <= self.level.get()
    }

    /// Are the events of sessions written, as far as their level is?
    pub fn has_sessions(&self) -> bool {
        self.connections.get() != 0
    }

    /// Will the record of a session be written, however it ends? What only the record needs is not
    /// measured otherwise.
    pub fn has_every_record(&self) -> bool {
        self.has_sessions() && self.has(LogLevel::Info)
    }

    /// Does a record have the counts of sessions, as HAProxy's form does?
    pub fn has_counts(&self) -> bool {
        self.tcplog.get() != 0 && self.has_sessions()
    }

    /// How often a session is told about while it lives.
    pub fn progress_interval(&self) -> Option<Duration> {
        (*self.progress.load()).filter(|_| self.has(LogLevel::Info))
    }
}
