//! Host names and their addresses, asked for again and again beside everything else.
//!
//! The thread `names` (in `resolver`) owns what is known of each name and when it is asked next; it
//! never asks itself. The system's resolver blocks for as long as it likes and can't be given up, so
//! each question has a thread of its own, [`LOOKUPS_AT_ONCE`] of them at most: a name that hangs delays
//! no other until that many hang. What has changed goes over a channel to the server, which makes
//! changes; nothing here knows of pools, and nobody is ever waited for.

mod resolver;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::policy::names::{Change, Known};
use crate::stats::Stats;
use crate::threads;
use resolver::Resolver;

/// Questions that are open at once, over all names. Eight names of a DNS zone that doesn't answer may
/// hang, and a ninth is still asked as soon as one of them is given up by the system's resolver (with
/// the usual resolv.conf after 10 s for each server in it).
pub const LOOKUPS_AT_ONCE: usize = 8;

/// What a name was answered with: its addresses, with port 0, or why there are none.
pub type Answer = Result<Vec<SocketAddr>, String>;

type Find = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// How the addresses of a name are found. Called on a thread of its own, and may block.
#[derive(Clone)]
pub struct Lookup(Arc<Find>);

impl Lookup {
    /// By this function: the system's resolver, or what a test has instead.
    pub fn new(
        find: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Lookup {
        Lookup(Arc::new(find))
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

/// A name that is to be asked for again and again.
#[derive(Debug, Clone)]
pub struct Watch {
    /// From one answer to the next question.
    pub interval: Duration,
    /// What is known of it, if it was not watched before.
    pub known: Known,
}

/// Something is otherwise with a watched name.
#[derive(Debug)]
pub struct News {
    /// The name.
    pub host: String,
    /// All that is known of it now.
    pub known: Known,
    /// What is otherwise.
    pub change: Change,
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    /// Watch these and no others. Those that are watched already are asked for at once.
    Watch(BTreeMap<String, Watch>),
    /// Ask for these once, now.
    Ask(Vec<String>, Sender<(String, Answer)>),
}

/// How the server deals with the thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Names {
    orders: Sender<Order>,
    news: Receiver<News>,
}

impl Names {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the operating system refuses it.
    pub fn start(lookup: Lookup, stats: Arc<Stats>) -> io::Result<(Names, JoinHandle<()>)> {
        let (orders, received) = crossbeam_channel::unbounded();
        let (sender, news) = crossbeam_channel::unbounded();
        let resolver = Resolver::new(lookup, stats, received, sender);
        let thread = threads::spawn("names", move || resolver.run())?;
        Ok((Names { orders, news }, thread))
    }

    /// Asks for these names once; each has one message, whenever its answer comes.
    pub fn ask(&self, hosts: Vec<String>) -> Receiver<(String, Answer)> {
        let (sender, answers) = crossbeam_channel::unbounded();
        self.order(Order::Ask(hosts, sender));
        answers
    }

    /// Has these names watched and no others.
    pub fn watch(&self, names: BTreeMap<String, Watch>) {
        self.order(Order::Watch(names));
    }

    /// Where it is told what is otherwise.
    pub fn news(&self) -> &Receiver<News> {
        &self.news
    }

    fn order(&self, order: Order) {
        // It fails only if the thread is gone, which lives as long as this.
        let _ = self.orders.send(order);
    }
}

#[cfg(test)]
mod tests;
