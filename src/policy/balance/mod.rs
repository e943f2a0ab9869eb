//! Balancing policies, one per file. PURE.
use std::fmt;
use std::ops::Deref;
/// One policy.
pub struct Policy {
    /// Name in the config.
    pub name: &'static str,
    /// What it does in one line.
    pub summary: &'static str,
    /// Picks a backend.
    pub pick: fn(&Choice<'_>) -> Option<Pick>,
}
/// What a policy may look at.
pub struct Choice<'a> {
    /// Who can take a session.
    pub rotation: &'a Rotation,
    /// Sessions that a backend (by its index in the pool) holds now.
    pub active: &'a dyn Fn(usize) -> u32,
    /// Backends that this session has tried already, in that order.
    pub tried: &'a [usize],
    /// A number that no other pick of the same kind gets.
    pub ticket: u64,
    /// Uniformly random bits.
    pub random: u64,
}
/// A picked backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Index in the pool.
    pub backend: usize,
    /// The number of active sessions that the choice rests on.
    pub seen: Option<u32>,
}
/// Backends that can take a session.
#[derive(Debug)]
pub struct Rotation;
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        self.name.deref() == other.name
    }
}

/// Local stub, replaced at merge.
const fn stub(name: &'static str) -> Policy {
    Policy {
        name,
        summary: "",
        pick: |_| None,
    }
}
/// Every policy.
pub static POLICIES: [Policy; 6] = [
    stub("round_robin"),
    stub("weighted_round_robin"),
    stub("least_connections"),
    stub("power_of_two"),
    stub("random"),
    stub("first"),
];
/// The policy of that name.
pub fn by_name(name: &str) -> Option<&'static Policy> {
    POLICIES.iter().find(|policy| policy.name == name)
}
/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|policy| policy.name)
}
