//! The rise/fall machine. PURE.
/// What the administrator wants of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// Takes sessions when it is healthy.
    Ready,
    /// Finishes what runs, takes nothing new.
    Drain,
    /// Takes nothing and is not probed.
    Maintenance,
}

impl AdminState {
    /// The word for it in configs, logs and the API.
    pub fn word(self) -> &'static str {
        match self {
            AdminState::Ready => "ready",
            AdminState::Drain => "drain",
            AdminState::Maintenance => "maintenance",
        }
    }
}
