//! What a session has cost, and how its two networks were: the part of its record that takes system
//! calls to know.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::text::{Millis, OrDash};

/// What was measured of a session; each part is `None` where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// The connection with the client.
    pub client: Option<Path>,
    /// The connection with the backend.
    pub server: Option<Path>,
    /// Processor time of the session's threads, user and system.
    pub cpu: Option<Duration>,
}

/// How the network to one side was, by the kernel (`TCP_INFO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Segments that were sent again.
    pub retransmits: u32,
}

/// How many sessions there were when this one ended, as HAProxy's log has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// In the process, this one included.
    pub process: u32,
    /// Of the listener, this one included.
    pub listener: u32,
    /// Of the pool, this one not any more.
    pub pool: u32,
    /// Of the backend, this one not any more.
    pub backend: u32,
}

impl Measured {
    /// Adds the fields of the JSON log.
    pub(super) fn add_fields(&self, fields: &mut Map<String, Value>) {
        let of = |path: Option<Path>| {
            (
                path.map(|path| ms(path.rtt)),
                path.map(|path| path.retransmits),
            )
        };
        let ((client_rtt, client_retransmits), (server_rtt, server_retransmits)) =
            (of(self.client), of(self.server));
        fields.insert("client_rtt_ms".into(), json!(client_rtt));
        fields.insert("server_rtt_ms".into(), json!(server_rtt));
        fields.insert("client_retransmits".into(), json!(client_retransmits));
        fields.insert("server_retransmits".into(), json!(server_retransmits));
        fields.insert("cpu_ms".into(), json!(self.cpu.map(ms)));
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rtt = |path: Option<Path>| OrDash(path.map(|path| Millis::<2>(path.rtt)));
        let again = |path: Option<Path>| OrDash(path.map(|path| path.retransmits));
        let (client, server) = (self.client, self.server);
        write!(f, "rtt={}/{}ms", rtt(client), rtt(server))?;
        write!(f, " retransmits={}/{}", again(client), again(server))?;
        match self.cpu {
            Some(cpu) => write!(f, " cpu={}ms", Millis::<2>(cpu)),
            None => write!(f, " cpu=-"),
        }
    }
}

/// Milliseconds to the microsecond.
pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let client = Path {
            rtt: Duration::from_micros(53),
            retransmits: 2,
        };
        let mut measured = Measured {
            client: Some(client),
            server: None,
            cpu: Some(Duration::from_micros(214)),
        };
        assert_eq!(
            measured.to_string(),
            "rtt=0.05/-ms retransmits=2/- cpu=0.21ms"
        );
        measured.server = Some(client);
        assert_eq!(
            measured.to_string(),
            "rtt=0.05/0.05ms retransmits=2/2 cpu=0.21ms"
        );
        let nothing = Measured::default();
        assert_eq!(nothing.to_string(), "rtt=-/-ms retransmits=-/- cpu=-");
        let mut fields = Map::new();
        nothing.add_fields(&mut fields);
        assert!(fields.len() == 5 && fields.values().all(Value::is_null));
    }
}
