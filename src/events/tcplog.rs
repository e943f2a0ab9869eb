//! A session's record as HAProxy's `tcplog` line (its manual, "TCP log format"), for the tools that
//! read those:
//!
//! ```text
//! CLIENT:PORT [ACCEPT DATE] FRONTEND BACKEND/SERVER Tw/Tc/Tt BYTES STATE actconn/feconn/beconn/srv_conn/retries srv_queue/backend_queue
//! ```
//!
//! A server that the client asked for in its TLS hello stands behind it in braces, as HAProxy's captures do:
//! `{db.example.org}`. Where no pool was chosen, its place has the listener's name, as in HAProxy.
//!
//! Dates are UTC. How many others waited is not recorded, so those two fields are 0. Retries have a `+` before them when they
//! went to another server, as HAProxy's redispatches have.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::{EndReason, SessionRecord};
use crate::policy::address::Address;

/// What stands for a server where there was none.
const NO_SERVER: &str = "<NOSRV>";

/// HAProxy's number for a time that does not apply.
const NO_TIME: i64 = -1;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl SessionRecord {
    /// The line of a session that ended at `ended`, without what a logger puts before it.
    pub fn tcplog(&self, ended: SystemTime) -> String {
        let accepted = ended.checked_sub(self.duration).unwrap_or(ended);
        let (_, state) = self.reason.word_and_code();
        let last_failed = self.failures.last().map(|failure| &failure.backend);
        let server = self.backend.as_ref().map(|(name, _)| name).or(last_failed);
        let waited = match self.reason {
            EndReason::NoBackend => NO_TIME,
            _ => self.queued.map_or(0, ms),
        };
        let load = self.load.unwrap_or_default();
        let mut line = format!(
            "{} [{}] {} {}/{}",
            client(&self.client),
            accept_date(accepted),
            one_word(&self.listener),
            one_word(self.pool.as_ref().unwrap_or(&self.listener)),
            server.map_or(NO_SERVER.to_owned(), |name| one_word(name)),
        );
        // Writing to a String can't fail.
        let _ = write!(
            line,
            " {waited}/{}/{} {} {state} {}/{}/{}/{}/{}{} 0/0",
            self.connect.map_or(NO_TIME, ms),
            ms(self.duration),
            self.bytes_out,
            load.process,
            load.listener,
            load.pool,
            load.backend,
            if self.went_elsewhere() { "+" } else { "" },
            self.attempts.saturating_sub(1),
        );
        if let Some(sni) = &self.sni {
            let _ = write!(line, " {{{sni}}}");
        }
        line
    }

    /// Was a further attempt made at another backend than the first?
    fn went_elsewhere(&self) -> bool {
        let Some(first) = self.failures.first() else {
            return false;
        };
        let mut others = self.failures.iter().map(|failure| &failure.address);
        others.any(|address| *address != first.address)
            || self
                .backend
                .as_ref()
                .is_some_and(|(_, address)| *address != first.address)
    }
}

/// What syslog puts before a line: `Nov  3 00:20:31`.
pub fn syslog_date(time: SystemTime) -> String {
    let (_, month, day, clock) = parts(time);
    let seconds = clock.split('.').next().unwrap_or_default();
    format!(
        "{month} {day:>2} {seconds}",
        day = day.trim_start_matches('0')
    )
}

/// `03/Nov/2026:00:20:31.042`.
fn accept_date(time: SystemTime) -> String {
    let (year, month, day, clock) = parts(time);
    format!("{day}/{month}/{year}:{clock}")
}

/// Year, month, day and time of day with milliseconds, in UTC.
fn parts(time: SystemTime) -> (String, &'static str, String, String) {
    let text = humantime::format_rfc3339_millis(time).to_string();
    let (date, clock) = text.split_once('T').unwrap_or_default();
    let mut date = date.split('-');
    let mut next = || date.next().unwrap_or_default().to_owned();
    let (year, month, day) = (next(), next(), next());
    let month = month
        .parse::<usize>()
        .ok()
        .and_then(|month| MONTHS.get(month.checked_sub(1)?));
    (
        year,
        month.unwrap_or(&"Jan"),
        day,
        clock.trim_end_matches('Z').to_owned(),
    )
}

/// As HAProxy has it: of a unix socket, the word and a number. Its own is that of the listener, which has
/// a field of its own here.
fn client(address: &Address) -> String {
    match address.ip() {
        Some(address) => format!("{}:{}", address.ip(), address.port()),
        None => "unix:0".to_owned(),
    }
}

/// A name without what would end its field: evener's names may have spaces and slashes.
fn one_word(name: &str) -> String {
    name.replace(|char: char| char.is_whitespace() || char == '/', "_")
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{FailedAttempt, Load, Measured};

    fn record() -> SessionRecord {
        SessionRecord {
            id: 7,
            listener: "web in".into(),
            pool: Some("main".into()),
            sni: None,
            client: Address::Ip("[2001:db8::1]:5000".parse().unwrap()),
            via: None,
            detail: None,
            backend: Some((
                "db/10.0.0.1".into(),
                Address::Ip("10.0.0.1:8000".parse().unwrap()),
            )),
            bytes_in: 78,
            bytes_out: 154,
            connect: Some(Duration::from_micros(3_213)),
            queued: None,
            hedge_won: None,
            duration: Duration::from_millis(5_007),
            attempts: 1,
            failures: Vec::new(),
            reason: EndReason::Normal,
            measured: Measured::default(),
            load: Some(Load {
                process: 4,
                listener: 3,
                pool: 2,
                backend: 1,
            }),
        }
    }

    /// 2009-02-06 12:12:56.450 UTC, of the example in HAProxy's manual.
    fn example_time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_233_922_376_450)
    }

    #[test]
    fn a_line_has_the_fields_of_haproxys_manual() {
        assert_eq!(
            record().tcplog(example_time()),
            "2001:db8::1:5000 [06/Feb/2009:12:12:51.443] web_in main/db_10.0.0.1 0/3/5007 154 -- 4/3/2/1/0 0/0"
        );
        assert_eq!(syslog_date(example_time()), "Feb  6 12:12:56");
    }

    #[test]
    fn what_did_not_happen_has_haproxys_signs() {
        let failure = FailedAttempt {
            backend: "b".into(),
            address: Address::Ip("127.0.0.1:8001".parse().unwrap()),
            error: "connection refused".into(),
        };
        let mut failed = SessionRecord {
            backend: None,
            connect: None,
            attempts: 2,
            failures: vec![failure.clone(), failure],
            reason: EndReason::ConnectRefused,
            ..record()
        };
        let line = failed.tcplog(example_time());
        assert!(
            line.contains(" main/b 0/-1/5007 154 SC 4/3/2/1/1 0/0"),
            "{line}"
        );
        failed.backend = record().backend;
        let line = failed.tcplog(example_time());
        assert!(line.ends_with("/+1 0/0"), "{line}");

        let nobody = SessionRecord {
            backend: None,
            connect: None,
            attempts: 0,
            reason: EndReason::NoBackend,
            ..record()
        };
        let line = nobody.tcplog(example_time());
        assert!(line.contains(" main/<NOSRV> -1/-1/5007 154 SC "), "{line}");
        let unrouted = SessionRecord {
            pool: None,
            sni: Some("db.example.org".into()),
            reason: EndReason::NoRoute,
            ..nobody
        };
        let line = unrouted.tcplog(example_time());
        assert!(
            line.contains(" web_in web_in/<NOSRV> 0/-1/5007 154 PR "),
            "{line}"
        );
        assert!(line.ends_with(" 0/0 {db.example.org}"), "{line}");
    }
}
