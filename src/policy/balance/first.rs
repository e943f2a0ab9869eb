//! `first`: the first backend of the pool that can serve; the others are there for its failure.

use super::{Choice, Pick, Policy};

/// First that can serve.
pub static POLICY: Policy = Policy {
    name: "first",
    summary: "the first backend of the pool that can serve",
    by_client: false,
    table: None,
    pick,
    standing,
};

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    let mut members = choice.rotation.members().iter();
    members
        .find(|member| choice.is_open(member.backend))
        .copied()
        .map(Pick::blind)
}

fn standing(choice: &Choice<'_>) -> Vec<String> {
    let tell = |place| match place {
        0 => "the first that can serve".to_owned(),
        n => format!("comes after {n} that can serve"),
    };
    (0..choice.rotation.len()).map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scene;
    use super::*;

    /// The first in pool order serves, whatever its weight, until it is down or has been tried.
    #[test]
    fn takes_the_first_that_is_left() {
        let scene = Scene::new(&[1, 5, 3]);
        assert_eq!(scene.picks(&POLICY, 3), [0, 0, 0]);
        assert_eq!(scene.clone().tried(&[0]).picks(&POLICY, 2), [1, 1]);
        assert_eq!(scene.tried(&[1, 0]).picks(&POLICY, 2), [2, 2]);
        assert_eq!(Scene::with_down(&[1, 5, 3], &[0]).picks(&POLICY, 2), [1, 1]);
    }
}
