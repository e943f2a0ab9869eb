//! How busy a backend is for its weight: what the policies that count sessions compare.

use super::rotation::Member;
use super::{Choice, Pick};

/// A member, and the sessions that it held when we looked.
///
/// The count is read once. It moves while we decide, and a choice must rest on the same number
/// that [`Pick::seen`] reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    member: Member,
    /// What it gets of its share, in thousandths.
    share: u32,
    active: u32,
}

impl Load {
    /// Looks at a member.
    pub(super) fn of(member: Member, choice: &Choice<'_>) -> Load {
        Load {
            member,
            share: choice.share_of(member.backend),
            active: (choice.active)(member.backend),
        }
    }

    /// The lesser of two loads; this one if they are equal.
    pub(super) fn lesser(self, other: Load) -> Load {
        if other.is_less_than(self) {
            other
        } else {
            self
        }
    }

    /// Whether active / (weight · share) is less here than there. Both sides are multiplied by both
    /// products, which takes 96 bits at most.
    fn is_less_than(self, other: Load) -> bool {
        let weight = |load: Load| u64::from(load.member.weight) * u64::from(load.share);
        let scaled = |load: Load, by: Load| u128::from(load.active) * u128::from(weight(by));
        scaled(self, other) < scaled(other, self)
    }
}

/// How busy each member is.
pub(super) fn standing(choice: &Choice<'_>) -> Vec<String> {
    let tell = |member: &Member| {
        let sessions = (choice.active)(member.backend);
        let each = f64::from(sessions) / f64::from(member.weight);
        let weight = member.weight;
        format!("sessions: {sessions} for weight {weight}, which is {each:.2}")
    };
    choice.rotation.members().iter().map(tell).collect()
}

impl From<Load> for Pick {
    fn from(load: Load) -> Pick {
        Pick {
            backend: load.member.backend,
            seen: Some(load.active),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::slow_start::WHOLE;

    /// Loads compare as the fractions that they stand for, up to the largest numbers there are.
    #[test]
    fn compares_fractions_exactly() {
        const MAX: u32 = u32::MAX;
        let cases = [
            // (active, weight) on either side, and whether the left is less.
            ((0, 1), (0, 1), false),
            ((0, 2), (0, 1), false), // idle is idle, whatever the weight
            ((1, 2), (1, 1), true),
            ((1, 3), (1, 2), true),
            ((2, 1), (3, 1), true),
            ((2, 2), (1, 1), false),
            ((MAX, MAX), (MAX - 1, MAX), false),
            ((MAX - 1, MAX), (MAX, MAX), true),
            ((MAX, MAX), (MAX, MAX - 1), true),
            ((MAX, 1), (0, MAX), false),
        ];
        for ((a, v), (b, w), expected) in cases {
            let left = Load {
                member: Member {
                    backend: 0,
                    weight: v,
                },
                share: WHOLE,
                active: a,
            };
            let right = Load {
                member: Member {
                    backend: 1,
                    weight: w,
                },
                share: WHOLE,
                active: b,
            };
            assert_eq!(left.is_less_than(right), expected, "{a}/{v} < {b}/{w}");
        }
    }
}
