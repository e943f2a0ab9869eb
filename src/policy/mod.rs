//! What is decided, apart from what is done.
//!
//! Everything here is pure: no clock, no socket, no thread, no lock, no atomic. The time and the
//! random bits come in as arguments and the decision goes out as a value, so every decision can be
//! tested by a table, and none of them can block.
//!
//! - [`address`] is where a connection goes to, or comes from.
//! - [`access`] says which clients are let in, by their address.
//! - [`agent`] understands what a server says of itself.
//! - [`answer`] says what the answer to a probe means.
//! - [`balance`] picks the backend of a session; one file per algorithm.
//! - [`bulk`] says when to splice and when to copy.
//! - [`client_hello`] finds the name of the server that a TLS client asks for.
//! - [`eligible`] says who of a pool serves: primaries, backups, or everybody in panic.
//! - [`health`] turns probe results into up and down, and says who may take a session.
//! - [`idle`] says when a session has been silent for too long.
//! - [`intent`] is what the administrator wants of a backend, by the config and since.
//! - [`lifetime`] says when a session has lived long enough.
//! - [`names`] says which addresses of a host name come and go, and when to ask again.
//! - [`outlier`] says which backend is taken out because connections to it fail.
//! - [`patience`] says whether to look for the next message before a thread sleeps for it.
//! - [`proxy_protocol`] reads and writes the header that names the client behind a proxy.
//! - [`progress`] says when to tell how a long session is getting on.
//! - [`queue`] says how many may wait for a backend, and how often they look up.
//! - [`rate`] says how often something may happen: a token bucket.
//! - [`routes`] says which route of a listener such a client takes.
//! - [`schedule`] says when the next probe is due.
//! - [`socket`] is what sockets are told.
//! - [`slow_start`] says how much of its share a backend gets that has just recovered.
//! - [`splitmix`] makes random bits out of a counter.

pub mod access;
pub mod address;
pub mod agent;
pub mod answer;
pub mod balance;
pub mod bulk;
pub mod client_hello;
pub mod closing;
pub mod eligible;
pub mod health;
pub mod hedge;
pub mod idle;
pub mod intent;
pub mod lifetime;
pub mod names;
pub mod outlier;
pub mod patience;
pub mod progress;
pub mod proxy_protocol;
pub mod queue;
pub mod rate;
pub mod rebalance;
pub mod routes;
pub mod schedule;
pub mod slow_start;
pub mod socket;
pub mod splitmix;

/// The settings of every property test: the same cases in every run, and no files left behind.
#[cfg(test)]
fn proptest_config() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x65_76_65_6e_65_72),
        failure_persistence: None,
        ..Default::default()
    }
}
