//! Sentences whose words somebody relies on.

use super::*;
use std::time::{Duration, SystemTime};

#[test]
fn a_shortage_names_what_is_short_and_what_raises_it() {
    let (by, error) = ("the health check".into(), "refused".to_owned());
    let of_threads = Shortage::ThreadRefused { by, error };
    assert!(of_threads.to_string().contains("TasksMax="));
    let (by, error) = ("the health check".into(), "refused".to_owned());
    let of_sockets = Shortage::SocketRefused { by, error };
    assert!(of_sockets.to_string().contains("LimitNOFILE="));
}

#[test]
fn the_end_of_a_drain_does_not_depend_on_when_the_line_is_written() {
    let event = Life::Draining {
        sessions: 2,
        since: SystemTime::UNIX_EPOCH,
        timeout: Some(Duration::from_secs(25)),
    };
    assert_eq!(
        event.to_string(),
        "draining 2 connections, until 1970-01-01T00:00:25Z"
    );
}
