//! Typing mistakes, and the tables of words.

use super::super::aliases::{KEY_ALIASES, VALUE_ALIASES};
use super::super::words::*;

#[test]
fn near_words_are_found_and_far_ones_are_not() {
    let known = ["interval", "timeout", "rise", "fall", "half-close"];
    for (word, near) in [
        ("intervall", Some("interval")),
        ("INTERVAL", Some("interval")),
        ("tiemout", Some("timeout")),
        ("half_close", Some("half-close")),
        ("fal", Some("fall")),
        ("weight", None),
        ("", None),
    ] {
        assert_eq!(closest(word, known), near, "{word}");
    }
    assert_eq!(closest(&"interval".repeat(10_000), known), None);
}

#[test]
fn no_alias_is_one_of_our_own_words_for_the_same_place() {
    for table in [KEY_ALIASES, VALUE_ALIASES] {
        for (ours, theirs) in table {
            assert!(!theirs.contains(ours), "{ours}");
        }
    }
}
