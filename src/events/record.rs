//! What is known of a session when it has ended, as text and as JSON.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::measured::ms;
use super::text::{Millis, reads_as};
use super::{EndReason, Load, Measured};
use crate::policy::address::Address;
use crate::policy::hedge::Runner;

/// What is known of a session when it has ended.
#[derive(Debug, Clone)]
pub struct SessionRecord {
    /// Number of the session, from 1.
    pub id: u64,
    /// The listener it came by.
    pub listener: Arc<str>,
    /// The pool that served it, as far as one was chosen.
    pub pool: Option<Arc<str>>,
    /// The server that the client asked for in its TLS hello, where the listener has routes: one word.
    pub sni: Option<Arc<str>>,
    /// The client's address.
    pub client: Address,
    /// The proxy that the client came by, where a PROXY header gave the client's address.
    pub via: Option<Address>,
    /// Name and address of the backend, if one was connected.
    pub backend: Option<(Arc<str>, Address)>,
    /// Bytes from the client to the backend.
    pub bytes_in: u64,
    /// Bytes from the backend to the client.
    pub bytes_out: u64,
    /// From the choice of the pool to the connection with the backend: all attempts, and no wait in the queue.
    pub connect: Option<Duration>,
    /// The wait for a backend that had room, if there was one.
    pub queued: Option<Duration>,
    /// From the accept to the end.
    pub duration: Duration,
    /// Attempts to connect.
    pub attempts: u32,
    /// Which of two attempts at once has made it, where there were two.
    pub hedge_won: Option<Runner>,
    /// Those of them that failed, in order.
    pub failures: Vec<FailedAttempt>,
    /// Why it ended.
    pub reason: EndReason,
    /// More about why, where there is more to say.
    pub detail: Option<&'static str>,
    /// What it has cost, and how its networks were.
    pub measured: Measured,
    /// How many sessions there were at its end, where the form of the log has that.
    pub load: Option<Load>,
}

/// One attempt to connect that failed.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    /// The backend's name.
    pub backend: Arc<str>,
    /// Its address.
    pub address: Address,
    /// What went wrong, in words.
    pub error: String,
}

impl SessionRecord {
    /// The fields of the JSON log.
    pub(super) fn fields(&self) -> Value {
        let (word, code) = self.reason.word_and_code();
        let mut fields = json!({
            "id": self.id,
            "listener": &*self.listener,
            "pool": self.pool.as_deref(),
            "sni": self.sni.as_deref(),
            "client": self.client.to_string(),
            "via": self.via.as_ref().map(Address::to_string),
            "backend": self.backend.as_ref().map(|(name, _)| &**name),
            "address": self.backend.as_ref().map(|(_, address)| address.to_string()),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "connect_ms": self.connect.map(ms),
            "queue_ms": self.queued.map(ms),
            "duration_ms": ms(self.duration),
            "attempts": self.attempts,
            "hedge_won": self.hedge_won.map(Runner::word),
            "failures": self.failures.iter().map(FailedAttempt::fields).collect::<Vec<_>>(),
            "reason": word,
            "code": code,
            "detail": self.detail,
        });
        if let Value::Object(fields) = &mut fields {
            self.measured.add_fields(fields);
        }
        fields
    }
}

impl FailedAttempt {
    fn fields(&self) -> Value {
        json!({
            "backend": &*self.backend,
            "address": self.address.to_string(),
            "error": &self.error,
        })
    }
}

impl fmt::Display for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, code) = self.reason.word_and_code();
        write!(f, "session {} {} -> ", self.id, self.client)?;
        match &self.backend {
            Some((name, address)) => write!(f, "{}", Server(name, address))?,
            None => write!(f, "-")?,
        }
        write!(
            f,
            " ended: {word} {code} listener={} pool={}",
            self.listener,
            self.pool.as_deref().unwrap_or("-")
        )?;
        if let Some(sni) = &self.sni {
            write!(f, " sni={sni}")?;
        }
        if let Some(via) = &self.via {
            write!(f, " via={via}")?;
        }
        write!(f, " in={}B out={}B", self.bytes_in, self.bytes_out)?;
        match self.connect {
            Some(connect) => write!(f, " connect={}ms", Millis::<3>(connect))?,
            None => write!(f, " connect=-")?,
        }
        if let Some(queued) = self.queued {
            write!(f, " queue={}ms", Millis::<3>(queued))?;
        }
        write!(
            f,
            " total={}ms attempts={}",
            Millis::<3>(self.duration),
            self.attempts
        )?;
        if let Some(won) = self.hedge_won {
            write!(f, " hedge_won={}", won.word())?;
        }
        for (index, failure) in self.failures.iter().enumerate() {
            let before = if index == 0 { " failed=" } else { "," };
            write!(f, "{before}{}({})", failure.address, failure.error)?;
        }
        if let Some(detail) = self.detail {
            write!(f, " detail=\"{detail}\"")?;
        }
        write!(f, " {}", self.measured)
    }
}

/// A backend by name and address; by one of them when they are the same.
pub(super) struct Server<'a>(pub(super) &'a str, pub(super) &'a Address);

impl fmt::Display for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server(name, address) = self;
        match reads_as(name, address) {
            true => write!(f, "{address}"),
            false => write!(f, "{name} {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_record_tells_the_whole_story_on_one_line() {
        let record = SessionRecord {
            id: 7,
            listener: "web".into(),
            pool: Some("main".into()),
            sni: None,
            client: Address::Ip("[::1]:5000".parse().unwrap()),
            via: None,
            backend: Some(("a".into(), Address::Ip("127.0.0.1:8000".parse().unwrap()))),
            bytes_in: 78,
            bytes_out: 154,
            connect: Some(Duration::from_micros(213)),
            queued: None,
            duration: Duration::from_millis(2),
            attempts: 2,
            hedge_won: None,
            failures: vec![FailedAttempt {
                backend: "b".into(),
                address: Address::Ip("127.0.0.1:8001".parse().unwrap()),
                error: "connection refused".into(),
            }],
            reason: EndReason::ClientReset,
            detail: None,
            measured: Measured::default(),
            load: None,
        };
        assert_eq!(
            record.to_string(),
            "session 7 [::1]:5000 -> a 127.0.0.1:8000 ended: client_reset CD listener=web pool=main \
             in=78B out=154B connect=0.213ms total=2.000ms attempts=2 \
             failed=127.0.0.1:8001(connection refused) rtt=-/-ms retransmits=-/- cpu=-"
        );
        let refused = SessionRecord {
            pool: None,
            sni: Some("db.example.org".into()),
            via: Some(Address::Ip("10.0.0.1:5000".parse().unwrap())),
            backend: None,
            connect: None,
            queued: Some(Duration::from_micros(1500)),
            hedge_won: Some(Runner::Second),
            failures: Vec::new(),
            reason: EndReason::BadProxyHeader,
            detail: Some("no PROXY header"),
            ..record
        };
        assert_eq!(
            refused.to_string(),
            "session 7 [::1]:5000 -> - ended: bad_proxy_header PR listener=web pool=- sni=db.example.org \
             via=10.0.0.1:5000 in=78B out=154B connect=- queue=1.500ms total=2.000ms attempts=2 \
             hedge_won=second \
             detail=\"no PROXY header\" rtt=-/-ms retransmits=-/- cpu=-"
        );
        let fields = refused.fields();
        assert_eq!(fields["via"], "10.0.0.1:5000");
        assert_eq!(fields["detail"], "no PROXY header");
    }
}
