//! The checker without its thread: what single results make of a backend.

use super::*;
use crate::config::{self, BackendAddress, HealthCheck};
use crate::health::Target;
use crate::policy::health::{AdminState, Health};
use crate::pool::{Backend, Pool};

#[test]
fn local_ports_that_ran_out_take_no_backend_down() {
    let address = ([127, 0, 0, 1], 9).into();
    let check = HealthCheck {
        fall: 1,
        ..HealthCheck::default()
    };
    let of_config = config::Pool::new(
        "web",
        vec![config::Backend::new(BackendAddress::Ip(address))],
    );
    let backend = Arc::new(Backend::new(
        "a",
        address,
        1,
        AdminState::Ready,
        Health::Starting,
    ));
    let pool = Arc::new(Pool::new(&of_config, vec![Arc::clone(&backend)], 1));
    let (log, log_thread) = Log::start(&config::Log::default(), io::sink()).unwrap();
    let channels = Channels {
        orders: crossbeam_channel::bounded(0).1,
        suspects: crossbeam_channel::bounded(0).1,
        mode_changed: crossbeam_channel::bounded(1).0,
        went_down: crossbeam_channel::unbounded().0,
    };
    let mut checker = Checker::new(channels, Threads::default(), log, Arc::default(), 1).unwrap();
    let number = checker
        .agenda
        .add(Target::new(pool, backend, check), Duration::ZERO);
    let mut health_after = |outcome| {
        checker.observe(number, outcome);
        match checker.agenda.get(number).unwrap().is_up() {
            true => Health::Up,
            false => Health::Down,
        }
    };
    assert_eq!(health_after(Outcome::Good(String::new())), Health::Up);
    let no_port = || Outcome::NoLocalPort("no port left".to_owned());
    assert_eq!(health_after(no_port()), Health::Up);
    assert_eq!(health_after(Outcome::Bad(String::new())), Health::Down);
    assert_eq!(health_after(no_port()), Health::Down);
    log_thread.finish();
}
