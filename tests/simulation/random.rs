//! Where all choices of a history come from.

use evener::policy::splitmix::{below, nth};

/// All random choices of a history, in a row.
pub struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { seed, drawn: 0 }
    }

    pub fn bits(&mut self) -> u64 {
        self.drawn += 1;
        nth(self.seed, self.drawn)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        below(self.bits(), bound)
    }

    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub fn place<T>(&mut self, of: &[T]) -> usize {
        self.below(of.len() as u64) as usize
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        let place = self.place(of);
        of[place]
    }
}
