//! `most_connections`: the backend with the most sessions that may take one more, so that full machines
//! stay full and empty ones can be switched off.

use super::{Choice, Pick, Policy};

/// Most sessions.
pub static POLICY: Policy = Policy {
    name: "most_connections",
    summary: "the backend with the most sessions",
    by_client: false,
    table: None,
    pick,
    standing,
};

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    let members = choice.rotation.members().iter();
    members
        .filter(|member| choice.is_open(member.backend))
        .map(|member| (member.backend, (choice.active)(member.backend)))
        // Of equals the first stays.
        .reduce(|most, other| if other.1 > most.1 { other } else { most })
        .map(|(backend, active)| Pick {
            backend,
            seen: Some(active),
        })
}

fn standing(choice: &Choice<'_>) -> Vec<String> {
    let members = choice.rotation.members().iter();
    members
        .map(|member| format!("{} sessions", (choice.active)(member.backend)))
        .collect()
}
