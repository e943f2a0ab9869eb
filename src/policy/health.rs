//! Who may take a session: what the probes say, what the administrator says, and the one rule that
//! combines them.

/// What is known of a backend, by probes and by real connections.
///
/// ```text
///           bad                    good
///   Down ◀────────────  Starting  ────────────▶ Up
///    ▲ │       the first probe decides         ▲ │
///    │ └───────── `rise` good in a row ────────┘ │
///    └─────────── `fall` bad in a row ───────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No probe has ended yet.
    Starting,
    /// It answers.
    Up,
    /// It does not answer.
    Down,
    /// It answers probes, but real connections to it have failed in a row: see [`super::outlier`].
    Ejected,
}

impl Health {
    /// The word for logs, metrics and the status page.
    pub const fn word(self) -> &'static str {
        match self {
            Health::Starting => "starting",
            Health::Up => "up",
            Health::Down => "down",
            Health::Ejected => "ejected",
        }
    }
}

/// What the administrator wants of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// It takes sessions while it is up.
    Ready,
    /// It finishes the sessions that it has and takes no new one. It is still probed, so its health
    /// is known at the moment it becomes ready again.
    Drain,
    /// It takes no new session and is not probed. When that ends, it starts with a new [`Machine`]:
    /// nobody knows what became of it meanwhile.
    Maintenance,
}

impl AdminState {
    /// All of them, for whoever parses a word.
    pub const ALL: [AdminState; 3] = [
        AdminState::Ready,
        AdminState::Drain,
        AdminState::Maintenance,
    ];

    /// The state that has this word.
    pub fn named(word: &str) -> Option<AdminState> {
        AdminState::ALL
            .into_iter()
            .find(|state| state.word() == word)
    }

    /// The word in the config, the admin API, logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            AdminState::Ready => "ready",
            AdminState::Drain => "drain",
            AdminState::Maintenance => "maintenance",
        }
    }
}

/// Whether a backend may take a new session; the sessions that it has are another matter.
///
/// | admin state | weight | starting | up      | down | ejected |
/// | ----------- | ------ | -------- | ------- | ---- | ------- |
/// | ready       | > 0    | no       | **yes** | no   | no      |
/// | ready       | 0      | no       | no      | no   | no      |
/// | drain       | any    | no       | no      | no   | no      |
/// | maintenance | any    | no       | no      | no   | no      |
pub const fn takes_sessions(health: Health, admin: AdminState, weight: u32) -> bool {
    matches!((health, admin), (Health::Up, AdminState::Ready)) && weight > 0
}

/// Whether a backend is probed: unless it is in maintenance.
pub const fn is_probed(admin: AdminState) -> bool {
    !matches!(admin, AdminState::Maintenance)
}

/// Turns the results of probes into [`Health`]; see there for the diagram. One per backend.
///
/// A single lost packet must not take a backend out, and a single lucky answer must not bring a
/// broken one back: so after the first probe only a streak of results that contradict the health
/// changes it, and one result that agrees ends the streak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    health: Health,
    /// The last results, as far back as all of them contradict the health.
    streak: u32,
    rise: u32,
    fall: u32,
}

/// A change of health, for the caller to log and publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The health until now.
    pub from: Health,
    /// The health from now on.
    pub to: Health,
    /// The number of results in a row that made the change.
    pub streak: u32,
}

impl Machine {
    /// A machine that waits for its first result. After that, `rise` good results in a row bring
    /// the backend up and `fall` bad ones take it down; 0 counts as 1.
    pub const fn new(rise: u32, fall: u32) -> Machine {
        Machine {
            health: Health::Starting,
            streak: 0,
            rise,
            fall,
        }
    }

    /// The same health, with other numbers of results that change it.
    pub const fn adjust(&mut self, rise: u32, fall: u32) {
        self.rise = rise;
        self.fall = fall;
    }

    /// The health that the results so far amount to.
    pub const fn health(&self) -> Health {
        self.health
    }

    /// How many of the last results in a row contradict the health.
    pub const fn streak(&self) -> u32 {
        self.streak
    }

    /// Takes in the result of one probe; answers with the change, if it made one.
    pub fn observe(&mut self, good: bool) -> Option<Transition> {
        let from = self.health;
        let to = if good { Health::Up } else { Health::Down };
        if to == from {
            self.streak = 0;
            return None;
        }
        let streak = self.streak.saturating_add(1);
        let needed = match from {
            Health::Starting => 1,
            // No probe ejects: that is known of a backend beside its health.
            Health::Up | Health::Ejected => self.fall,
            Health::Down => self.rise,
        };
        if streak < needed {
            self.streak = streak;
            return None;
        }
        self.health = to;
        self.streak = 0;
        Some(Transition { from, to, streak })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The health after a history of results, by definition: it turns when the last results, as
    /// many as it takes, all contradict it.
    fn health_by_definition(history: &[bool], rise: usize, fall: usize) -> Health {
        let mut health = Health::Starting;
        for end in 1..=history.len() {
            let (needed, to) = match (health, history[end - 1]) {
                (Health::Starting | Health::Down, true) => (rise, Health::Up),
                (Health::Starting | Health::Up, false) => (fall, Health::Down),
                _ => continue,
            };
            let needed = if health == Health::Starting {
                1
            } else {
                needed
            };
            let tail = &history[end.saturating_sub(needed)..end];
            if tail.len() == needed && tail.iter().all(|&good| good == history[end - 1]) {
                health = to;
            }
        }
        health
    }

    /// For every history of up to eight results and every rise and fall of up to three, the machine
    /// agrees with the definition after each result, and reports just the changes.
    #[test]
    fn agrees_with_the_definition() {
        for (rise, fall) in (1..=3).flat_map(|rise| (1..=3).map(move |fall| (rise, fall))) {
            for bits in 0..1_u32 << 8 {
                let history: Vec<bool> = (0..8).map(|n| bits >> n & 1 == 1).collect();
                let mut machine = Machine::new(rise, fall);
                for end in 1..=8 {
                    let from = machine.health();
                    let transition = machine.observe(history[end - 1]);
                    let to = health_by_definition(&history[..end], rise as usize, fall as usize);
                    assert_eq!(machine.health(), to, "{:?}, {rise}/{fall}", &history[..end]);
                    let streak = match from {
                        Health::Starting => 1,
                        Health::Up | Health::Ejected => fall,
                        Health::Down => rise,
                    };
                    let expected = (from != to).then_some(Transition { from, to, streak });
                    assert_eq!(transition, expected, "{:?}, {rise}/{fall}", &history[..end]);
                }
            }
        }
    }

    /// A good result between bad ones starts the count again: fall means in a row, not in total.
    #[test]
    fn agreement_ends_the_streak() {
        let mut machine = Machine::new(2, 3);
        machine.observe(true);
        for _ in 0..10 {
            assert_eq!(
                [false, false].map(|good| machine.observe(good)),
                [None, None]
            );
            assert_eq!(machine.streak(), 2);
            assert_eq!(machine.observe(true), None);
            assert_eq!((machine.health(), machine.streak()), (Health::Up, 0));
        }
    }

    /// The first result decides at once, either way; a threshold of 0 is as good as 1.
    #[test]
    fn the_first_result_decides() {
        for (good, to) in [(true, Health::Up), (false, Health::Down)] {
            let mut machine = Machine::new(0, 0);
            assert_eq!(machine.health(), Health::Starting);
            let from = Health::Starting;
            assert_eq!(
                machine.observe(good),
                Some(Transition {
                    from,
                    to,
                    streak: 1
                })
            );
            assert_eq!(machine.observe(good), None);
            assert_eq!(
                machine.observe(!good).map(|transition| transition.from),
                Some(to)
            );
        }
    }

    /// The truth table, all of it: one of the eighteen cells says yes.
    #[test]
    fn only_up_and_ready_and_weighted_takes_sessions() {
        let healths = [Health::Starting, Health::Up, Health::Down];
        let mut yes = Vec::new();
        for (health, admin) in healths
            .iter()
            .flat_map(|h| AdminState::ALL.map(|a| (*h, a)))
        {
            for weight in [0, 1, u32::MAX] {
                if takes_sessions(health, admin, weight) {
                    yes.push((health, admin, weight));
                }
            }
        }
        let (up, ready) = (Health::Up, AdminState::Ready);
        assert_eq!(yes, [(up, ready, 1), (up, ready, u32::MAX)]);
    }

    /// Only maintenance stops the probes.
    #[test]
    fn maintenance_is_not_probed() {
        assert_eq!(AdminState::ALL.map(is_probed), [true, true, false]);
    }

    /// The words that the config, the logs and the metrics promise.
    #[test]
    fn words() {
        assert_eq!(
            AdminState::ALL.map(AdminState::word),
            ["ready", "drain", "maintenance"]
        );
        let healths = [Health::Starting, Health::Up, Health::Down];
        assert_eq!(healths.map(Health::word), ["starting", "up", "down"]);
    }
}
