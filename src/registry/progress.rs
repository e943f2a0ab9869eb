//! What the reaper tells the log of sessions that live long.

use std::sync::Arc;
use std::time::Duration;

use super::{Live, Notes};
use crate::events::{Event, SessionProgress};

impl Notes {
    /// How the session is getting on at `now`, if it was not told for `interval`.
    pub fn progress(&mut self, live: &Live, now: Duration, interval: Duration) -> Option<Event> {
        let (bytes_in, bytes_out) = (live.bytes_in.get(), live.bytes_out.get());
        let idle = self.progress.look(now, bytes_in + bytes_out, interval)?;
        Some(Event::SessionProgress(Box::new(SessionProgress {
            id: live.origin.id,
            client: live.origin.address.clone(),
            backend: live.server().map(|backend| Arc::clone(&backend.name)),
            bytes_in,
            bytes_out,
            age: now.saturating_sub(live.origin.since),
            idle,
        })))
    }
}
