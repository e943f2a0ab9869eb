//! Who of a pool serves: the primaries that are well, or whoever stands in for them. PURE.
//!
//! | primaries that are well | backups that are well | the pool is | its members are |
//! | --- | --- | --- | --- |
//! | as many as `panic_threshold` asks for | any | normal | these primaries |
//! | some, but fewer | any | in panic | all primaries, whatever their health |
//! | none | some | on its backups | these backups |
//! | none | none | open in failure, with `when_down: fail_open` | all primaries; without any, all backups |
//! | none | none | down, otherwise | nobody |
//!
//! Who is drained, in maintenance or of weight 0 is never a member: that is the administrator's word,
//! and no guess about health may overrule it. It does not count as missing either.
//!
//! A threshold is for the case in which the health checks are wrong, or in which the few that are left
//! would break down under the load of all: then a client that meets a dead server (and is retried on
//! another) is better served than all of them on the last one alive (Envoy's panic threshold, 50 % by
//! default there; off here, because a retry costs a client time). Backups stand in before any panic:
//! whoever has configured them wants them used.

/// How one backend stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its weight, if the administrator wants it to take sessions.
    pub wanted: Option<u32>,
    /// It is up.
    pub is_well: bool,
    /// It only stands in for the others.
    pub backup: bool,
}

/// How a pool stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its primaries serve.
    Normal,
    /// Too few primaries are well: all of them serve, whatever their health.
    Panic,
    /// No primary is well: backups serve.
    Backups,
    /// Nobody is well, and everybody serves all the same.
    FailOpen,
    /// Nobody can serve.
    #[default]
    Down,
}

impl Mode {
    /// The word for it in logs, the status and explanations.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Normal => "normal",
            Mode::Panic => "panic",
            Mode::Backups => "backups",
            Mode::FailOpen => "fail_open",
            Mode::Down => "down",
        }
    }
}

/// What the config says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The share of the wanted primaries, 0.0 to 1.0, that has to be well.
    pub panic_threshold: f64,
    /// Serve by anybody rather than by nobody.
    pub fail_open: bool,
}

/// Who serves, as (index, weight) in pool order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The members of the rotation.
    pub members: Vec<(usize, u32)>,
    /// Whom a session may try when it has tried all of these in vain: the backups that are well. The
    /// health check does not know yet what this session knows.
    pub in_reserve: Vec<(usize, u32)>,
    /// How the pool stands.
    pub mode: Mode,
}

/// Who serves.
pub fn choose(all: &[Standing], rules: Rules) -> Choice {
    let those = |is_one: &dyn Fn(&Standing) -> bool| -> Vec<(usize, u32)> {
        let wanted = all.iter().enumerate().filter(|(_, one)| is_one(one));
        wanted
            .filter_map(|(index, one)| Some((index, one.wanted?)))
            .collect()
    };
    let primaries = those(&|one| !one.backup);
    let well = those(&|one| !one.backup && one.is_well);
    let backups = those(&|one| one.backup && one.is_well);
    let (members, mode) = if !well.is_empty() {
        let share = well.len() as f64 / primaries.len() as f64;
        match share < rules.panic_threshold {
            true => (primaries, Mode::Panic),
            false => (well, Mode::Normal),
        }
    } else if !backups.is_empty() {
        return Choice {
            members: backups,
            in_reserve: Vec::new(),
            mode: Mode::Backups,
        };
    } else {
        let anybody = match primaries.is_empty() {
            true => those(&|one| one.backup),
            false => primaries,
        };
        match rules.fail_open && !anybody.is_empty() {
            true => (anybody, Mode::FailOpen),
            false => (Vec::new(), Mode::Down),
        }
    };
    Choice {
        members,
        in_reserve: backups,
        mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OFF: Rules = Rules {
        panic_threshold: 0.0,
        fail_open: false,
    };

    /// `u`p, `d`own, `o`ff (not wanted); capital: a backup. All of weight 2.
    fn pool(letters: &str) -> Vec<Standing> {
        letters
            .chars()
            .map(|letter| Standing {
                wanted: (!letter.eq_ignore_ascii_case(&'o')).then_some(2),
                is_well: !letter.eq_ignore_ascii_case(&'d'),
                backup: letter.is_ascii_uppercase(),
            })
            .collect()
    }

    fn indices(letters: &str, rules: Rules) -> (Vec<usize>, Mode) {
        let choice = choose(&pool(letters), rules);
        let members = choice.members.into_iter().map(|(index, _)| index);
        (members.collect(), choice.mode)
    }

    #[test]
    fn every_row_of_the_table() {
        let panic = Rules {
            panic_threshold: 0.5,
            ..OFF
        };
        let open = Rules {
            fail_open: true,
            ..OFF
        };
        for (letters, rules, expected, mode) in [
            ("uduU", OFF, vec![0, 2], Mode::Normal),
            ("uddd", OFF, vec![0], Mode::Normal),
            ("uudd", panic, vec![0, 1], Mode::Normal),
            ("uddd", panic, vec![0, 1, 2, 3], Mode::Panic),
            ("udddU", panic, vec![0, 1, 2, 3], Mode::Panic),
            // Who is not wanted is neither a member nor missing.
            ("uood", panic, vec![0], Mode::Normal),
            ("uodd", panic, vec![0, 2, 3], Mode::Panic),
            ("ddUDU", OFF, vec![2, 4], Mode::Backups),
            ("ddU", panic, vec![2], Mode::Backups),
            ("ooU", OFF, vec![2], Mode::Backups),
            ("ddD", OFF, vec![], Mode::Down),
            ("ddD", open, vec![0, 1], Mode::FailOpen),
            ("ooD", open, vec![2], Mode::FailOpen),
            ("ooO", open, vec![], Mode::Down),
            ("", open, vec![], Mode::Down),
        ] {
            assert_eq!(indices(letters, rules), (expected, mode), "{letters}");
        }
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// Nobody is a member against the administrator's will; and with somebody wanted and well, the
        /// pool is never down.
        #[test]
        fn the_administrator_is_obeyed_and_nobody_is_forgotten(
            letters in "[udoUDO]{0,8}",
            panic_threshold in 0.0..=1.0_f64,
            fail_open in any::<bool>(),
        ) {
            let all = pool(&letters);
            let Choice { members, in_reserve, mode } =
                choose(&all, Rules { panic_threshold, fail_open });
            prop_assert!(in_reserve.iter().all(|(index, _)| all[*index].backup && all[*index].is_well));
            prop_assert!(in_reserve.iter().all(|one| !members.contains(one)));
            prop_assert!(members.iter().all(|(index, _)| all[*index].wanted.is_some()));
            prop_assert_eq!(members.is_empty(), mode == Mode::Down);
            if all.iter().any(|one| one.wanted.is_some() && one.is_well) {
                prop_assert!(mode != Mode::Down && mode != Mode::FailOpen);
                prop_assert!(members.iter().any(|(index, _)| all[*index].is_well));
            }
        }
    }
}
