//! What is wanted of a backend: by the config, by what was asked for since, and by its own agent. PURE.
//!
//! An agent (see [`super::agent`]) may wish for less than the administrator, and the administrator has
//! the last word:
//!
//! | the administrator's state | the agent's | the state that counts |
//! | --- | --- | --- |
//! | ready | none, or ready | ready |
//! | ready | drain | drain |
//! | ready | maintenance | maintenance |
//! | ready, asked for after the agent's word | any | ready, until the agent says another word |
//! | drain | any | drain |
//! | maintenance | any | maintenance |
//!
//! The weight that counts is the agent's share of the administrator's weight.

use super::agent;
use super::health::AdminState;

/// A backend's share and state, as somebody asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Its share relative to the others.
    pub weight: u32,
    /// Ready, drain or maintenance.
    pub state: AdminState,
    /// It only stands in for the others.
    pub backup: bool,
}

/// The wish of the config, and what was asked for at run time, which counts more.
///
/// A reload keeps what was asked for at run time as long as the config says the same of the backend as
/// before: who drained a server by hand does not want it back because somebody has edited another
/// line. A config that says something new of this backend is the later word, and wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    configured: Wish,
    weight: Option<u32>,
    state: Option<AdminState>,
    agent: Advice,
}

/// What a backend's agent wishes for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Advice {
    /// A share of the weight, 0 to 100.
    pub percent: Option<u8>,
    /// A state.
    pub state: Option<AdminState>,
    /// The administrator has asked for a state since that was said.
    is_overruled: bool,
}

impl Intent {
    /// What the config says, and nothing else yet.
    pub const fn new(configured: Wish) -> Intent {
        Intent {
            configured,
            weight: None,
            state: None,
            agent: Advice {
                percent: None,
                state: None,
                is_overruled: false,
            },
        }
    }

    /// What the config says.
    pub const fn configured(&self) -> Wish {
        self.configured
    }

    /// What the administrator wants now.
    pub fn current(&self) -> Wish {
        Wish {
            weight: self.weight.unwrap_or(self.configured.weight),
            state: self.state.unwrap_or(self.configured.state),
            backup: self.configured.backup,
        }
    }

    /// What counts now, with the agent's word; see the table above.
    pub fn effective(&self) -> Wish {
        let wish = self.current();
        let state = match (wish.state, self.agent.state) {
            (AdminState::Ready, Some(state)) if !self.agent.is_overruled => state,
            (state, _) => state,
        };
        let percent = self.agent.percent.unwrap_or(100);
        Wish {
            weight: agent::scaled(wish.weight, percent),
            state,
            ..wish
        }
    }

    /// What its agent wishes for.
    pub const fn advice(&self) -> Advice {
        self.agent
    }

    /// Takes in what its agent says; `None` leaves that part as it is.
    #[must_use]
    pub fn advised(self, percent: Option<u8>, state: Option<AdminState>) -> Intent {
        let new = state.or(self.agent.state);
        Intent {
            agent: Advice {
                percent: percent.or(self.agent.percent),
                state: new,
                is_overruled: self.agent.is_overruled && new == self.agent.state,
            },
            ..self
        }
    }

    /// Has no agent any more.
    #[must_use]
    pub fn unadvised(self) -> Intent {
        Intent {
            agent: Advice::default(),
            ..self
        }
    }

    /// What was asked for at run time: a weight, a state.
    pub const fn orders(&self) -> (Option<u32>, Option<AdminState>) {
        (self.weight, self.state)
    }

    /// Was anything asked for at run time that the config says otherwise?
    pub fn is_overridden(&self) -> bool {
        self.current() != self.configured
    }

    /// Takes in what was asked for at run time; `None` leaves that part as it is.
    #[must_use]
    pub fn asked(self, weight: Option<u32>, state: Option<AdminState>) -> Intent {
        Intent {
            configured: self.configured,
            weight: weight.or(self.weight),
            state: state.or(self.state),
            agent: Advice {
                is_overruled: self.agent.is_overruled || state.is_some(),
                ..self.agent
            },
        }
    }

    /// What a new config makes of it.
    #[must_use]
    pub fn reloaded(self, configured: Wish) -> Intent {
        if configured == self.configured {
            self
        } else {
            Intent {
                agent: self.agent,
                ..Intent::new(configured)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Wish = Wish {
        weight: 1,
        state: AdminState::Ready,
        backup: false,
    };

    #[test]
    fn what_was_asked_for_counts_more_than_the_config() {
        let intent = Intent::new(READY);
        assert_eq!((intent.current(), intent.is_overridden()), (READY, false));
        let drained = intent.asked(None, Some(AdminState::Drain));
        assert_eq!(drained.current().state, AdminState::Drain);
        assert_eq!(drained.current().weight, 1);
        assert!(drained.is_overridden());
        let weighted = drained.asked(Some(7), None);
        assert_eq!(weighted.current().weight, 7);
        assert_eq!(weighted.current().state, AdminState::Drain);
        let back = weighted.asked(Some(1), Some(AdminState::Ready));
        assert!(!back.is_overridden());
    }

    #[test]
    fn a_reload_keeps_it_unless_the_config_says_something_new() {
        let drained = Intent::new(READY).asked(None, Some(AdminState::Drain));
        assert_eq!(drained.reloaded(READY), drained);
        let heavier = Wish { weight: 3, ..READY };
        assert_eq!(drained.reloaded(heavier).current(), heavier);
        assert!(!drained.reloaded(heavier).is_overridden());
    }

    #[test]
    fn the_administrator_has_the_last_word_over_the_agent() {
        use AdminState::{Drain, Maintenance, Ready};
        for (admin, agent, counts) in [
            (Ready, None, Ready),
            (Ready, Some(Ready), Ready),
            (Ready, Some(Drain), Drain),
            (Ready, Some(Maintenance), Maintenance),
            (Drain, None, Drain),
            (Drain, Some(Ready), Drain),
            (Drain, Some(Drain), Drain),
            (Drain, Some(Maintenance), Drain),
            (Maintenance, None, Maintenance),
            (Maintenance, Some(Ready), Maintenance),
            (Maintenance, Some(Drain), Maintenance),
            (Maintenance, Some(Maintenance), Maintenance),
        ] {
            let configured = Wish {
                state: admin,
                ..READY
            };
            let by_config = Intent::new(configured).advised(None, agent);
            assert_eq!(by_config.effective().state, counts, "{admin:?} {agent:?}");
            assert_eq!(by_config.current().state, admin);
            // What was asked for before the agent spoke is no answer to it.
            let before = Intent::new(READY).asked(None, Some(admin));
            assert_eq!(before.advised(None, agent).effective().state, counts);
            // What was asked for since is.
            let since = Intent::new(READY)
                .advised(None, agent)
                .asked(None, Some(admin));
            assert_eq!(since.effective().state, admin, "{admin:?} {agent:?}");
        }
    }

    #[test]
    fn who_was_overruled_is_heard_again_when_he_says_something_else() {
        let drained = Intent::new(READY).advised(None, Some(AdminState::Drain));
        let overruled = drained.asked(None, Some(AdminState::Ready));
        let again = overruled.advised(None, Some(AdminState::Drain));
        assert_eq!(again.effective().state, AdminState::Ready);
        let again = again.advised(Some(50), None);
        assert_eq!(again.effective().state, AdminState::Ready);
        let other = again.advised(None, Some(AdminState::Maintenance));
        assert_eq!(other.effective().state, AdminState::Maintenance);
        let weighted = drained.asked(Some(9), None);
        assert_eq!(weighted.effective().state, AdminState::Drain);
    }

    #[test]
    fn the_share_is_of_the_administrators_weight_and_stays_until_another_is_named() {
        let half = Intent::new(READY)
            .asked(Some(10), None)
            .advised(Some(50), None);
        assert_eq!((half.effective().weight, half.current().weight), (5, 10));
        let drained = half.advised(None, Some(AdminState::Drain));
        assert_eq!(drained.effective().weight, 5);
        let heavier = Wish { weight: 3, ..READY };
        assert_eq!(drained.reloaded(heavier).effective().weight, 2);
        assert_eq!(
            drained.unadvised(),
            Intent::new(READY).asked(Some(10), None)
        );
    }
}
