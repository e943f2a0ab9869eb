//! The two attempts of a hedged connect. PURE.

/// One of two attempts to connect that are under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// The one that began first.
    First,
    /// The hedge, which began when the first took long.
    Second,
}

impl Runner {
    /// Both of them, in order.
    pub const ALL: [Runner; 2] = [Runner::First, Runner::Second];

    /// The one that this is not.
    pub const fn other(self) -> Runner {
        match self {
            Runner::First => Runner::Second,
            Runner::Second => Runner::First,
        }
    }

    /// The word for it in logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Runner::First => "first",
            Runner::Second => "second",
        }
    }
}
