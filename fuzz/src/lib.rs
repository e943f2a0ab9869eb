//! What is fuzzed: bytes from outside into each of evener's readers, and what must hold whatever they are.
//!
//! A function here takes any bytes and panics if evener breaks a promise. The targets of `fuzz_targets/` call
//! it with what the fuzzer makes up, and `tests/corpus.rs` with the seeds, in every `cargo test`: the same
//! function, so the two can't drift apart. A panic, an overflow or an endless loop in evener is a find too.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a panic is how a find is told; the file is a module of tests/corpus.rs too"
)]

mod operations;
mod readers;
mod texts;

/// A reader by its name: of its target, and of the directory with its seeds.
pub type Target = (&'static str, fn(&[u8]));

/// Every reader.
pub const TARGETS: [Target; 10] = [
    ("config", texts::config),
    ("values", texts::values),
    ("change_body", texts::change_body),
    ("proxy_v1", readers::proxy_v1),
    ("proxy_v2", readers::proxy_v2),
    ("client_hello", readers::client_hello),
    ("admin_request", readers::admin_request),
    ("health_answer", readers::health_answer),
    ("agent_line", readers::agent_line),
    ("operations", operations::operations),
];

/// Gives these bytes to the reader of that name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, read) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    read(bytes);
}

/// A message is one line that a terminal shows as it is.
fn is_shown_as_it_is(message: &str) {
    let hidden = message.chars().find(|char| char.is_control());
    assert!(hidden.is_none(), "{hidden:?} in {message:?}");
}
