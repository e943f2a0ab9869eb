//! What the agent of a backend says becomes what is wanted and known of the backend. Runs on the
//! health thread. No answer, or one that makes no sense, changes nothing: whether the backend can be
//! reached is what probes are for.

use crate::config;
use crate::policy::agent::{self, Line};
use crate::policy::health::Health;
use crate::pool::{AgentReport, Backend, Condition};

/// An agent that is asked.
#[derive(Debug)]
pub(super) struct Agent {
    /// How.
    pub(super) config: config::Agent,
    /// Its last answer was none, and the log knows.
    is_silent: bool,
}

/// What an answer has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// It gives no answer any more that makes sense, for this reason.
    Silence(String),
    /// It says something new.
    News {
        /// Its line.
        line: String,
        /// Only another share of the weight.
        only_weight: bool,
    },
}

impl Agent {
    pub(super) fn new(config: config::Agent) -> Agent {
        Agent {
            config,
            is_silent: false,
        }
    }

    /// Takes in its line, or why there is none.
    pub(super) fn hear(&mut self, backend: &Backend, answer: Result<String, String>) -> Heard {
        let parsed = answer.and_then(|line| Ok((agent::parse(&line)?, line)));
        let (said, line) = match parsed {
            Ok(parsed) => parsed,
            Err(_) if self.is_silent => return Heard::Nothing,
            Err(why) => {
                self.is_silent = true;
                return Heard::Silence(why);
            }
        };
        self.is_silent = false;
        act(backend, said, line)
    }
}

fn act(backend: &Backend, said: Line, line: String) -> Heard {
    let Line {
        percent,
        state,
        health,
    } = said;
    let (before, after) = backend.change_intent(|intent| intent.advised(percent, state));
    let old = backend.agent_report();
    let old_down = old.as_ref().and_then(|report| report.down.clone());
    let old_reason = old_down.as_ref().map(|down| down.reason.clone());
    let down = match health {
        None => old_down,
        Some(Ok(())) => None,
        Some(Err(why)) => {
            let reason = format!("its agent says: {why}");
            // As long as it says the same, it has said so since then.
            let same = old_down.filter(|down| *down.reason == *reason);
            Some(same.unwrap_or_else(|| Condition::new(Health::Down, &reason)))
        }
    };
    let is_same_health = down.as_ref().map(|down| down.reason.clone()) == old_reason;
    if old.is_none_or(|report| *report.line != *line) {
        let line = line.as_str().into();
        backend.set_agent_report(Some(AgentReport { line, down }));
    }
    if before.advice() == after.advice() && is_same_health {
        return Heard::Nothing;
    }
    let only_weight = is_same_health && before.advice().state == after.advice().state;
    Heard::News { line, only_weight }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::health::AdminState;

    fn backend() -> Backend {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        Backend::new("a", address, 10, AdminState::Ready, Health::Up)
    }

    fn agent() -> Agent {
        Agent::new(config::Agent {
            port: 1,
            interval: std::time::Duration::from_secs(1),
            timeout: std::time::Duration::from_secs(1),
        })
    }

    #[test]
    fn what_it_says_stays_until_it_says_otherwise() {
        let (backend, mut agent) = (backend(), agent());
        let mut says = |line: &str| agent.hear(&backend, Ok(line.to_owned()));
        let news = |line: &str, only_weight| Heard::News {
            line: line.to_owned(),
            only_weight,
        };
        assert_eq!(says("50%"), news("50%", true));
        assert_eq!(backend.standing().wanted, Some(5));
        assert_eq!(says("50%"), Heard::Nothing);
        assert_eq!(says("down #disk"), news("down #disk", false));
        assert!(!backend.takes_sessions());
        assert_eq!(&*backend.condition().reason, "its agent says: down, disk");
        assert_eq!(says("25%"), news("25%", true));
        assert_eq!(backend.health(), Health::Down);
        assert_eq!(says("drain up"), news("drain up", false));
        assert_eq!(backend.health(), Health::Up);
        assert_eq!(backend.standing().wanted, None);
        assert_eq!(says("ready"), news("ready", false));
        assert_eq!(backend.standing().wanted, Some(3));
        // Nothing new, in other words: shown, and no news.
        assert_eq!(says("up ready 25%"), Heard::Nothing);
        assert_eq!(&*backend.agent_report().unwrap().line, "up ready 25%");
    }

    #[test]
    fn silence_and_nonsense_change_nothing_and_are_told_once() {
        let (backend, mut agent) = (backend(), agent());
        agent.hear(&backend, Ok("drain".to_owned()));
        let mut none = |why: &str| agent.hear(&backend, Err(why.to_owned()));
        assert_eq!(none("refused"), Heard::Silence("refused".to_owned()));
        assert_eq!(none("timed out"), Heard::Nothing);
        assert_eq!(agent.hear(&backend, Ok("hm".to_owned())), Heard::Nothing);
        assert_eq!(agent.hear(&backend, Ok("drain".to_owned())), Heard::Nothing);
        assert_eq!(
            agent.hear(&backend, Ok("hm".to_owned())),
            Heard::Silence("it says `hm`".to_owned())
        );
        assert_eq!(backend.intent().effective().state, AdminState::Drain);
    }
}
