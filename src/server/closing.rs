//! Orders to close sessions little by little: given and taken back on the server's thread.

use std::sync::Arc;
use std::time::Instant;

use super::Server;
use crate::closer::Order;
use crate::config::{closing, defaults};
use crate::control::{Answer, Close, Leaving, Refusal};
use crate::events::{Closing, Event, Purpose};
use crate::policy::closing::{Pace, Terms};
use crate::pool::{Backend, Pool};

impl Server {
    /// Closes what backends of the pool have beyond their shares, or no longer.
    pub(super) fn rebalance(&self, pool: &str, close: Option<&Close>) -> Answer {
        let running = self.control.running.load();
        let Some(pool) = running.pool(pool) else {
            return Err(super::changes::no_pool(&running, pool));
        };
        let terms = close.map(read).transpose()?;
        let closer = &self.control.closer;
        let news = match (terms, pool.excess().as_slice()) {
            (None, _) | (Some(_), []) => closer.stop_rebalance(&pool.name),
            (Some(terms), excess) => {
                let how = (Pace::Rate(terms.rate), terms.idle_for);
                let now = self.control.epoch.elapsed();
                closer.give(Order::rebalance(&pool.name, excess, how, now))
            }
        };
        Ok(self.report(news).into())
    }

    /// Closes the sessions of a drained backend.
    pub(super) fn empty(&self, pool: &Pool, backend: &Arc<Backend>, terms: Terms) -> Vec<String> {
        let how = (Pace::Rate(terms.rate), terms.idle_for);
        let now = self.control.epoch.elapsed();
        let order = Order::emptying(Purpose::Drain, &pool.name, backend, how, now);
        self.report(self.control.closer.give(order))
    }

    /// No longer.
    pub(super) fn stop_emptying(&self, backend: &Arc<Backend>) -> Vec<String> {
        self.report(self.control.closer.stop_drain(backend))
    }

    /// Closes the idle sessions of backends that are in use no more, spread over the time that is left until
    /// the rest of them is reset.
    pub(super) fn close_idle_of(&self, leaving: &[Leaving]) {
        let closer = &self.control.closer;
        closer.keep_removals(|backend| {
            let mut all = leaving.iter();
            all.any(|one| Arc::ptr_eq(&one.backend, backend))
        });
        for one in leaving {
            let (Some(until), backend) = (one.until, &one.backend) else {
                continue;
            };
            // Whoever has asked for another pace gets that.
            if backend.active.get() == 0 || closer.emptying(backend).is_some() {
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                continue;
            }
            let now = self.control.epoch.elapsed();
            // In a short time, who has been idle for half of it is idle.
            let how = (
                Pace::Until(now + left),
                defaults::CLOSE_IDLE_FOR.min(left / 2),
            );
            let order = Order::emptying(Purpose::Removal, &one.pool, backend, how, now);
            self.report(closer.give(order));
        }
    }

    /// Tells the log; the same for an answer.
    fn report(&self, news: Vec<Closing>) -> Vec<String> {
        let lines = news.iter().map(Closing::to_string).collect();
        for one in news {
            self.log.send(Event::Closing(one));
        }
        lines
    }
}

/// What somebody has written.
pub(super) fn read(close: &Close) -> Result<Terms, Refusal> {
    closing::terms(&close.rate, close.idle_for.as_deref()).map_err(Refusal::Invalid)
}
