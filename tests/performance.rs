//! What makes evener fast is there, and can be turned off: splicing, batch scheduling, one thread for
//! the opening exchange. How fast it is, `scripts/bench` tells; no test here looks at a clock.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use rustix::process::Signal;
use support::{Evener, Server, config, connect, eventually, read_to_end_with_deadline};

const OFF: &str = "health_check: off";

fn start(server: &Server, performance: &str) -> Evener {
    let performance = format!("performance: {performance}");
    Evener::start(&config(&[server.address()], &[OFF], &[&performance]))
}

/// The scheduling policy of each thread (field 41 of proc_pid_stat(5)): 0 is the usual one, 3 is
/// SCHED_BATCH.
fn policies(evener: &Evener) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", evener.pid())).unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .map(|stat| {
            // Counted behind the name, which may hold spaces and parentheses.
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_whitespace().nth(38).unwrap().parse().unwrap()
        })
        .collect()
}

fn pipe_ends(evener: &Evener) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", evener.pid())).unwrap();
    open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("pipe:"))
        .count()
}

/// Threads that copy to a client: `c1<…`.
fn return_threads(evener: &Evener) -> usize {
    let names = evener.thread_names();
    let is_return = |name: &&String| name.starts_with('c') && name.contains('<');
    names.iter().filter(is_return).count()
}

#[test]
fn every_thread_runs_as_a_batch_unless_told_otherwise() {
    let server = Server::start();
    for (performance, expected) in [("{}", 3), ("{ scheduler: inherit }", 0)] {
        let evener = start(&server, performance);
        let client = connect(evener.address(0));
        let _backend = server.accept();
        eventually("both threads of the session", || {
            (return_threads(&evener) == 1).then_some(())
        });
        let policies = policies(&evener);
        assert!(policies.len() >= 6, "{policies:?}");
        assert!(
            policies.iter().all(|policy| *policy == expected),
            "{policies:?}"
        );
        drop(client);
    }
}

/// Bytes that show when one is missing, twice there or in another place.
fn telling(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

#[test]
fn bulk_is_spliced_both_ways_and_the_pipes_are_closed_afterwards() {
    const BYTES: usize = 16_000_000;
    let server = Server::start();
    for (performance, pipe_ends_per_way) in [("{ relay: splice }", 2), ("{ relay: copy }", 0)] {
        let evener = start(&server, performance);
        let baseline = evener.baseline();
        let at_rest = pipe_ends(&evener);
        let client = connect(evener.address(0));
        let backend = server.accept();
        let sent = telling(BYTES);
        thread::scope(|scope| {
            let send = |mut stream: &TcpStream| {
                // The second half only when the middle was looked at.
                stream.write_all(&sent[..BYTES / 2]).unwrap();
            };
            let writers = [&client, &backend].map(|stream| {
                thread::Builder::new()
                    .spawn_scoped(scope, move || send(stream))
                    .unwrap()
            });
            for mut stream in [&client, &backend] {
                let mut half = vec![0; BYTES / 2];
                stream.read_exact(&mut half).unwrap();
                assert!(half == sent[..BYTES / 2]);
            }
            for writer in writers {
                writer.join().unwrap();
            }
        });
        // Both ways wait for more.
        let expected = at_rest + 2 * pipe_ends_per_way;
        assert_eq!(pipe_ends(&evener), expected, "{performance}");
        thread::scope(|scope| {
            for mut stream in [&client, &backend] {
                let rest = &sent[BYTES / 2..];
                thread::Builder::new()
                    .spawn_scoped(scope, move || {
                        stream.write_all(rest).unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                    })
                    .unwrap();
            }
            for stream in [&client, &backend] {
                let received = read_to_end_with_deadline(stream).unwrap();
                assert!(received == sent[BYTES / 2..], "{}", received.len());
            }
        });
        evener.wait_log(" ended: normal --");
        eventually("the pipes' end", || {
            (pipe_ends(&evener) == at_rest).then_some(())
        });
        evener.check_invariants(&baseline);
    }
}

#[test]
fn a_stream_that_gets_long_is_spliced_by_itself() {
    let server = Server::start();
    let evener = start(&server, "{ relay: auto }");
    let at_rest = pipe_ends(&evener);
    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    client.write_all(b"short").unwrap();
    backend.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(pipe_ends(&evener), at_rest);
    let (block, mut received) = (telling(200_000), vec![0; 200_000]);
    eventually("a pipe", || {
        client.write_all(&block).unwrap();
        backend.read_exact(&mut received).unwrap();
        assert!(received == block);
        (pipe_ends(&evener) > at_rest).then_some(())
    });
}

#[test]
fn one_question_and_its_answer_need_no_second_thread_and_a_longer_talk_does() {
    let server = Server::start();
    // Not with the splice that the environment may ask for: that is for those who live on.
    let evener = start(&server, "{ relay: auto }");
    // While evener stands still, so that it finds the question and its end together.
    evener.signal(Signal::STOP);
    let mut client = connect(evener.address(0));
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    evener.signal(Signal::CONT);
    let mut backend = server.accept();
    let mut question = String::new();
    backend.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    // The way there has ended; the way back goes on, on the thread that is there.
    eventually("the way back", || {
        (return_threads(&evener) == 1).then_some(())
    });
    let names = evener.thread_names();
    assert!(!names.iter().any(|name| name.contains('>')), "{names:?}");
    backend.write_all(b"answer").unwrap();
    drop(backend);
    assert_eq!(read_to_end_with_deadline(&client).unwrap(), b"answer");

    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    for _ in 0..2 {
        let mut byte = [0];
        client.write_all(b"?").unwrap();
        backend.read_exact(&mut byte).unwrap();
        backend.write_all(b"!").unwrap();
        client.read_exact(&mut byte).unwrap();
    }
    eventually("both threads", || {
        let names = evener.thread_names();
        let there = names.iter().any(|name| name.starts_with("c2>"));
        (there && return_threads(&evener) == 1).then_some(())
    });
}
