//! What becomes of clients for whom there is no backend.

/// What a client gets when no backend can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// A TCP reset, which no client takes for an empty answer.
    Reset,
    /// An orderly close.
    Close,
    /// A refusal by the kernel: nobody listens at the address then.
    Refuse,
    /// A wait for one that can, up to `timeouts.queue`; a reset after that.
    Hold,
    /// A backend that is down: health may be wrong.
    FailOpen,
}

impl WhenDown {
    pub(super) const ALL: [WhenDown; 5] = [
        WhenDown::Reset,
        WhenDown::Close,
        WhenDown::Refuse,
        WhenDown::Hold,
        WhenDown::FailOpen,
    ];

    /// The word for it in configs and logs.
    pub fn word(self) -> &'static str {
        match self {
            WhenDown::Reset => "reset",
            WhenDown::Close => "close",
            WhenDown::Refuse => "refuse",
            WhenDown::Hold => "hold",
            WhenDown::FailOpen => "fail_open",
        }
    }

    /// What becomes of a client then.
    pub fn fate(self) -> &'static str {
        match self {
            WhenDown::Reset | WhenDown::FailOpen => "it is reset",
            WhenDown::Close => "its connection is closed",
            WhenDown::Refuse => "it is refused",
            WhenDown::Hold => "it is held until one is up",
        }
    }
}
