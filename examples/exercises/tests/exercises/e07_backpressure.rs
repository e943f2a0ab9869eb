use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use exercises::e07_backpressure::carry;

use crate::in_time;

/// A thousand chunks, for a receiver that has stopped reading.
#[test]
fn the_reader_waits_for_the_writer() {
    in_time(|| {
        let (all_read, was_all_read) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let (written, received) = channel();
        let carrying = thread::spawn(move || {
            let mut chunks = (0..1000_u32).map(|n| n.to_be_bytes().to_vec());
            let read = move || {
                let chunk = chunks.next();
                if chunk.is_none() {
                    all_read.send(()).unwrap();
                }
                chunk
            };
            carry(read, move |chunk| {
                let _ = may_go_on.recv();
                written.send(chunk).unwrap();
            });
        });
        let waited = was_all_read.recv_timeout(Duration::from_secs(1));
        assert_eq!(waited, Err(RecvTimeoutError::Timeout), "all was read");
        // The receiver reads again, and gets everything, in order.
        drop(go_on);
        let numbers = received
            .iter()
            .map(|chunk| u32::from_be_bytes(chunk.try_into().unwrap()));
        assert!(numbers.eq(0..1000));
        carrying.join().unwrap();
    });
}
