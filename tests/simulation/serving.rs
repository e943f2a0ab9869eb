//! Who serves, as the tables of `policy` have it, worked out anew from what a history has led to.

use evener::config::WhenDown;
use evener::policy::eligible::Mode;
use evener::policy::health::AdminState;

use super::server::Server;
use super::world::World;

/// Who serves, by the truth tables in `policy::health` and `policy::eligible`.
#[derive(Debug, PartialEq, Eq)]
pub struct Serving {
    pub members: Vec<usize>,
    pub in_reserve: Vec<usize>,
    pub mode: Mode,
}

impl Serving {
    pub fn expected(world: &World) -> Serving {
        let those = |backup: bool, only_well: bool| -> Vec<usize> {
            let is_one = |server: &Server| {
                let wish = server.wanted.counts();
                let is_wanted = wish.state == AdminState::Ready && wish.weight > 0;
                is_wanted && wish.backup == backup && (server.is_well() || !only_well)
            };
            let all = 0..world.servers.len();
            all.filter(|at| is_one(&world.servers[*at])).collect()
        };
        let (well, primaries) = (those(false, true), those(false, false));
        let (well_backups, backups) = (those(true, true), those(true, false));
        let enough = world.config.panic_threshold * primaries.len() as f64;
        let (members, mode) = match () {
            () if !well.is_empty() && well.len() as f64 >= enough => (well, Mode::Normal),
            () if !well.is_empty() => (primaries, Mode::Panic),
            () if !well_backups.is_empty() => (well_backups.clone(), Mode::Backups),
            () if world.config.when_down != WhenDown::FailOpen => (Vec::new(), Mode::Down),
            () if !primaries.is_empty() => (primaries, Mode::FailOpen),
            () if !backups.is_empty() => (backups, Mode::FailOpen),
            () => (Vec::new(), Mode::Down),
        };
        let in_reserve = match mode {
            Mode::Normal | Mode::Panic => well_backups,
            _ => Vec::new(),
        };
        Serving {
            members,
            in_reserve,
            mode,
        }
    }

    /// Whom a session may be given that has tried these.
    pub fn open_to(&self, tried: &[usize]) -> Vec<usize> {
        let reserve: &[usize] = if tried.is_empty() {
            &[]
        } else {
            &self.in_reserve
        };
        let all = self.members.iter().chain(reserve).copied();
        all.filter(|at| !tried.contains(at)).collect()
    }
}

/// Has it all the sessions that it may have?
pub fn is_full(server: &Server) -> bool {
    server
        .limit
        .is_some_and(|limit| server.backend.active.get() >= limit)
}
