//! The closer: a list of orders to close sessions little by little, in order, with a reason. A rebalance, a
//! drain with `--close` and the removal of a backend give such orders; what has to end at once is reset here,
//! too.
//!
//! Orders are given and taken back by the server's thread, and carried out by the reaper, which looks at
//! every session anyway and knows which of them are idle. A session is closed when nothing is on its way, by
//! a FIN to both sides. The closer never decides how many are too many: that is `policy::rebalance`.

mod order;

pub use order::Order;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::events::{Closing, EndReason, Purpose, Step};
use crate::policy::closing::Pace;
use crate::pool::Backend;
use crate::registry::{Live, Registry};
use crate::sync::Mutex;
use order::{Due, Sessions};

/// How often the sessions are looked at while there are orders: at a higher rate, several are closed at each
/// look.
const TICK: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_millis(500);

/// The orders.
#[derive(Debug, Default)]
pub struct Closer {
    /// Written by the server's thread, which gives orders, and by the reaper, which carries them out; read by
    /// whoever reports. A lock, because an order is several facts. It is not held while the kernel is asked.
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    list: Vec<Order>,
    given: u64,
}

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sessions that are still to be closed.
    pub left: u32,
    /// Those that were.
    pub closed: u32,
    /// How fast.
    pub pace: Pace,
}

impl Closer {
    /// Takes an order; one of the same purpose for the same ends. Says what the log is to hear.
    pub fn give(&self, mut order: Order) -> Vec<Closing> {
        let mut orders = self.orders.lock();
        orders.given += 1;
        order.number = orders.given;
        let is_same = |old: &Order| {
            old.purpose == order.purpose
                && match order.quotas.as_slice() {
                    [only] if order.purpose != Purpose::Rebalance => old.is_for(&only.backend),
                    _ => old.pool == order.pool,
                }
        };
        let mut news = orders.end(is_same);
        news.push(order.over(Step::Begun));
        orders.list.push(order);
        news
    }

    /// Takes back the rebalance of a pool, if there is one.
    pub fn stop_rebalance(&self, pool: &str) -> Vec<Closing> {
        let is_one = |order: &Order| order.purpose == Purpose::Rebalance && *order.pool == *pool;
        self.orders.lock().end(is_one)
    }

    /// Takes back the order to close the sessions of this drained backend, if there is one.
    pub fn stop_drain(&self, backend: &Arc<Backend>) -> Vec<Closing> {
        let is_one = |order: &Order| order.purpose == Purpose::Drain && order.is_for(backend);
        self.orders.lock().end(is_one)
    }

    /// Takes back the orders for removed backends that `is_gone` does not know any more.
    pub fn keep_removals(&self, is_gone: impl Fn(&Arc<Backend>) -> bool) {
        let is_back = |order: &Order| {
            order.purpose == Purpose::Removal
                && !order.quotas.iter().any(|quota| is_gone(&quota.backend))
        };
        self.orders.lock().list.retain(|order| !is_back(order));
    }

    /// How far the rebalance of a pool has come, if there is one.
    pub fn rebalance(&self, pool: &str) -> Option<Progress> {
        self.progress(|order| order.purpose == Purpose::Rebalance && *order.pool == *pool)
    }

    /// How far the closing of this backend's sessions has come, if somebody has asked for that.
    pub fn emptying(&self, backend: &Arc<Backend>) -> Option<Progress> {
        self.progress(|order| order.is_for(backend))
    }

    fn progress(&self, is_one: impl Fn(&Order) -> bool) -> Option<Progress> {
        let orders = self.orders.lock();
        let order = orders.list.iter().find(|order| is_one(order))?;
        Some(Progress {
            left: order.left,
            closed: order.closed,
            pace: order.pacer.pace(),
        })
    }

    /// How long to wait for the next look, if there is anything to look for.
    pub fn tick(&self, now: Duration) -> Option<Duration> {
        let orders = self.orders.lock();
        let intervals = orders.list.iter();
        let shortest = intervals
            .map(|order| order.pacer.interval(order.left, now))
            .min()?;
        Some(shortest.clamp(*TICK.start(), *TICK.end()))
    }

    /// Closes what is due at `now`. Called by the reaper, after it has looked at the sessions. Says what the
    /// log is to hear.
    pub fn look(&self, registry: &Registry, now: Duration) -> Vec<Closing> {
        if self.orders.lock().list.is_empty() {
            return Vec::new();
        }
        let all = registry.list(now);
        let mut sessions = Sessions::new();
        // Those that end already are not closed once more.
        for one in all.iter().filter(|(live, _)| live.cause().is_none()) {
            if let Some(backend) = one.0.server() {
                sessions.entry(Arc::as_ptr(backend)).or_default().push(one);
            }
        }
        let mut orders = self.orders.lock();
        let due: Vec<Due> = orders
            .list
            .iter_mut()
            .map(|order| order.due(&sessions, now))
            .collect();
        drop(orders);
        let closed: HashMap<u64, Vec<u32>> = due
            .into_iter()
            .map(|due| (due.number, due.close()))
            .collect();
        let mut orders = self.orders.lock();
        let mut news = Vec::new();
        orders.list.retain_mut(|order| {
            // Given since then.
            let Some(closed) = closed.get(&order.number) else {
                return true;
            };
            let over = order.book(closed, now);
            let is_over = over.is_some();
            news.extend(over);
            !is_over
        });
        news
    }
}

impl Orders {
    fn end(&mut self, is_one: impl Fn(&Order) -> bool) -> Vec<Closing> {
        let (ended, list) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|order| is_one(order));
        self.list = list;
        let ended: Vec<Order> = ended;
        ended
            .iter()
            .map(|order| order.over(Step::Stopped))
            .collect()
    }
}

/// Resets all sessions of a backend, now: it is down, or its time is over, and there is nothing to wait for.
/// No pace helps here: a client of a dead server only loses time, and comes to a server that lives. Says how
/// many there were.
pub fn reset_all_of(registry: &Registry, backend: &Arc<Backend>, reason: EndReason) -> usize {
    let is_its = |live: &Live| {
        live.server()
            .is_some_and(|server| Arc::ptr_eq(server, backend))
    };
    registry.abort_those(reason, is_its)
}

#[cfg(test)]
mod tests;
