use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use exercises::e05_all_gone::Sessions;

use crate::in_time;

#[test]
fn the_last_one_who_leaves_in_between_is_noticed() {
    in_time(|| {
        let sessions = Sessions::default();
        sessions.begin();
        sessions.wait_until_all_left(|| sessions.end());
    });
}

#[test]
fn one_of_two_who_leaves_does_not_end_the_wait() {
    in_time(|| {
        let sessions = Arc::new(Sessions::default());
        sessions.begin();
        sessions.begin();
        let (begin, has_begun) = channel();
        let (end, has_ended) = channel();
        let waits = Arc::clone(&sessions);
        thread::spawn(move || {
            waits.wait_until_all_left(|| begin.send(()).unwrap());
            end.send(()).unwrap();
        });
        has_begun.recv().unwrap();
        // Nothing tells when it sleeps. Where it is right, it makes no difference.
        thread::sleep(Duration::from_millis(50));
        sessions.end();
        let waited = has_ended.recv_timeout(Duration::from_millis(50));
        assert_eq!(waited, Err(RecvTimeoutError::Timeout));
        sessions.end();
        has_ended.recv().unwrap();
    });
}
