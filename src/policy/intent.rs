//! What the administrator wants of a backend: by the config, and by what was asked for since. PURE.

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
}

impl Intent {
    /// What the config says, and nothing else yet.
    pub const fn new(configured: Wish) -> Intent {
        Intent {
            configured,
            weight: None,
            state: None,
        }
    }

    /// What the config says.
    pub const fn configured(&self) -> Wish {
        self.configured
    }

    /// What counts now.
    pub fn current(&self) -> Wish {
        Wish {
            weight: self.weight.unwrap_or(self.configured.weight),
            state: self.state.unwrap_or(self.configured.state),
            backup: self.configured.backup,
        }
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
        }
    }

    /// What a new config makes of it.
    #[must_use]
    pub fn reloaded(self, configured: Wish) -> Intent {
        if configured == self.configured {
            self
        } else {
            Intent::new(configured)
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
}
