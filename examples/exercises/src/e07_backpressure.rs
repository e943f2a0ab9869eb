//! Exercise 7: slow the fast side down.
//!
//! One thread reads, another writes, and a channel lies between them. When the receiver has stopped
//! reading (a phone in a tunnel), the reader goes on as fast as the sender sends, and the channel grows
//! until the machine has no memory left.
//!
//! Hint: what does a *bounded* channel do to a sender when it is full? Then the reader stops reading,
//! its socket's buffer fills, and the kernel tells the far sender to stop. `std::sync::mpsc::sync_channel`.
//! (evener has no channel there at all: one thread reads and writes, so it can't be ahead of itself.)

use std::sync::mpsc::channel;
use std::thread;

/// The most that may lie between the two threads.
pub const ROOM: usize = 4;

/// Carries all that `read` gives to `write`, each on a thread of its own, until `read` gives `None`.
pub fn carry(
    mut read: impl FnMut() -> Option<Vec<u8>> + Send,
    mut write: impl FnMut(Vec<u8>) + Send,
) {
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            while let Some(chunk) = read() {
                if sender.send(chunk).is_err() {
                    return;
                }
            }
        });
        for chunk in receiver {
            write(chunk);
        }
    });
}
