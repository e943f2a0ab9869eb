//! What the two peers see of a relay, whichever way it moves bytes.

use super::*;
use crate::net::abort;
use crate::net::connect::tests::pair;
use crate::policy::bulk::Method;
use rustix::net::sockopt;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// A client and a backend with one direction of a relay between them, run to its end.
struct Rig {
    client: TcpStream,
    backend: TcpStream,
    middle: Middle,
}

struct Middle {
    from: Peer,
    to: Peer,
    moved: Progress,
    pipes: Pipes,
}

impl Middle {
    fn line(&self) -> Line<'_> {
        Line {
            from: &self.from,
            to: &self.to,
            moved: &self.moved,
        }
    }

    fn there(&self) -> Ended {
        Relay::default().run(self.line(), &self.pipes)
    }

    fn back(&self) -> Ended {
        let line = Line {
            from: &self.to,
            to: &self.from,
            moved: &Progress::default(),
        };
        Relay::default().run(line, &self.pipes)
    }
}

fn rig(method: Method) -> Rig {
    let (client, accepted) = pair();
    let (connected, backend) = pair();
    let middle = Middle {
        from: Peer::new(accepted),
        to: Peer::new(connected),
        moved: Progress::default(),
        pipes: Pipes::new(method, 2),
    };
    Rig {
        client,
        backend,
        middle,
    }
}

/// Runs `test` once for each way of moving bytes: what peers see has to be the same.
fn in_every_way(test: impl Fn(Rig)) {
    for method in Method::ALL {
        test(rig(method));
    }
}

#[test]
fn both_ends_closing_at_the_same_moment_is_no_reset() {
    for round in 0..300 {
        let rig = rig(Method::ALL[round % 3]);
        let (client, backend) = (rig.client, rig.backend);
        let middle = &rig.middle;
        let (there, back) = std::thread::scope(|scope| {
            let there = std::thread::Builder::new()
                .spawn_scoped(scope, || middle.there())
                .unwrap();
            let back = std::thread::Builder::new()
                .spawn_scoped(scope, || middle.back())
                .unwrap();
            std::thread::Builder::new()
                .spawn_scoped(scope, || drop(client))
                .unwrap();
            drop(backend);
            (there.join().unwrap(), back.join().unwrap())
        });
        assert_eq!(
            (there, back),
            (Ended::Finished, Ended::Finished),
            "round {round}"
        );
    }
}

#[test]
fn bytes_and_then_the_fin_are_passed_on() {
    in_every_way(|mut rig| {
        rig.client.write_all(b"hello").unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rig.middle.there(), Ended::Finished);
        let mut received = String::new();
        rig.backend.read_to_string(&mut received).unwrap();
        assert_eq!((received.as_str(), rig.middle.moved.get()), ("hello", 5));
    });
}

#[test]
fn bytes_before_a_reset_are_passed_on_and_the_reset_is_reported() {
    in_every_way(|mut rig| {
        rig.client.write_all(b"last words").unwrap();
        abort::wait_until_delivered(&rig.client);
        abort::reset(&rig.client);
        assert_eq!(rig.middle.there(), Ended::SourceFailed(Failure::Reset));
        let mut received = [0; 10];
        rig.backend.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"last words");
    });
}

#[test]
fn a_reset_that_the_writer_noticed_first_is_still_a_reset_for_the_reader() {
    in_every_way(|rig| {
        abort::reset(&rig.client);
        // The other direction's thread writes to the client, and takes the error away with it.
        while (&rig.middle.from.stream).write(b"x").is_ok() {}
        assert_eq!(
            (&rig.middle.from.stream).read(&mut [0; 1]).unwrap(),
            0,
            "the premise: it looks like a FIN"
        );
        assert_eq!(rig.middle.there(), Ended::SourceFailed(Failure::Reset));
    });
}

#[test]
fn the_second_of_two_fins_is_a_fin_though_the_connection_is_gone_then() {
    in_every_way(|rig| {
        rig.middle.from.fin_sent.raise();
        rig.middle.from.stream.shutdown(Shutdown::Write).unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        while abort::is_connected(&rig.middle.from.stream) {
            std::thread::yield_now();
        }
        assert_eq!(rig.middle.there(), Ended::Finished);
    });
}

#[test]
fn a_sink_that_was_reset_is_reported() {
    in_every_way(|mut rig| {
        abort::reset(&rig.backend);
        rig.client.write_all(b"to nobody").unwrap();
        assert_eq!(rig.middle.there(), Ended::SinkFailed(Failure::Reset));
    });
}

#[test]
fn an_urgent_byte_stays_in_the_stream() {
    in_every_way(|mut rig| {
        let send = |bytes: &[u8], flags| rustix::net::send(&rig.client, bytes, flags).unwrap();
        send(b"AB", rustix::net::SendFlags::empty());
        send(b"!", rustix::net::SendFlags::OOB);
        send(b"CD", rustix::net::SendFlags::empty());
        rig.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rig.middle.there(), Ended::Finished);
        let mut received = String::new();
        rig.backend.read_to_string(&mut received).unwrap();
        assert_eq!(received, "AB!CD");
    });
}

#[test]
fn a_reset_after_a_fin_leaves_the_stream_before_it_whole() {
    in_every_way(|mut rig| {
        rig.client.write_all(b"all of it").unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        // The FIN is acknowledged, so the reset comes after it.
        abort::wait_until_delivered(&rig.client);
        abort::reset(&rig.client);
        while abort::is_connected(&rig.middle.from.stream) {
            std::thread::yield_now();
        }
        assert_eq!(rig.middle.there(), Ended::Finished);
        let mut received = String::new();
        rig.backend.read_to_string(&mut received).unwrap();
        assert_eq!(received, "all of it");
    });
}

/// Bytes that show when one is missing, twice there or in another place.
fn telling(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

#[test]
fn bytes_in_bulk_arrive_whole() {
    in_every_way(|mut rig| {
        let sent = telling(8_000_000);
        let mut received = Vec::new();
        let (client, backend) = (&mut rig.client, &mut rig.backend);
        let line = rig.middle.line();
        std::thread::scope(|scope| {
            let spawn = std::thread::Builder::new;
            spawn()
                .spawn_scoped(scope, || {
                    client.write_all(&sent).unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                })
                .unwrap();
            spawn()
                .spawn_scoped(scope, || backend.read_to_end(&mut received))
                .unwrap();
            assert_eq!(
                Relay::default().run(line, &rig.middle.pipes),
                Ended::Finished
            );
        });
        assert!(received == sent, "{} of {}", received.len(), sent.len());
        assert_eq!(rig.middle.moved.get(), sent.len() as u64);
        let pipes = (rig.middle.pipes.open(), rig.middle.pipes.open());
        assert!(
            pipes.0.is_some() && pipes.1.is_some(),
            "they were given back"
        );
    });
}

#[test]
fn what_a_slow_reader_has_not_taken_yet_comes_before_the_end() {
    in_every_way(|mut rig| {
        // Next to nothing fits between the relay and its reader, and everything before the relay.
        sockopt::set_socket_send_buffer_size(&rig.middle.to.stream, 4096).unwrap();
        sockopt::set_socket_recv_buffer_size(&rig.backend, 4096).unwrap();
        sockopt::set_socket_send_buffer_size(&rig.client, 1 << 20).unwrap();
        let sent = telling(200_000);
        rig.client.write_all(&sent).unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        std::thread::scope(|scope| {
            let there = std::thread::Builder::new()
                .spawn_scoped(scope, || rig.middle.there())
                .unwrap();
            // The reader begins when something is there, and then there is more than its way can hold.
            rig.backend.peek(&mut [0]).unwrap();
            sockopt::set_socket_send_buffer_size(&rig.middle.to.stream, 1 << 20).unwrap();
            sockopt::set_socket_recv_buffer_size(&rig.backend, 1 << 20).unwrap();
            rig.backend.read_to_end(&mut received).unwrap();
            assert_eq!(there.join().unwrap(), Ended::Finished);
        });
        assert!(received == sent, "{} of {}", received.len(), sent.len());
    });
}

#[test]
fn without_a_pipe_copying_goes_on() {
    let mut rig = rig(Method::Splice);
    rig.client.write_all(b"hello").unwrap();
    rig.client.shutdown(Shutdown::Write).unwrap();
    let line = rig.middle.line();
    let ended = Relay::default().run(line, &Pipes::new(Method::Splice, 0));
    assert_eq!(ended, Ended::Finished);
    let mut received = String::new();
    rig.backend.read_to_string(&mut received).unwrap();
    assert_eq!(received, "hello");
}

#[test]
fn what_a_step_could_not_write_is_written_by_what_follows() {
    let mut rig = rig(Method::Auto);
    let line = rig.middle.line();
    let (mut relay, mut sent) = (Relay::default(), 0);
    assert_eq!(relay.step(line, true), Step::Nothing);
    // Nobody reads at the other end, so it gets stuck sooner or later.
    loop {
        let piece = telling(60_000);
        rig.client.write_all(&piece).unwrap();
        sent += piece.len();
        let mut step = Step::Moved;
        while step == Step::Moved {
            step = relay.step(line, true);
        }
        if step == Step::Stuck {
            break;
        }
    }
    assert!((rig.middle.moved.get() as usize) < sent);
    rig.client.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        let backend = &mut rig.backend;
        std::thread::Builder::new()
            .spawn_scoped(scope, || backend.read_to_end(&mut received))
            .unwrap();
        relay.run(line, &rig.middle.pipes);
    });
    assert_eq!(
        (received.len(), rig.middle.moved.get()),
        (sent, sent as u64)
    );
    assert!(
        received
            .chunks(60_000)
            .all(|piece| piece == telling(60_000))
    );
}

/// The kernel tells an error once. A message that just fills the small buffer is followed by a look
/// for more, and that look must not take away the reset behind it, nor after our own FIN.
#[test]
fn a_reset_behind_a_message_that_fills_the_buffer_is_no_end_of_file() {
    for half_closed in [false, true] {
        in_every_way(|mut rig| {
            if half_closed {
                rig.middle.from.fin_sent.raise();
                rig.middle.from.stream.shutdown(Shutdown::Write).unwrap();
            }
            rig.client.write_all(&telling(SMALL_BYTES)).unwrap();
            abort::wait_until_delivered(&rig.client);
            abort::reset(&rig.client);
            while abort::is_connected(&rig.middle.from.stream) {
                std::thread::yield_now();
            }
            assert_eq!(
                rig.middle.there(),
                Ended::SourceFailed(Failure::Reset),
                "half-closed: {half_closed}"
            );
            let mut received = vec![0; SMALL_BYTES];
            rig.backend.read_exact(&mut received).unwrap();
            assert!(received == telling(SMALL_BYTES));
        });
    }
}
