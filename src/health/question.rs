//! What a probe or an agent is asked, and how to understand the answer: the words of one conversation,
//! apart from the socket it is held on.

use crate::config::{HttpProbe, Probe};
use crate::policy::address::Address;
use crate::policy::agent;
use crate::policy::answer::{Verdict, bytes, http};

/// One question to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// None: that it takes the connection is the answer.
    Connect,
    /// An HTTP request.
    Http {
        /// The request, as it is sent.
        request: Vec<u8>,
        /// The statuses that are good.
        expected: http::Statuses,
    },
    /// Bytes.
    SendExpect {
        /// What is sent.
        send: Vec<u8>,
        /// What has to come.
        expect: Vec<u8>,
    },
    /// None: an agent speaks by itself. A good answer is its line.
    Agent,
}

impl Question {
    /// The question of a probe at this address.
    pub(super) fn of(probe: &Probe, address: &Address) -> Question {
        match probe {
            Probe::Tcp => Question::Connect,
            Probe::Http(http) => Question::Http {
                request: request(http, address),
                expected: http.expect_status.clone(),
            },
            Probe::SendExpect { send, expect } => Question::SendExpect {
                send: send.clone(),
                expect: expect.clone(),
            },
        }
    }

    /// What is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Question::Connect | Question::Agent => &[],
            Question::Http { request, .. } => request,
            Question::SendExpect { send, .. } => send,
        }
    }

    /// What the answer means, of which so much has come, and whether that was all.
    pub(super) fn judge(&self, received: &[u8], has_ended: bool) -> Verdict {
        match self {
            Question::Connect => Verdict::Good("connected".to_owned()),
            Question::Http { expected, .. } => http::judge(received, has_ended, expected),
            Question::SendExpect { expect, .. } => bytes::judge(received, has_ended, expect),
            Question::Agent => agent::line(received, has_ended),
        }
    }

    /// Does whoever answers end the connection by itself? Then our FIN may wait for theirs.
    pub(super) fn ends_by_answer(&self) -> bool {
        matches!(self, Question::Http { .. } | Question::Agent)
    }
}

/// HTTP/1.1 and `Connection: close`: one answer, and the server's FIN behind it (RFC 9112, 9.6).
fn request(http: &HttpProbe, address: &Address) -> Vec<u8> {
    let (method, path) = (http.method.word(), &http.path);
    let of_address = || match address.ip() {
        Some(address) => address.to_string(),
        None => "localhost".to_owned(),
    };
    let host = http.host.clone().unwrap_or_else(of_address);
    let version = env!("CARGO_PKG_VERSION");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: evener/{version}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    head.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HttpMethod;

    #[test]
    fn a_request_names_the_host_that_was_asked_for_or_the_address() {
        let mut http = HttpProbe {
            method: HttpMethod::Head,
            path: "/up?full=1".to_owned(),
            host: None,
            expect_status: http::Statuses::new(vec![200..=200]),
        };
        let address = &Address::Ip("[::1]:8000".parse().unwrap());
        let head = String::from_utf8(request(&http, address)).unwrap();
        assert!(
            head.starts_with("HEAD /up?full=1 HTTP/1.1\r\nHost: [::1]:8000\r\n"),
            "{head}"
        );
        assert!(head.ends_with("\r\nConnection: close\r\n\r\n"), "{head}");
        http.host = Some("db.example".to_owned());
        let head = String::from_utf8(request(&http, address)).unwrap();
        assert!(head.contains("\r\nHost: db.example\r\n"), "{head}");
    }
}
