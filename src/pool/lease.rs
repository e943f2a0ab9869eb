//! A session's claim on a backend, given back when it is dropped, on every path.

use std::sync::Arc;

use super::Backend;

/// Counts as one active session of its backend for as long as it lives.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    index: usize,
}

impl Lease {
    /// Takes over a claim that was made on `backend.active`.
    pub(super) fn new(backend: Arc<Backend>, index: usize) -> Lease {
        Lease { backend, index }
    }

    /// The backend that was picked.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Its index in the pool.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.release();
    }
}
