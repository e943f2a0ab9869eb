//! A client of the admin interface that knows just enough HTTP.

use std::io::Write;
use std::net::SocketAddr;

use serde_json::Value;

use super::{Evener, connect, read_to_end_with_deadline};

/// The admin interface of an evener.
#[derive(Debug, Clone, Copy)]
pub struct Admin(SocketAddr);

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What is behind the head.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Admin {
    /// Of an evener with `admin: { bind: "127.0.0.1:0" }`.
    #[track_caller]
    pub fn of(evener: &Evener) -> Admin {
        Admin(evener.address_after("admin server at http://", 0))
    }

    /// Asks.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    /// Asks for a change.
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, body)
    }

    /// Ends something.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, "")
    }

    /// The status, whole.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.get("/api/v1/status").json()
    }

    /// The only backend of that name in the status.
    #[track_caller]
    pub fn backend(&self, name: &str) -> Value {
        let status = self.status();
        let pools = status["pools"].as_array().unwrap().iter();
        let mut found = pools
            .flat_map(|pool| pool["backends"].as_array().unwrap())
            .filter(|backend| backend["name"] == name);
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "several are called {name}");
        first
            .unwrap_or_else(|| panic!("no {name} in {status:#}"))
            .clone()
    }

    #[track_caller]
    fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = connect(self.0);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.0,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let answer = read_to_end_with_deadline(&stream).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Answer {
            status: status.unwrap_or_else(|| panic!("no HTTP: {answer:?}")),
            body: body.to_owned(),
        }
    }
}
