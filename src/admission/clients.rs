//! What a listener remembers of the addresses that its clients come from: how many sessions each has
//! now, and its token bucket.
//!
//! # Bounded
//!
//! There are at most [`ENTRIES_MAX`] addresses, about 4 MB, whatever anybody does. Each newcomer pays
//! for a look at a few old entries, in turn, and those that say nothing any more (no session, bucket
//! full) are forgotten; so nothing scans the table, and it shrinks by itself.
//!
//! When it is full, a newcomer takes the place of, first, an address with nothing to remember; then one
//! that has no session, though its bucket is not full. If there is neither among the few that are looked
//! at, the newcomer is let in and not counted. It is not refused, for this reason: a table that is
//! full says that there are tens of thousands of addresses, and limits for each address are no help
//! against so many; to refuse newcomers then would lock out precisely those who are not part of the
//! flood, and whoever has many addresses could ask for it. What still bounds the flood is
//! `max_connections` and the access rules, and every address that has sessions stays limited.
//!
//! # One lock
//!
//! A client takes it twice, which was measured at 130 ns together; with two threads at it without a
//! pause 150 to 230 ns, with four (on two cores) up to 470 ns. So it lets millions of clients in each
//! second, where a listener accepts some ten thousand: shards would buy nothing.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::events::Refusal;
use crate::policy::rate::{Bucket, Rate};
use crate::sync::{Counter, Mutex};

/// Addresses that are remembered at most, for each listener that has a limit for each address.
pub const ENTRIES_MAX: usize = 65_536;

/// Old entries that a newcomer looks at: more than one, so that the table shrinks.
const LOOKS: usize = 2;

/// The same when the table is full.
const LOOKS_WHEN_FULL: usize = 8;

/// What each address may do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: Option<u32>,
    /// New sessions.
    pub rate: Option<Rate>,
}

impl Limits {
    /// Is nothing limited?
    pub fn are_off(self) -> bool {
        self.sessions.is_none() && self.rate.is_none()
    }
}

/// The clients of one listener.
#[derive(Debug, Default)]
pub struct Clients {
    /// Written by listener threads for each client that comes, and by session threads at the end.
    table: Mutex<Table>,
    /// Clients that were let in and not counted because the table was full. Written by listener
    /// threads; read by whoever reports.
    pub uncounted: Counter,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Source, Entry>,
    /// Every address that has an entry, once, in the order in which they are looked at.
    order: VecDeque<Source>,
}

/// Where a client comes from, as far as it is counted: an IPv4 address, or the upper half of an IPv6
/// address. The two can't meet: IPv4 stands where IPv6 has multicast, from which no client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source(u64);

impl Source {
    fn of(client: IpAddr) -> Source {
        const MULTICAST: u64 = 0xffff_ffff_0000_0000;
        match client.to_canonical() {
            IpAddr::V4(v4) => Source(MULTICAST | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Source((v6.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    sessions: u32,
    bucket: Bucket,
}

impl Entry {
    fn says_nothing(&self, now: Duration) -> bool {
        self.sessions == 0 && self.bucket.is_full(now)
    }

    fn enter(&mut self, limits: Limits, now: Duration) -> Result<(), Refusal> {
        if limits.sessions.is_some_and(|most| self.sessions >= most) {
            return Err(Refusal::IpLimit);
        }
        if limits.rate.is_some_and(|rate| !self.bucket.take(rate, now)) {
            return Err(Refusal::Rate);
        }
        self.sessions += 1;
        Ok(())
    }
}

impl Clients {
    /// Counts a client that came at `now`; `None` when there is no room to count it.
    ///
    /// # Errors
    ///
    /// When its address has had all that it may have.
    pub fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        limits: Limits,
        now: Duration,
    ) -> Result<Option<Counted>, Refusal> {
        let source = Source::of(client);
        let mut table = self.table.lock();
        let entered = match table.entries.get_mut(&source) {
            Some(entry) => entry.enter(limits, now).map(|()| true),
            None => Ok(table.make_room(now) && table.add(source, limits, now)),
        };
        drop(table);
        match entered {
            Ok(true) => Ok(Some(Counted {
                clients: Arc::clone(self),
                source,
            })),
            Ok(false) => {
                self.uncounted.increment();
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Addresses that are remembered now.
    pub fn len(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// Is none remembered?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    /// Forgets what can be forgotten among the next few entries; says whether there is room for one more.
    fn make_room(&mut self, now: Duration) -> bool {
        let is_full = self.entries.len() >= ENTRIES_MAX;
        let mut has_room = !is_full;
        let mut idle = None;
        for _ in 0..if is_full { LOOKS_WHEN_FULL } else { LOOKS } {
            let Some(source) = self.order.pop_front() else {
                break;
            };
            let entry = self.entries.get(&source);
            if entry.is_none_or(|entry| entry.says_nothing(now)) {
                self.entries.remove(&source);
                has_room = true;
                continue;
            }
            if entry.is_some_and(|entry| entry.sessions == 0) && idle.is_none() {
                idle = Some(source);
            }
            self.order.push_back(source);
        }
        if !has_room && let Some(idle) = idle {
            // It was put back among the last few, so it is found near the end.
            if let Some(place) = self.order.iter().rposition(|source| *source == idle) {
                self.order.remove(place);
            }
            self.entries.remove(&idle);
            has_room = true;
        }
        has_room
    }

    /// Adds an address of which nothing is known, so there is room in each of its limits.
    fn add(&mut self, source: Source, limits: Limits, now: Duration) -> bool {
        let mut entry = Entry::default();
        let entered = entry.enter(limits, now).is_ok();
        self.entries.insert(source, entry);
        self.order.push_back(source);
        entered
    }

    fn leave(&mut self, source: Source) {
        // Nobody forgets an address that has sessions.
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.sessions = entry.sessions.saturating_sub(1);
        }
    }
}

/// One session of an address, until it is dropped.
#[derive(Debug)]
pub struct Counted {
    clients: Arc<Clients>,
    source: Source,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.clients.table.lock().leave(self.source);
    }
}

#[cfg(test)]
mod tests;
