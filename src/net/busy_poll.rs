//! A look for the next bytes before the thread goes to sleep for them, where [`Patience`] expects
//! some.
//!
//! Measured with small messages, 2 clients: 18.5k to 52.3k requests/s, p50 98 to 30 µs; 8 clients: 53.7k
//! to 64.5k; 256 clients: 57k to 64k. One client alone pays for it with 1.8 times the processor time, for
//! an answer in two thirds of the time (`scripts/bench.d/NOTES.md`).

use std::thread;
use std::time::Instant;

use rustix::io::Errno;

use crate::policy::patience::Patience;

/// Asks `read`, which must not block, again and again until it has something, an error included.
/// `None` if there is nothing yet: the caller goes to sleep for it. Others who want this processor go
/// first each time, so that nobody waits for one who only looks.
pub(super) fn look<T>(
    patience: &mut Patience,
    mut read: impl FnMut() -> Result<T, Errno>,
) -> Option<Result<T, Errno>> {
    if !patience.is_worth_it() {
        return None;
    }
    let mut looks = 0;
    let mut began = None;
    loop {
        thread::yield_now();
        let result = read();
        if !matches!(result, Err(Errno::AGAIN)) {
            patience.learn(true);
            return Some(result);
        }
        looks += 1;
        if Patience::is_over(looks, began.get_or_insert_with(Instant::now).elapsed()) {
            patience.learn(false);
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that finds something at the given look.
    fn found_at(patience: &mut Patience, at: u32) -> Option<Result<u32, Errno>> {
        let mut looks = 0;
        look(patience, || {
            looks += 1;
            if looks < at {
                Err(Errno::AGAIN)
            } else {
                Ok(looks)
            }
        })
    }

    #[test]
    fn it_ends_with_the_first_find() {
        let mut patience = Patience::default();
        assert_eq!(found_at(&mut patience, 1), Some(Ok(1)));
        assert_eq!(found_at(&mut patience, 2), Some(Ok(2)));
    }

    #[test]
    fn an_error_is_a_find() {
        let failed = look(&mut Patience::default(), || Err::<(), _>(Errno::CONNRESET));
        assert_eq!(failed, Some(Err(Errno::CONNRESET)));
    }

    #[test]
    fn it_gives_up_and_does_not_look_at_all_the_next_time() {
        let mut patience = Patience::default();
        assert_eq!(found_at(&mut patience, u32::MAX), None);
        assert_eq!(found_at(&mut patience, 1), None);
        assert_eq!(found_at(&mut patience, 1), Some(Ok(1)));
    }
}
