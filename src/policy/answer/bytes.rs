//! Is a byte string in the answer? It may stand anywhere in the first [`BYTES_MAX`] bytes, as with
//! HAProxy's `tcp-check expect string`: servers like to begin with a greeting. PURE.

use super::{Verdict, beginning};

/// So much of an answer is looked at.
pub const BYTES_MAX: usize = 16 * 1024;

/// Judges what has come so far, and whether that was all.
pub fn judge(received: &[u8], has_ended: bool, expected: &[u8]) -> Verdict {
    let looked_at = received.get(..BYTES_MAX).unwrap_or(received);
    let shown = expected.escape_ascii();
    if contains(looked_at, expected) {
        return Verdict::Good(format!("answered `{shown}`"));
    }
    if received.len() >= BYTES_MAX {
        let kib = BYTES_MAX / 1024;
        return Verdict::Bad(format!(
            "no `{shown}` in the first {kib} KiB of the answer, which begins with `{}`",
            beginning(received)
        ));
    }
    match (has_ended, received) {
        (false, _) => Verdict::NeedMore,
        (true, []) => Verdict::Bad("closed without an answer".to_owned()),
        (true, _) => Verdict::Bad(format!(
            "no `{shown}` in the answer, which begins with `{}`",
            beginning(received)
        )),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bad(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Bad(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_may_stand_anywhere_in_the_first_part() {
        let good = Verdict::Good("answered `+PONG`".to_owned());
        assert_eq!(judge(b"+PONG\r\n", false, b"+PONG"), good);
        assert_eq!(judge(b"hello\n+PONG", false, b"+PONG"), good);
        assert_eq!(judge(b"+PON", false, b"+PONG"), Verdict::NeedMore);
        let at = |place: usize| [vec![b'.'; place], b"+PONG".to_vec()].concat();
        assert_eq!(judge(&at(BYTES_MAX - 5), false, b"+PONG"), good);
        let late = judge(&at(BYTES_MAX - 4), false, b"+PONG");
        assert!(bad(&late).starts_with("no `+PONG` in the first 16 KiB of the answer"));
    }

    #[test]
    fn an_end_without_it_says_what_came_instead() {
        let end = |received| judge(received, true, b"220 ");
        assert_eq!(bad(&end(b"")), "closed without an answer");
        assert_eq!(
            bad(&end(b"554 go away\r\n")),
            "no `220 ` in the answer, which begins with `554 go away\\r\\n`"
        );
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// However the answer is cut, the verdict is the same once it is there, and never good before.
        #[test]
        fn pieces_are_judged_as_the_whole(
            answer in prop::collection::vec(b'a'..=b'c', 0..12),
            expected in prop::collection::vec(b'a'..=b'c', 1..4),
        ) {
            let whole = judge(&answer, true, &expected);
            let found = answer.windows(expected.len()).any(|part| part == expected);
            prop_assert_eq!(matches!(whole, Verdict::Good(_)), found);
            for end in 0..=answer.len() {
                match judge(&answer[..end], false, &expected) {
                    Verdict::Good(_) => prop_assert!(found),
                    verdict => prop_assert_eq!(verdict, Verdict::NeedMore),
                }
            }
        }
    }
}
