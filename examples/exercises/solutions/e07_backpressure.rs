//! Exercise 7, solved: with room for four chunks, `send` blocks at the fifth. That is back-pressure: the
//! reader is as slow as the writer, and memory stays bounded however fast the sender is.

use std::sync::mpsc::sync_channel;
use std::thread;

/// The most that may lie between the two threads.
pub const ROOM: usize = 4;

/// Carries all that `read` gives to `write`, each on a thread of its own, until `read` gives `None`.
pub fn carry(
    mut read: impl FnMut() -> Option<Vec<u8>> + Send,
    mut write: impl FnMut(Vec<u8>) + Send,
) {
    let (sender, receiver) = sync_channel(ROOM);
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
