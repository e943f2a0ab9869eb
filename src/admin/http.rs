//! One request in, one response out, whatever the peer sends and however slowly.

// Each byte is somebody else's: no sum of them may overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::io::{self, ErrorKind, Read, Write};

use super::guard::Guard;
use super::head::{self, HEAD_BYTES_MAX, Head};
use super::message::{Request, Response};

/// Bytes read at once.
const CHUNK_BYTES: usize = 2 * 1024;

/// What came.
#[derive(Debug)]
pub(super) struct Received {
    /// The answer to HEAD has no body.
    pub(super) is_head: bool,
    /// The request, or the answer that it gets without being looked at any further.
    pub(super) request: Result<Request, Response>,
}

/// Reads one request, asking the guard as soon as its head is there. `None`: the peer has left, and
/// no answer would reach it.
pub(super) fn read(peer: &mut (impl Read + Write), guard: Guard<'_>) -> Option<Received> {
    let mut bytes = Vec::new();
    let request = match read_request(peer, guard, &mut bytes) {
        Ok(request) => Ok(request),
        Err(Broken::Refused(response)) => Err(response),
        Err(Broken::Io(error)) if error.kind() == ErrorKind::TimedOut => {
            let what = "the request took longer than 5 s; send it faster";
            Err(Response::error(408, what))
        }
        // Bytes and then the end: half a request, and somebody who may wait for an answer.
        Err(Broken::Io(error)) if error.kind() == ErrorKind::UnexpectedEof && !bytes.is_empty() => {
            Err(Response::error(400, "the request ends in its middle"))
        }
        Err(Broken::Io(_)) => return None,
    };
    Some(Received {
        is_head: bytes.starts_with(b"HEAD "),
        request,
    })
}

/// Why there is no request.
enum Broken {
    Refused(Response),
    Io(io::Error),
}

impl From<Response> for Broken {
    fn from(response: Response) -> Broken {
        Broken::Refused(response)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

fn read_request(
    peer: &mut (impl Read + Write),
    guard: Guard<'_>,
    bytes: &mut Vec<u8>,
) -> Result<Request, Broken> {
    let (head, head_bytes) = read_head(peer, bytes)?;
    guard.check(&head)?;
    let whole = head_bytes.saturating_add(head.body_bytes);
    if head.expects_continue && bytes.len() < whole {
        peer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    while bytes.len() < whole {
        more(peer, bytes, whole.saturating_sub(bytes.len()))?;
    }
    // What comes behind is a second request, which gets no answer: this connection has one.
    let body = bytes.get(head_bytes..whole).unwrap_or_default();
    Ok(Request {
        method: head.method,
        path: head.path,
        query: head.query,
        body: body.to_vec(),
    })
}

fn read_head(peer: &mut impl Read, bytes: &mut Vec<u8>) -> Result<(Head, usize), Broken> {
    loop {
        more(peer, bytes, HEAD_BYTES_MAX.saturating_sub(bytes.len()))?;
        if let Some(found) = head::parse(bytes)? {
            return Ok(found);
        }
    }
}

/// Reads some bytes, at most `wanted`.
fn more(peer: &mut impl Read, bytes: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
    let mut chunk = [0; CHUNK_BYTES];
    let wanted = wanted.min(CHUNK_BYTES);
    loop {
        match peer.read(chunk.get_mut(..wanted).unwrap_or_default()) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::guard::Place;
    use proptest::prelude::*;

    /// A peer that sends these bytes in pieces of this size, and then the end.
    struct Peer<'b> {
        rest: &'b [u8],
        piece: usize,
        got: Vec<u8>,
    }

    impl Read for Peer<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.piece.min(buffer.len()).min(self.rest.len());
            let (now, later) = self.rest.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.rest = later;
            Ok(count)
        }
    }

    impl Write for Peer<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.got.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn received(bytes: &[u8], piece: usize) -> (Option<Received>, Vec<u8>) {
        let guard = Guard {
            place: Place::Unix,
            token: None,
        };
        let mut peer = Peer {
            rest: bytes,
            piece,
            got: Vec::new(),
        };
        let received = read(&mut peer, guard);
        (received, peer.got)
    }

    const CHANGE: &str = "POST /a/b HTTP/1.1\r\nContent-Type: application/json\r\n\
                          Content-Length: 5\r\nExpect: 100-continue\r\n\r\n{\"a\"}GET / HTTP/1.1\r\n";

    #[test]
    fn a_request_is_the_same_in_whatever_pieces_it_comes() {
        for piece in 1..CHANGE.len() {
            let (received, got) = received(CHANGE.as_bytes(), piece);
            let request = received.unwrap().request.unwrap();
            assert_eq!(request.path, ["a", "b"], "in pieces of {piece}");
            assert_eq!(request.body, b"{\"a\"}", "in pieces of {piece}");
            // Who has sent the body already does not have to be told to go on.
            if [1, CHANGE.len() - 1].contains(&piece) {
                assert_eq!(!got.is_empty(), piece == 1);
            }
        }
    }

    #[test]
    fn half_a_request_is_an_error_and_nothing_at_all_is_a_visitor_who_left() {
        let end = CHANGE.find("}").unwrap();
        for cut in 1..end {
            let (received, _) = received(&CHANGE.as_bytes()[..cut], 64);
            assert_eq!(received.unwrap().request.unwrap_err().status, 400, "{cut}");
        }
        assert!(received(b"", 1).0.is_none());
    }

    #[test]
    fn head_is_get_without_a_body() {
        let (received, _) = received(b"HEAD / HTTP/1.0\r\n\r\n", 100);
        let received = received.unwrap();
        assert!(received.is_head && received.request.is_ok());
        // Also when it is refused.
        let (refused, _) = self::received(b"HEAD nowhere HTTP/1.0\r\n\r\n", 100);
        assert!(refused.unwrap().is_head);
    }

    /// Bytes that look like requests for a while.
    fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
        let parts = prop::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            "%",
            "?",
            "a=b",
            " HTTP/1.1",
            " HTTP/1.0",
            "\r\n",
            "\n",
            "\r",
            "Content-Length: ",
            "5",
            "Host: ",
            "x",
            ": ",
            "Transfer-Encoding: chunked",
            "\0",
            "é",
            "Expect: 100-continue",
            "\r\n\r\n",
            "Content-Type: application/json\r\n",
            "99999",
        ]);
        prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn whatever_comes_there_is_an_answer_or_an_end(
            bytes in prop_oneof![nearly_http(), prop::collection::vec(any::<u8>(), 0..20_000)],
            piece in 1..3000_usize,
        ) {
            let (received, _) = received(&bytes, piece);
            match received {
                None => prop_assert!(bytes.is_empty()),
                Some(Received { request: Err(response), .. }) => {
                    prop_assert!((400..=505).contains(&response.status));
                }
                Some(Received { request: Ok(request), .. }) => {
                    prop_assert!(request.body.len() <= head::BODY_BYTES_MAX);
                }
            }
        }
    }
}
