//! Which pool serves a session. Runs on the session thread, before a backend is leased.
//!
//! A listener without routes has one pool, and nobody looks at what its clients send. With routes, the
//! session waits for the client's TLS hello and goes by the name in it. Who speaks something else, names
//! nobody, asks for what has no route, or waits for the server to speak first, gets the listener's own
//! pool; without one, a reset. Not a byte is taken: the backend gets the hello as it came.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use super::report::Report;
use crate::config;
use crate::events::EndReason;
use crate::net::client_hello::{self, HelloError};
use crate::policy::client_hello::Hello;
use crate::policy::routes::{Asked, Table, shown};
use crate::pool::Pool;
use crate::registry::{self, Live, RouteCounts, Routed};
use crate::threads;

/// The pools to which a listener leads.
#[derive(Debug)]
pub struct Routes {
    /// Of the routes, in the order of the config.
    by_name: Vec<Target>,
    /// Which name leads to which of them.
    table: Table,
    /// For whoever takes none of them.
    default: Target,
    /// How long it may take to find out.
    timeout: Duration,
}

#[derive(Debug)]
struct Target {
    /// `None`: those clients are reset.
    pool: Option<Arc<Pool>>,
    counts: Arc<RouteCounts>,
}

impl Routes {
    /// Those of a listener. `None` if one of its pools is not there, which the config has checked.
    pub fn new(
        config: &config::Listener,
        listener: &registry::Listener,
        pools: &[Arc<Pool>],
    ) -> Option<Routes> {
        let target = |name: &str| {
            let pool = pools.iter().find(|pool| *pool.name == *name)?;
            Some(Target {
                pool: Some(Arc::clone(pool)),
                counts: listener.routes.of(Some(&pool.name)),
            })
        };
        let default = match &config.pool {
            Some(name) => target(name)?,
            None => Target {
                pool: None,
                counts: listener.routes.of(None),
            },
        };
        let routes = &config.routes.list;
        let by_name = routes.iter().map(|route| target(&route.pool));
        let patterns = routes.iter().zip(0..);
        Some(Routes {
            by_name: by_name.collect::<Option<_>>()?,
            table: Table::new(
                patterns.flat_map(|(route, place)| route.sni.iter().map(move |name| (name, place))),
            ),
            default,
            timeout: config.routes.timeout,
        })
    }

    /// The pool of every client, where there are no routes.
    pub fn only(&self) -> Option<&Arc<Pool>> {
        self.default.pool.as_ref().filter(|_| self.table.is_empty())
    }

    /// The pool of clients that take no route.
    pub fn default_pool(&self) -> Option<&Arc<Pool>> {
        self.default.pool.as_ref()
    }

    /// Every pool that clients may get, each once for each route.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let targets = [&self.default].into_iter().chain(&self.by_name);
        targets.filter_map(|target| target.pool.as_ref())
    }

    /// The counts of every pool, if there are routes.
    pub fn counts(&self) -> Routed {
        let mut counts = Routed::new();
        let targets = self.by_name.iter().chain([&self.default]);
        for target in targets.filter(|_| !self.table.is_empty()) {
            let pool = target.pool.as_ref().map(|pool| Arc::clone(&pool.name));
            if !counts.iter().any(|(other, _)| *other == pool) {
                counts.push((pool, Arc::clone(&target.counts)));
            }
        }
        counts
    }

    /// The way of a client that has said this.
    fn target(&self, hello: &Hello) -> (Asked, &Target) {
        let asked = match hello {
            Hello::Name(name) => {
                let place = self.table.find(name);
                match place.and_then(|place| self.by_name.get(place)) {
                    Some(target) => return (Asked::Known, target),
                    None => Asked::Unknown,
                }
            }
            Hello::NoName => Asked::NoName,
            Hello::NotTls => Asked::NotTls,
        };
        (asked, &self.default)
    }
}

/// Finds the pool that serves this session, and waits for what it depends on.
pub(super) fn choose<'c>(
    context: &'c Context,
    live: &Live,
    report: &mut Report<'_>,
) -> Result<&'c Arc<Pool>, EndReason> {
    let routes = &context.routes;
    if let Some(only) = routes.only() {
        return Ok(only);
    }
    let id = live.origin.id;
    threads::set_name(&threads::name_of(format_args!("c{id} "), "hello"));
    let deadline = Instant::now() + routes.timeout;
    let hello = match client_hello::look(live.client.stream.as_fd(), deadline) {
        Ok(hello) => hello,
        Err(HelloError::Late) => return Err(EndReason::HelloTimeout),
        Err(HelloError::Left) => return Err(EndReason::ClientLeftBeforeHello),
    };
    if let Hello::Name(name) = &hello {
        live.note_sni(&shown(name));
    }
    let (asked, target) = routes.target(&hello);
    target.counts.of(asked).increment();
    match &target.pool {
        Some(pool) => {
            live.route_to(pool);
            Ok(pool)
        }
        None => {
            report.detail = Some(asked.words());
            Err(EndReason::NoRoute)
        }
    }
}
