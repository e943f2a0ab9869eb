//! One request to the admin server, one answer. The answer is believed in nothing: it may come from
//! whatever listens there.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Status};
use serde_json::Value;

use super::ClientError;
use super::place::Place;
use crate::config::{AdminAddress, BackendAddress};
use crate::net::resolve::resolve;
use crate::net::stream::{Stream, Timed};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the answer may take: a reload looks names up first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer, bytes: 100,000 connections are some 30 MB. As JSON it takes up to 18 times as
/// much memory: all of it may be `0,0,0`.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The variable with the token, where no file is given.
const TOKEN_VARIABLE: &str = "EVENER_TOKEN";

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

/// The admin server of a running evener, and how to talk to it.
#[derive(Debug)]
pub(super) struct Server {
    address: AdminAddress,
    token: Option<String>,
}

impl Server {
    /// Reads the token; nothing is sent yet.
    pub(super) fn new(place: Place) -> Result<Server, ClientError> {
        let token = match &place.token_file {
            Some(file) => Some(read_token(file)?),
            None => env::var(TOKEN_VARIABLE).ok(),
        };
        let token = token.map(|token| token.trim().to_owned());
        let token = token.filter(|token| !token.is_empty());
        let is_plain = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.as_ref().is_some_and(|token| !is_plain(token)) {
            let help = "it is one line of printable ASCII, the same as in admin.token_file";
            return Err(ClientError::new("the token can't be sent", help));
        }
        Ok(Server {
            address: place.address,
            token,
        })
    }

    /// What a GET answers, as JSON.
    pub(super) fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.parse(&self.send(Method::Get, path, None)?)
    }

    /// The answer to a question, which is an object of ours.
    pub(super) fn parse(&self, answer: &str) -> Result<Value, ClientError> {
        match serde_json::from_str(answer) {
            Ok(value @ Value::Object(_)) => Ok(value),
            _ => Err(self.stranger()),
        }
    }

    /// Sends a request, and returns the text of the answer when it was 200.
    pub(super) fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, ClientError> {
        let (stream, host) = self.connect().map_err(|error| self.unreachable(&error))?;
        let request = request(method, path, &host, self.token.as_deref(), body);
        let mut peer = Timed::new(&stream, Instant::now() + ANSWER_TIMEOUT);
        let mut bytes = Vec::new();
        // Who refuses early may not read to the end; the answer may be there all the same.
        let sent = peer.write_all(&request);
        let read = peer.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
        if let Some(error) = sent.and(read.map(drop)).err().filter(|_| bytes.is_empty()) {
            return Err(self.unreachable(&error));
        }
        let (status, text) = answer(&bytes).ok_or_else(|| self.stranger())?;
        match status {
            200..=299 => Ok(text),
            _ => Err(self.refused(status, &text)),
        }
    }

    /// A connection, and what to say in `Host`: never a name, which could stand for anybody.
    fn connect(&self) -> io::Result<(Stream, String)> {
        let addresses = match &self.address {
            AdminAddress::Unix(path) | AdminAddress::Tcp(BackendAddress::Unix(path)) => {
                let stream = Stream::connect_unix(path, CONNECT_TIMEOUT)?;
                return Ok((stream, "localhost".to_owned()));
            }
            AdminAddress::Tcp(BackendAddress::Ip(address)) => vec![*address],
            AdminAddress::Tcp(BackendAddress::Name { host, port }) => resolve(host, *port)?,
        };
        let mut last = io::ErrorKind::NotFound.into();
        for address in addresses {
            match Stream::connect(address, CONNECT_TIMEOUT) {
                // Made anew, without the scope of a link-local address.
                Ok(stream) => {
                    let host = SocketAddr::new(address.ip(), address.port()).to_string();
                    return Ok((stream, host));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let what = format!("no evener answers on {}: {error}", self.address);
        let help = match (error.kind(), &self.address) {
            (io::ErrorKind::PermissionDenied, AdminAddress::Unix(_)) => {
                "only the user that evener runs as, and root, may use its socket"
            }
            (io::ErrorKind::TimedOut, _) => {
                "is it stopped, or behind a firewall? look at its log, or at `ps`"
            }
            _ => {
                "is it running, with `admin:` at this address? its log says \"admin server at …\"; \
                 say where with --admin ADDR, --admin unix:PATH or --config FILE"
            }
        };
        ClientError::new(what, help)
    }

    fn stranger(&self) -> ClientError {
        let what = format!("what answers on {} is no evener", self.address);
        ClientError::new(
            what,
            "say where it is with --admin ADDR or --admin unix:PATH",
        )
    }

    fn refused(&self, status: u16, text: &str) -> ClientError {
        let Ok(answer) = serde_json::from_str::<Value>(text) else {
            return self.stranger();
        };
        let Some(error) = answer.get("error").and_then(Value::as_str) else {
            return self.stranger();
        };
        let what = match answer.get("report").and_then(Value::as_str) {
            // A config, which may be wrong in several places.
            Some(report) => format!(
                "evener on {} refuses the new config\n{report}",
                self.address
            ),
            None => format!("evener on {} refuses: {error}", self.address),
        };
        let help = match (status, &self.token) {
            (401, None) => "give the token with --token-file FILE, or in EVENER_TOKEN",
            (401, Some(_)) => {
                "is this the token of this evener? see admin.token_file in its config"
            }
            _ => "",
        };
        ClientError::new(what, help)
    }
}

fn read_token(file: &Path) -> Result<String, ClientError> {
    fs::read_to_string(file).map_err(|error| {
        let what = format!("can't read the token in {}: {error}", file.display());
        ClientError::new(what, "the same file as admin.token_file in evener's config")
    })
}

/// The bytes of a request.
fn request(
    method: Method,
    path: &str,
    host: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Vec<u8> {
    let word = match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    };
    let mut text = format!("{word} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if let Some(token) = token {
        text.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    let body = body.map(Value::to_string);
    if let Some(body) = &body {
        text.push_str("Content-Type: application/json\r\n");
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.as_deref().unwrap_or_default());
    text.into_bytes()
}

/// Status and content of a complete answer; `None` for anything else.
fn answer(bytes: &[u8]) -> Option<(u16, String)> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(Status::Complete(head_bytes)) = response.parse(bytes) else {
        return None;
    };
    let body = bytes.get(head_bytes..)?;
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("Content-Length"))?;
    let length: usize = str::from_utf8(length.value).ok()?.trim().parse().ok()?;
    let text = str::from_utf8(body).ok()?;
    (length == body.len())
        .then(|| text.to_owned())
        .zip(response.code)
        .map(|(text, code)| (code, text))
}

/// A name as a segment of a path or the value of a parameter.
pub(super) fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("web-1_a.b~"), "web-1_a.b~");
        assert_eq!(
            encoded("db:5432/10.0.0.1 ö?#%+"),
            "db%3A5432%2F10.0.0.1%20%C3%B6%3F%23%25%2B"
        );
    }

    #[test]
    fn a_change_has_what_the_guard_asks_for() {
        let text = request(
            Method::Post,
            "/x",
            "[::1]:1",
            Some("t"),
            Some(&json!({"weight": 3})),
        );
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "POST /x HTTP/1.1\r\nHost: [::1]:1\r\nConnection: close\r\nAuthorization: Bearer t\r\n\
             Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"weight\":3}"
        );
    }

    #[test]
    fn only_a_complete_answer_is_one() {
        let whole = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer(whole), Some((404, "{}".to_owned())));
        for cut in 0..whole.len() {
            assert_eq!(answer(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(answer(b"SSH-2.0-OpenSSH_9.2\r\n"), None);
        assert_eq!(
            answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff"),
            None
        );
    }
}
