//! Signals as messages: a thread waits for one, so that it interrupts nobody.

use std::io;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use evener_sys::Signal;

use super::spawn;

/// Before it is waited again, where waiting has failed. The kernel never does that; but who stopped
/// listening then would be deaf for good.
const PAUSE: Duration = Duration::from_secs(1);

/// A message for each signal of this kind, by a thread of this name. It must be blocked in every thread:
/// each of them has to leave it to the one that waits for it here. Nobody joins that one: it waits as
/// long as there is a process to get signals.
///
/// # Errors
///
/// When the system refuses the thread.
pub fn on_signal(name: &str, signal: Signal) -> io::Result<Receiver<()>> {
    let (sender, messages) = crossbeam_channel::bounded(1);
    spawn(name, move || {
        loop {
            match evener_sys::wait(&[signal]) {
                // Full: one is on its way already, and nobody has acted on it yet.
                Ok(_) => drop(sender.try_send(())),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    })?;
    Ok(messages)
}
