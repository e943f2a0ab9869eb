//! The first probes of new backends, and the wait for them: clients that come to a new backend a moment later
//! are to find it up. What has no result in time has no sessions either, until it has one.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, never, tick};

use super::build::{self, Draft};
use super::reload::Next;
use super::{Server, StartError, Surroundings};
use crate::control::Request;
use crate::health::{Order, Target};

/// A little more than the longest probe takes, for threads that are slow to start.
const FIRST_ROUND_SLACK: Duration = Duration::from_secs(1);

impl Server {
    /// Has every backend that is new probed once, and waits for that.
    ///
    /// # Errors
    ///
    /// A signal to stop has come; whoever waits for signals finds it.
    pub(super) fn probe_first(
        &mut self,
        next: &Next,
        around: &Surroundings,
    ) -> Result<(), StartError> {
        if let Some(round) = self.begin_first_round(&next.draft) {
            self.wait_for(&round, around, (never(), never()));
        }
        match around.signals.is_empty() {
            true => Ok(()),
            false => Err(StartError::Interrupted),
        }
    }

    /// As [`Server::probe_first`], but not when somebody wants something else of this thread: then a new
    /// address starts without its first probe, and has its first session after that.
    pub(super) fn probe_if_idle(&mut self, draft: &Draft, around: &Surroundings) {
        if let Some(round) = self.begin_first_round(draft) {
            let asked = self.asked();
            self.wait_for(&round, around, asked);
        }
    }

    /// Has every backend that is new probed once. Says by what channel's end it is done, and how long
    /// that may take.
    fn begin_first_round(&self, draft: &Draft) -> Option<Round> {
        let targets = build::new_targets(&draft.pools, &self.control.running.load());
        let longest = targets.iter().map(Target::timeout).max()?;
        let (done, first_round_done) = crossbeam_channel::bounded(0);
        self.order(Order::Add(targets, done));
        Some((first_round_done, longest + FIRST_ROUND_SLACK))
    }

    /// Waits for its end, for so long as it may take, a signal, or something in these channels, all of which
    /// stays there. The service manager hears of evener meanwhile: a probe may take longer than its patience.
    fn wait_for(
        &mut self,
        (done, patience): &Round,
        around: &Surroundings,
        (requests, hangups): (Receiver<Request>, Receiver<()>),
    ) {
        let deadline = Instant::now() + *patience;
        let sign_of_life = around.manager.sign_of_life_every().map_or_else(never, tick);
        let mode_changes = self.mode_changes.clone();
        let mut was_alive = true;
        let mut any = Select::new();
        let life = any.recv(&sign_of_life);
        let modes = any.recv(&mode_changes);
        any.recv(done);
        any.recv(&around.signals);
        any.recv(&requests);
        any.recv(&hangups);
        while let Ok(ready) = any.ready_deadline(deadline) {
            if ready == life {
                let _ = sign_of_life.try_recv();
                was_alive = self.sign(&around.manager, was_alive);
            } else if ready == modes {
                let _ = mode_changes.try_recv();
                // What has failed is tried again when the wait is over.
                let _ = self.open_and_refuse();
            } else {
                return;
            }
        }
    }
}

/// The channel whose end says that a round is done, and how long that may take.
type Round = (Receiver<Infallible>, Duration);
