//! Everything that can be logged: one closed enum, so that every line of the log is listed here.
//!
//! Whoever sees something happen makes the event; [`crate::log`] alone turns it into text. Names
//! come in as `Arc<str>`: an event costs reference counts, not copies, on the thread that sends it.

mod agent;
mod closing;
mod confined;
mod ejection;
mod health_change;
mod measured;
mod name;
mod process;
mod progress;
mod reason;
mod record;
mod refusal;
mod render;
mod tcplog;
mod text;

pub use agent::AgentSaying;
pub use closing::{Closing, Purpose, Step};
pub use confined::Confined;
pub use ejection::Ejection;
pub use health_change::HealthChange;
pub use measured::{Load, Measured, Path};
pub use name::NameChange;
pub use progress::SessionProgress;
pub use reason::EndReason;
pub use record::{FailedAttempt, SessionRecord};
pub use refusal::{Refusal, Refused};
pub use tcplog::syslog_date;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::LogLevel;
use crate::limits::Ceiling;
use crate::policy::address::Address;
use crate::policy::eligible::Mode;

/// Something that happened and that somebody may want to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// How many sessions this process can hold, and how many the config allows (`None` is `auto`).
    Room {
        /// What the machine allows.
        ceiling: Ceiling,
        /// What the config asks for.
        configured: Option<u32>,
    },
    /// The process can do less from now on.
    Confined(Confined),
    /// The health thread begins its first round.
    HealthCheckStarting,
    /// A listener accepts connections.
    Listening {
        /// The address as written, or the real one where the OS chose the port.
        address: String,
    },
    /// The admin server answers.
    AdminListening {
        /// `http://127.0.0.1:9900/` or `unix:/path`.
        address: String,
    },
    /// The default admin address can't be had, so there is no admin server.
    AdminUnavailable {
        /// The address.
        address: String,
        /// What the kernel said.
        error: String,
    },
    /// Every user of the machine can read the admin token.
    AdminTokenPublic {
        /// Its file.
        file: String,
    },
    /// A backend came up or went down.
    HealthChanged(HealthChange),
    /// Probes begin so late that some are left out; at most every 10 s.
    ProbesLate {
        /// How late the latest of them began.
        late: Duration,
    },
    /// The agent of a backend says something new.
    AgentSays {
        /// What.
        saying: AgentSaying,
        /// Only another share of the weight.
        only_weight: bool,
    },
    /// The agent of a backend gives no answer any more that makes sense.
    AgentSilent(AgentSaying),
    /// A backend is ejected because connections to it fail, or in again.
    Ejection(Ejection),
    /// Sessions are closed little by little from now on, or no longer.
    Closing(Closing),
    /// A pool is served otherwise than before.
    PoolMode {
        /// The pool.
        pool: Arc<str>,
        /// How it stood; `None`: it is new.
        old: Option<Mode>,
        /// How it stands.
        new: Mode,
    },
    /// Clients of a listener are refused from now on, because its pool has no backend, or no longer.
    Door {
        /// The listener.
        listener: Arc<str>,
        /// Its pool.
        pool: Arc<str>,
        /// Its address.
        address: String,
        /// From now on.
        refuses: bool,
    },
    /// A session has its backend.
    SessionStarted {
        /// Number of the session.
        id: u64,
        /// The listener it came by.
        listener: Arc<str>,
        /// The pool that serves it.
        pool: Arc<str>,
        /// The client's address.
        client: Address,
        /// The backend's name.
        backend: Arc<str>,
        /// The backend's address.
        address: Address,
    },
    /// A long session is getting on so.
    SessionProgress(Box<SessionProgress>),
    /// An attempt to connect failed; the session goes on with the next backend if it has attempts left.
    ConnectFailed {
        /// Number of the session.
        id: u64,
        /// The pool of the backend.
        pool: Arc<str>,
        /// Which backend, and what went wrong.
        failure: FailedAttempt,
    },
    /// A session has ended.
    SessionEnded(Box<SessionRecord>),
    /// A listener could not accept a client for lack of something; it goes on after a pause.
    AcceptFailed {
        /// The listener.
        listener: Arc<str>,
        /// What the kernel said.
        error: String,
        /// What can be done.
        advice: &'static str,
    },
    /// A listener that refused its clients for a while can't be opened again; that is tried again.
    ReopenFailed {
        /// The listener.
        listener: Arc<str>,
        /// The address.
        address: String,
        /// What the kernel said.
        error: String,
    },
    /// The OS refused a thread; who needed it tries again after a pause.
    ThreadRefused {
        /// What needed it.
        by: Arc<str>,
        /// What the kernel said.
        error: String,
    },
    /// The OS refused a socket to somebody who tries again after a pause.
    SocketRefused {
        /// What needed it.
        by: Arc<str>,
        /// What the kernel said.
        error: String,
    },
    /// Clients were not let in; one line for each listener and reason, at most every 10 s.
    Refused(Refused),
    /// One client was not let in.
    ClientRefused(Refused),
    /// As many sessions as allowed; further clients wait in the backlog.
    Full {
        /// The listener that stopped accepting.
        listener: Arc<str>,
        /// The limit.
        limit: u32,
    },
    /// A new config is in force.
    Reloaded {
        /// Number of the config, from 1 for the one of the start.
        generation: u64,
        /// How many changes it made; each has had a line of its own.
        changes: usize,
    },
    /// One thing that a new config has changed.
    ConfigChanged {
        /// As `reload --dry-run` shows it.
        change: String,
    },
    /// Something is otherwise with the addresses of a host name.
    Name(Box<NameChange>),
    /// A backend comes or goes because its name has other addresses.
    NameBackend {
        /// As `reload --dry-run` shows it.
        change: String,
    },
    /// Something in a new config that is allowed, and probably not meant.
    ConfigWarning {
        /// What, and what would be right.
        warning: String,
    },
    /// A config was not taken; the old one stays in force.
    ReloadFailed {
        /// Everything that is wrong with it, a line each.
        errors: Vec<String>,
    },
    /// Somebody has changed a backend at run time.
    BackendChanged {
        /// The pool.
        pool: Arc<str>,
        /// The backend's name.
        backend: Arc<str>,
        /// Its address.
        address: Address,
        /// What is otherwise now.
        change: String,
    },
    /// A backend that is no longer in use had sessions when its time was over.
    LeavingAborted {
        /// The pool.
        pool: Arc<str>,
        /// The backend's name.
        backend: Arc<str>,
        /// How many.
        sessions: usize,
    },
    /// No new session is taken; those that run may end by themselves.
    Draining {
        /// Sessions that run.
        sessions: u32,
        /// When the drain began.
        since: SystemTime,
        /// How long they may run from then on; `None` is for ever.
        timeout: Option<Duration>,
    },
    /// Sessions were aborted, at the drain's deadline or by a second signal.
    Aborted {
        /// How many.
        sessions: usize,
        /// True: by a second signal.
        by_signal: bool,
    },
    /// Aborted sessions that did not end: a bug in evener, which exits all the same.
    Stuck {
        /// How many.
        sessions: usize,
    },
    /// A socket that the service manager passed to evener, and that no listener uses.
    InheritedUnused {
        /// Which, and why not.
        what: String,
    },
    /// A message to the service manager failed.
    ManagerUnreachable {
        /// What the kernel said.
        error: String,
    },
    /// A thread that evener can't do without has ended, so the service manager's watchdog is left to
    /// restart it.
    NoSignOfLife,
    /// SIGUSR2: a new process was started, and is given the listening sockets.
    UpgradeStarted {
        /// Its process id.
        pid: u32,
    },
    /// The new process serves; this one takes nobody any more.
    Upgraded {
        /// Its process id.
        pid: u32,
    },
    /// The new process did not come to serve; this one goes on.
    UpgradeFailed {
        /// Why.
        error: String,
    },
    /// A message of the demo to the person at the terminal.
    Note {
        /// What it says, on one line or several.
        text: String,
    },
    /// The process is about to exit.
    Stopped,
    /// A thread panicked: a bug in evener, contained.
    Panicked {
        /// The thread's name.
        thread: String,
        /// Message and place.
        what: String,
    },
    /// Events that were not written because the log's sink was too slow.
    LogDropped {
        /// How many.
        events: u64,
    },
}

impl Event {
    /// How important it is.
    pub fn level(&self) -> LogLevel {
        match self {
            Event::Panicked { .. } | Event::Stuck { .. } | Event::NoSignOfLife => LogLevel::Error,
            Event::SessionEnded(record) => record.reason.level(),
            Event::Name(change) => change.level(),
            Event::Confined(confined) => confined.level(),
            Event::HealthChanged(HealthChange { up: false, .. })
            | Event::ProbesLate { .. }
            | Event::AgentSilent(_)
            | Event::AcceptFailed { .. }
            | Event::ReopenFailed { .. }
            | Event::ThreadRefused { .. }
            | Event::SocketRefused { .. }
            | Event::Full { .. }
            | Event::InheritedUnused { .. }
            | Event::UpgradeFailed { .. }
            | Event::ManagerUnreachable { .. }
            | Event::AdminUnavailable { .. }
            | Event::AdminTokenPublic { .. }
            | Event::Aborted { .. }
            | Event::LeavingAborted { .. }
            | Event::ConfigWarning { .. }
            | Event::ReloadFailed { .. }
            | Event::LogDropped { .. } => LogLevel::Warn,
            Event::Ejection(Ejection { lasts: Some(_), .. })
            | Event::Door { refuses: true, .. } => LogLevel::Warn,
            Event::PoolMode { new, .. } if *new != Mode::Normal => LogLevel::Warn,
            // That a backend is up again has a line of its own.
            Event::PoolMode {
                old: None | Some(Mode::Down),
                ..
            }
            | Event::HealthChanged(HealthChange { first: true, .. })
            | Event::AgentSays {
                only_weight: true, ..
            }
            | Event::SessionStarted { .. }
            | Event::ClientRefused(_)
            | Event::ConnectFailed { .. } => LogLevel::Debug,
            Event::Closing(closing) if closing.is_minor() => LogLevel::Debug,
            Event::Room { .. }
            | Event::HealthCheckStarting
            | Event::Listening { .. }
            | Event::AdminListening { .. }
            | Event::HealthChanged(_)
            | Event::AgentSays { .. }
            | Event::Ejection(_)
            | Event::Closing(_)
            | Event::PoolMode { .. }
            | Event::Door { .. }
            | Event::SessionProgress(_)
            | Event::Refused(_)
            | Event::Reloaded { .. }
            | Event::ConfigChanged { .. }
            | Event::NameBackend { .. }
            | Event::BackendChanged { .. }
            | Event::Draining { .. }
            | Event::UpgradeStarted { .. }
            | Event::Upgraded { .. }
            | Event::Note { .. }
            | Event::Stopped => LogLevel::Info,
        }
    }

    /// What a person at a terminal waits for: in the text log it stands alone on its line, with no
    /// time before it.
    pub fn is_banner(&self) -> bool {
        matches!(
            self,
            Event::HealthCheckStarting | Event::Listening { .. } | Event::Note { .. }
        )
    }
}
