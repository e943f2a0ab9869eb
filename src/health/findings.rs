//! What the answer to one question means for a backend: written where it is known from, and told to
//! the log where something is otherwise now. Runs on the health thread.

use std::sync::Arc;

use super::agent::Heard;
use super::target::{Duty, Target};
use crate::events::{AgentSaying, Event, HealthChange};
use crate::policy::health::{Health, is_probed};
use crate::pool::Condition;
use crate::stats::Stats;

/// What is otherwise now, to be told when the pool has been published: how many of it are up is known then.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// What its agent says.
    pub(super) said: Option<Event>,
    /// The backend is up or down now, and was not.
    pub(super) change: Option<Change>,
}

/// A backend has gone up or down.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) up: bool,
    first: bool,
    reason: String,
    streak: u32,
}

impl Change {
    /// What the log hears of it, with so many of the pool up.
    pub(super) fn event(self, target: &Target, up_count: usize) -> Event {
        let Change {
            up,
            first,
            reason,
            streak,
        } = self;
        Event::HealthChanged(HealthChange {
            pool: Arc::clone(&target.pool.name),
            backend: Arc::clone(&target.backend.name),
            address: target.backend.address.clone(),
            up,
            first,
            reason,
            streak,
            up_count,
            total: target.pool.backends.len(),
        })
    }
}

/// Takes in an answer, good or bad. `None`: nothing is otherwise now.
pub(super) fn take(
    target: &mut Target,
    answer: Result<String, String>,
    stats: &Stats,
) -> Option<Finding> {
    let backend = Arc::clone(&target.backend);
    let before = backend.found().health;
    let (said, streak, has_changed) = match &mut target.duty {
        Duty::Probe { machine, .. } => {
            let is_good = answer.is_ok();
            let (Ok(reason) | Err(reason)) = answer;
            match is_good {
                true => stats.probes_good.increment(),
                false => stats.probes_bad.increment(),
            }
            // Its agent has put it in maintenance while it was asked.
            if !is_probed(backend.intent().effective().state) {
                return None;
            }
            let transition = machine.observe(is_good)?;
            backend.set_condition(Condition::new(transition.to, &reason));
            (None, transition.streak, true)
        }
        Duty::Agent(agent) => {
            let heard = agent.hear(&backend, answer);
            let has_changed = matches!(heard, Heard::News { .. });
            (saying(target, heard), 0, has_changed)
        }
    };
    let condition = backend.found();
    let is_news = condition.health != before && condition.health != Health::Starting;
    let up = condition.health == Health::Up;
    let change = is_news.then(|| Change {
        up,
        first: up && before == Health::Starting,
        reason: condition.reason.to_string(),
        streak,
    });
    (has_changed || said.is_some() || is_news).then_some(Finding { said, change })
}

fn saying(target: &Target, heard: Heard) -> Option<Event> {
    let saying = |text| AgentSaying {
        pool: Arc::clone(&target.pool.name),
        backend: Arc::clone(&target.backend.name),
        address: target.address(),
        text,
    };
    match heard {
        Heard::Nothing => None,
        Heard::Silence(why) => Some(Event::AgentSilent(saying(why))),
        Heard::News { line, only_weight } => Some(Event::AgentSays {
            saying: saying(line),
            only_weight,
        }),
    }
}
