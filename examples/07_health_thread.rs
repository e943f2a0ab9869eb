//! Step 7: the health thread, and a receive with a deadline.
//!
//! What it teaches: a thread that works by the clock *and* hears orders waits in one place for both:
//! a receive that ends at a deadline. It wakes for whichever comes first: the next probe is due, an
//! order has come (here: "probe now"), or nobody can give orders any more, and then it ends.
//!
//! What goes wrong without it: `sleep(interval)`. The thread hears nothing until the interval is over;
//! a shutdown waits for it, and "a client has just found that backend dead" is read too late. A flag
//! that it looks at does not help, and shorter sleeps burn power and only make it less wrong.
//! A second trap waits where an order is something else than a probe: a *timeout* begins anew with each
//! order, a *deadline* stays, and with an order every second no probe of two seconds' interval is ever
//! due by a timeout. (Here each order is a probe, and the next one is due an interval after that.)
//!
//! In earnest: `src/health/checker.rs` (the thread), `src/health/probe.rs` (one probe, on its own thread,
//! so that one black hole delays no other), `src/policy/health.rs` (rise and fall).
//!
//! ```text
//! cargo run --example 07_health_thread -- --show
//! cargo run --example 07_health_thread -- 8000               probes; then, elsewhere:
//!     cargo run --bin backend 8000             then end it with Ctrl-C, start it again, and so on
//! Enter, where it probes, orders a probe at once; Ctrl-D ends it at once.
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::env;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};

/// The order to probe now.
#[derive(Debug, PartialEq)]
struct ProbeNow;

/// The life of the health thread: probes when due and when told. Ends when the other end of `orders`
/// is dropped.
fn check(interval: Duration, orders: &Receiver<ProbeNow>, mut probe: impl FnMut()) {
    loop {
        probe();
        match orders.recv_deadline(Instant::now() + interval) {
            Ok(ProbeNow) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// One probe: does the backend's kernel accept a connection?
fn probe(backend: SocketAddr) -> &'static str {
    // The deadline is part of the probe: a backend that drops packets answers never.
    let result = TcpStream::connect_timeout(&backend, Duration::from_secs(1));
    result.map_or("down", |_| "up")
}

/// A backend lives, dies and comes back. An hour lies between two probes, so each is an ordered one.
fn show() -> Result<[&'static str; 3], Box<dyn Error>> {
    let backend = TcpListener::bind("127.0.0.1:0")?;
    let address = backend.local_addr()?;
    let ((order, orders), (probed, was_probed)) = (unbounded(), unbounded());
    let thread = thread::Builder::new().spawn(move || {
        let report = || probed.send(probe(address)).unwrap_or_default();
        check(Duration::from_secs(3600), &orders, report);
    })?;
    let lives = was_probed.recv()?;
    drop(backend);
    order.send(ProbeNow)?;
    let died = was_probed.recv()?;
    let _backend = TcpListener::bind(address)?;
    order.send(ProbeNow)?;
    let came_back = was_probed.recv()?;
    drop(order);
    thread.join().map_err(|_| "the health thread panicked")?;
    Ok([lives, died, came_back])
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().any(|argument| argument == "--show") {
        println!("a backend lives, dies, comes back: {:?}", show()?);
        println!("the thread has ended, an hour before its next probe was due");
        return Ok(());
    }
    let port: u16 = env::args().nth(1).map_or(Ok(8000), |text| text.parse())?;
    let (order, orders) = unbounded();
    let report = move || println!("{port} is {}", probe(([127, 0, 0, 1], port).into()));
    let thread = thread::Builder::new()
        .name("health".into())
        .spawn(move || check(Duration::from_secs(2), &orders, report))?;
    for _ in io::stdin().lines().map_while(Result::ok) {
        order.send(ProbeNow)?;
    }
    // Nobody can give orders any more, and that is the order to end.
    drop(order);
    thread
        .join()
        .map_err(|_| "the health thread panicked".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::TryRecvError;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Wrong: between two probes it is deaf. The sleep is an argument, so that the test can hold it.
    fn check_and_sleep(orders: &Receiver<ProbeNow>, mut probe: impl FnMut(), sleep: impl Fn()) {
        while orders.try_recv() != Err(TryRecvError::Disconnected) {
            probe();
            sleep();
        }
    }

    /// Runs `life` on a thread until its first probe, then lets go of the orders; returns what tells
    /// that the thread has ended.
    fn ended(life: impl FnOnce(&Receiver<ProbeNow>, &dyn Fn()) + Send + 'static) -> Receiver<()> {
        let ((order, orders), (end, has_ended)) = (unbounded(), unbounded());
        let (probed, was_probed) = unbounded();
        thread::spawn(move || {
            life(&orders, &|| probed.send(()).unwrap());
            let _ = end.send(());
        });
        was_probed.recv().unwrap();
        drop(order);
        has_ended
    }

    /// Wrong: the end has to wait until the sleep is over.
    #[test]
    fn a_thread_that_sleeps_does_not_hear_of_the_end() {
        let (wake, sleep) = unbounded::<()>();
        let sleep = move || sleep.recv().unwrap_or_default();
        let has_ended = ended(move |orders, probe| check_and_sleep(orders, probe, sleep));
        let waited = has_ended.recv_timeout(Duration::from_millis(50));
        assert_eq!(waited, Err(RecvTimeoutError::Timeout));
        drop(wake);
        has_ended.recv().unwrap();
    }

    /// Right: an hour before the next probe is due, the thread ends at once; and an order is obeyed.
    #[test]
    fn a_receive_with_a_deadline_hears_of_everything() {
        ended(|orders, probe| check(HOUR, orders, probe))
            .recv()
            .unwrap();
        assert_eq!(show().unwrap(), ["up", "down", "up"]);
    }
}
