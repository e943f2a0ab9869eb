//! What a failed attempt to connect means: for the counts, for the backend's standing, for the session.

use std::sync::Arc;

use super::Context;
use super::report::Report;
use crate::events::{ConnectFailed, EndReason, Event, FailedAttempt};
use crate::health::Suspect;
use crate::net::connect::ConnectError;
use crate::pool::{Backend, Pool};
use crate::registry::Live;

/// Counts the attempt, and tells the health thread when it was one too many in a row. A fault of evener's
/// own side is counted nowhere: it says nothing of the backend.
fn count(context: &Context, pool: &Arc<Pool>, backend: &Arc<Backend>, error: &ConnectError) {
    let counts = &backend.counts;
    match error {
        ConnectError::Refused => counts.refused.increment(),
        ConnectError::TimedOut => counts.timed_out.increment(),
        ConnectError::Local(_) => {}
        _ => counts.failed.increment(),
    }
    if error.is_local() {
        return;
    }
    let failures = backend.failures.more();
    let rules = pool.config.outlier_detection.as_ref();
    if rules.is_some_and(|rules| rules.is_suspect(failures)) {
        // When the health thread is behind, there are failures enough to tell it of later.
        let _ = context.suspects.try_send(Suspect {
            pool: Arc::clone(pool),
            backend: Arc::clone(backend),
            failures,
            error: error.to_string(),
        });
    }
}

/// Counts an attempt that failed, and tells the log and the report of it.
pub(super) fn failed(
    pool: &Arc<Pool>,
    live: &Live,
    backend: &Arc<Backend>,
    error: &ConnectError,
    report: &mut Report<'_>,
) {
    count(report.context, pool, backend, error);
    let failure = FailedAttempt {
        backend: Arc::clone(&backend.name),
        address: backend.address.clone(),
        error: error.to_string(),
    };
    report.context.log.send(Event::ConnectFailed(ConnectFailed {
        id: live.origin.id,
        pool: Arc::clone(&pool.name),
        failure: failure.clone(),
    }));
    report.failures.push(failure);
}

/// The reason of a session whose last attempt to connect failed so.
pub(super) fn reason(error: &ConnectError) -> EndReason {
    match error {
        ConnectError::Refused => EndReason::ConnectRefused,
        ConnectError::TimedOut => EndReason::ConnectTimeout,
        ConnectError::Local(_) => EndReason::Resources,
        _ => EndReason::ConnectFailed,
    }
}
