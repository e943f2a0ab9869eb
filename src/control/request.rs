//! Changes that can be asked for, and the answers.

use crossbeam_channel::{Receiver, Sender};

use crate::config::closing::Close;
use crate::policy::health::AdminState;

/// A change that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Read the config again and make it so.
    Reload {
        /// Only say what would change.
        dry_run: bool,
    },
    /// Change what is wanted of a backend; what is `None` stays.
    Backend {
        /// Name of the pool.
        pool: String,
        /// Name of the backend.
        backend: String,
        /// Its new share.
        weight: Option<u32>,
        /// Its new state.
        state: Option<AdminState>,
        /// Close its sessions; with [`AdminState::Drain`] only.
        close: Option<Close>,
    },
    /// Close the sessions that backends of a pool have beyond their shares.
    Rebalance {
        /// Name of the pool.
        pool: String,
        /// How; `None`: no longer.
        close: Option<Close>,
    },
}

/// What has changed, or would; or why nothing has.
pub type Answer = Result<Made, Refusal>;

/// A change that was made, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// What is different now, a line each.
    pub changes: Vec<String>,
    /// What is allowed and still looks like a mistake, a line each.
    pub warnings: Vec<String>,
}

impl From<Vec<String>> for Made {
    fn from(changes: Vec<String>) -> Made {
        Made {
            changes,
            warnings: Vec::new(),
        }
    }
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing; in words.
    NotFound(String),
    /// What was asked for can't be; in words.
    Invalid(String),
    /// The new config can't be put in force.
    Config {
        /// Everything that is wrong with it, a line each.
        errors: Vec<String>,
        /// The same as `evener check` prints it, with the lines that are meant.
        report: String,
    },
    /// evener is shutting down.
    Gone,
    /// It has not been made yet; it may be made later.
    TooLong,
}

/// A change, and where the answer goes.
#[derive(Debug)]
pub struct Request {
    /// What is asked for.
    pub change: Change,
    answer: Option<Sender<Answer>>,
}

impl Request {
    /// A request, and where its answer will be.
    pub(super) fn new(change: Change) -> (Request, Receiver<Answer>) {
        let (answer, receiver) = crossbeam_channel::bounded(1);
        let request = Request {
            change,
            answer: Some(answer),
        };
        (request, receiver)
    }

    /// A request whose answer nobody waits for.
    pub fn unanswered(change: Change) -> Request {
        Request {
            change,
            answer: None,
        }
    }

    /// Answers it.
    pub fn answer(self, answer: Answer) {
        if let Some(sender) = self.answer {
            // Whoever asked may have given up.
            let _ = sender.send(answer);
        }
    }
}
