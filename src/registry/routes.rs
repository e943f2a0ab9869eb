//! How many sessions took which way from a listener to a pool.

use std::sync::Arc;

use crate::policy::routes::Asked;
use crate::sync::{Counter, Mutex};

/// The sessions of a listener, by the pool that was chosen for them, and why that. `None` is no pool.
pub type Routed = Vec<(Option<Arc<str>>, Arc<RouteCounts>)>;

/// Sessions that were sent to one pool. Written by the sessions; read by whoever reports.
#[derive(Debug, Default)]
pub struct RouteCounts {
    known: Counter,
    unknown: Counter,
    no_name: Counter,
    not_tls: Counter,
}

impl RouteCounts {
    /// Those that had asked so.
    pub fn of(&self, asked: Asked) -> &Counter {
        match asked {
            Asked::Known => &self.known,
            Asked::Unknown => &self.unknown,
            Asked::NoName => &self.no_name,
            Asked::NotTls => &self.not_tls,
        }
    }
}

/// The counts of every pool that a listener has ever led to, so that a reload goes on with them.
#[derive(Debug, Default)]
pub struct RouteBook {
    /// Written by the thread that makes all changes, when there is another pool; no session takes it.
    pools: Mutex<Routed>,
}

impl RouteBook {
    /// The counts of a pool.
    pub fn of(&self, pool: Option<&Arc<str>>) -> Arc<RouteCounts> {
        let mut pools = self.pools.lock();
        let found = pools.iter().find(|(other, _)| other.as_ref() == pool);
        if let Some((_, counts)) = found {
            return Arc::clone(counts);
        }
        let counts = Arc::<RouteCounts>::default();
        pools.push((pool.cloned(), Arc::clone(&counts)));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_its_counts() {
        let book = RouteBook::default();
        let web: Arc<str> = "web".into();
        book.of(Some(&web)).of(Asked::Known).increment();
        book.of(None).of(Asked::NotTls).increment();
        let web = book.of(Some(&"web".into()));
        assert_eq!(web.of(Asked::Known).get(), 1);
        assert_eq!(web.of(Asked::Unknown).get(), 0);
        assert_eq!(book.of(None).of(Asked::NotTls).get(), 1);
    }
}
