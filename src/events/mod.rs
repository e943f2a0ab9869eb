//! Everything that can be logged: one closed enum, so that every line of the log is listed here and in the
//! modules that it names.
//!
//! Whoever sees something happen makes the event; [`crate::log`] alone turns it into text: a sentence for
//! people, a name and fields for programs. Names come in as `Arc<str>`: an event costs reference counts, not
//! copies, on the thread that sends it.

mod agent;
mod changed;
mod closing;
mod confined;
mod ejection;
mod health_change;
mod life;
mod measured;
mod name;
mod progress;
mod reason;
mod record;
mod refusal;
mod serving;
mod session;
mod shortage;
mod start;
mod tcplog;
mod text;

pub use agent::AgentSaying;
pub use changed::Changed;
pub use closing::{Closing, Purpose, Step};
pub use confined::Confined;
pub use ejection::Ejection;
pub use health_change::HealthChange;
pub use life::Life;
pub use measured::{Load, Measured, Path};
pub use name::NameChange;
pub use progress::SessionProgress;
pub use reason::EndReason;
pub use record::{FailedAttempt, SessionRecord};
pub use refusal::{Refusal, Refused};
pub use serving::Serving;
pub use session::{ConnectFailed, SessionStarted};
pub use shortage::Shortage;
pub use start::Start;
pub use tcplog::syslog_date;

use std::fmt;

use serde_json::{Value, json};

use crate::config::LogLevel;

/// Something that happened and that somebody may want to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// The start, or an address that is added.
    Start(Start),
    /// The process can do less from now on.
    Confined(Confined),
    /// Something is short.
    Shortage(Shortage),
    /// A reload, a name or the administrator has changed something.
    Changed(Changed),
    /// Something is otherwise with the addresses of a host name.
    Name(Box<NameChange>),
    /// A backend came up or went down.
    HealthChanged(HealthChange),
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
    /// Clients are served otherwise than before.
    Serving(Serving),
    /// A session has its backend.
    SessionStarted(SessionStarted),
    /// A long session is getting on so.
    SessionProgress(Box<SessionProgress>),
    /// An attempt of a session to connect failed.
    ConnectFailed(ConnectFailed),
    /// A session has ended.
    SessionEnded(Box<SessionRecord>),
    /// Clients were not let in; one line for each listener and reason, at most every 10 s.
    Refused(Refused),
    /// One client was not let in.
    ClientRefused(Refused),
    /// Something that concerns the process as a whole.
    Life(Life),
    /// A message of the demo to the person at the terminal.
    Note {
        /// What it says, on one line or several.
        text: String,
    },
}

impl Event {
    /// How important it is.
    pub fn level(&self) -> LogLevel {
        match self {
            Event::Start(start) => start.level(),
            Event::Confined(confined) => confined.level(),
            Event::Shortage(_) => Shortage::LEVEL,
            Event::Changed(changed) => changed.level(),
            Event::Name(change) => change.level(),
            Event::Serving(serving) => serving.level(),
            Event::SessionEnded(record) => record.reason.level(),
            Event::Life(life) => life.level(),
            Event::HealthChanged(HealthChange { up: false, .. })
            | Event::AgentSilent(_)
            | Event::Ejection(Ejection { lasts: Some(_), .. }) => LogLevel::Warn,
            Event::HealthChanged(HealthChange { first: true, .. })
            | Event::AgentSays {
                only_weight: true, ..
            }
            | Event::SessionStarted(_)
            | Event::ClientRefused(_)
            | Event::ConnectFailed(_) => LogLevel::Debug,
            Event::Closing(closing) if closing.is_minor() => LogLevel::Debug,
            Event::HealthChanged(_)
            | Event::AgentSays { .. }
            | Event::Ejection(_)
            | Event::Closing(_)
            | Event::SessionProgress(_)
            | Event::Refused(_)
            | Event::Note { .. } => LogLevel::Info,
        }
    }

    /// What a person at a terminal waits for: in the text log it stands alone on its line, with no
    /// time before it.
    pub fn is_banner(&self) -> bool {
        matches!(
            self,
            Event::Start(Start::HealthCheck | Start::Listening { .. }) | Event::Note { .. }
        )
    }

    /// The name of the event and its fields, for the JSON log.
    pub fn fields(&self) -> (&'static str, Value) {
        match self {
            Event::Start(start) => start.fields(),
            Event::Confined(confined) => (confined.name(), confined.fields()),
            Event::Shortage(shortage) => shortage.fields(),
            Event::Changed(changed) => changed.fields(),
            Event::Name(change) => ("name", change.fields()),
            Event::HealthChanged(change) => ("health_changed", change.fields()),
            Event::AgentSays { saying, .. } => ("agent_says", saying.fields()),
            Event::AgentSilent(saying) => ("agent_silent", saying.fields()),
            Event::Ejection(ejection) => ("ejection", ejection.fields()),
            Event::Closing(closing) => ("closing", closing.fields()),
            Event::Serving(serving) => serving.fields(),
            Event::SessionStarted(started) => ("session_started", started.fields()),
            Event::SessionProgress(progress) => ("session_progress", progress.fields()),
            Event::ConnectFailed(failed) => ("connect_failed", failed.fields()),
            Event::SessionEnded(record) => ("session_ended", record.fields()),
            Event::Refused(refused) => ("refused", refused.fields()),
            Event::ClientRefused(refused) => ("client_refused", refused.fields()),
            Event::Life(life) => life.fields(),
            // The text is the message, which every line has.
            Event::Note { .. } => ("note", json!({})),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Start(start) => start.fmt(f),
            Event::Confined(confined) => confined.fmt(f),
            Event::Shortage(shortage) => shortage.fmt(f),
            Event::Changed(changed) => changed.fmt(f),
            Event::Name(change) => change.fmt(f),
            Event::HealthChanged(change) => change.fmt(f),
            Event::AgentSays { saying, .. } => saying.news(f),
            Event::AgentSilent(saying) => saying.silence(f),
            Event::Ejection(ejection) => ejection.fmt(f),
            Event::Closing(closing) => closing.fmt(f),
            Event::Serving(serving) => serving.fmt(f),
            Event::SessionStarted(started) => started.fmt(f),
            Event::SessionProgress(progress) => progress.fmt(f),
            Event::ConnectFailed(failed) => failed.fmt(f),
            Event::SessionEnded(record) => record.fmt(f),
            Event::Refused(refused) => refused.fmt(f),
            Event::ClientRefused(refused) => refused.one(f),
            Event::Life(life) => life.fmt(f),
            Event::Note { text } => f.write_str(text),
        }
    }
}

impl From<Start> for Event {
    fn from(start: Start) -> Event {
        Event::Start(start)
    }
}

impl From<Shortage> for Event {
    fn from(shortage: Shortage) -> Event {
        Event::Shortage(shortage)
    }
}

impl From<Changed> for Event {
    fn from(changed: Changed) -> Event {
        Event::Changed(changed)
    }
}

impl From<Serving> for Event {
    fn from(serving: Serving) -> Event {
        Event::Serving(serving)
    }
}

impl From<Life> for Event {
    fn from(life: Life) -> Event {
        Event::Life(life)
    }
}

#[cfg(test)]
mod tests;
