//! What the threads of probes tell the checker, and how none of them ends without a word.

use crossbeam_channel::Sender;

use super::probe::Outcome;

/// What a probe's thread tells the checker.
#[derive(Debug)]
pub(super) enum News {
    /// What it found, for the target with this number.
    Found(u64, Outcome),
    /// It has ended, quiet goodbye included, and its thread is free.
    Ended,
}

/// The sending end that one probe holds. Dropping it says that the probe has ended, even by a
/// panic: then nothing is known, and the target is asked again.
#[derive(Debug)]
pub(super) struct Reporter {
    news: Sender<News>,
    target: u64,
    has_found: bool,
}

impl Reporter {
    /// Of a probe of the target with this number.
    pub(super) fn new(news: Sender<News>, target: u64) -> Reporter {
        Reporter {
            news,
            target,
            has_found: false,
        }
    }

    /// Tells what it found.
    pub(super) fn found(&mut self, outcome: Outcome) {
        self.has_found = true;
        // Nobody takes it when the checker has ended.
        let _ = self.news.send(News::Found(self.target, outcome));
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if !self.has_found {
            self.found(Outcome::BrokenOff);
        }
        let _ = self.news.send(News::Ended);
    }
}
