//! What the answer to one question means for a backend: written where it is known from, and told to
//! the log where something is otherwise now. Runs on the health thread.

use std::sync::Arc;

use super::agent::Heard;
use super::target::{Duty, Target};
use crate::events::{AgentSaying, Event, HealthChange};
use crate::policy::health::{Health, is_probed};
use crate::pool::Condition;
use crate::stats::Stats;

/// Takes in an answer, good or bad. `None`: nothing is otherwise now. The events of a change of health
/// still lack how many of the pool are up.
pub(super) fn take(
    target: &mut Target,
    answer: Result<String, String>,
    stats: &Stats,
) -> Option<Vec<Event>> {
    let backend = Arc::clone(&target.backend);
    let before = backend.found().health;
    let (mut events, streak, has_changed) = match &mut target.duty {
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
            (Vec::new(), transition.streak, true)
        }
        Duty::Agent(agent) => {
            let heard = agent.hear(&backend, answer);
            let has_changed = matches!(heard, Heard::News { .. });
            (saying(target, heard).into_iter().collect(), 0, has_changed)
        }
    };
    let condition = backend.found();
    if condition.health != before && condition.health != Health::Starting {
        let up = condition.health == Health::Up;
        events.push(Event::HealthChanged(HealthChange {
            pool: Arc::clone(&target.pool.name),
            backend: Arc::clone(&backend.name),
            address: backend.address.clone(),
            up,
            first: up && before == Health::Starting,
            reason: condition.reason.to_string(),
            streak,
            up_count: 0,
            total: target.pool.backends.len(),
        }));
    }
    (has_changed || !events.is_empty()).then_some(events)
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
