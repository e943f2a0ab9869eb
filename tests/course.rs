//! The course in `examples/` keeps what its README promises: each step is short, stands alone, says
//! what it teaches and what goes wrong, points to modules that exist, and has its row in the table.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

use std::fs;
use std::path::Path;

/// Lines of a lesson, its head included and its tests left out.
const LESSON_LINES: std::ops::RangeInclusive<usize> = 40..=120;

/// Lines of a step with its tests.
const STEP_LINES_MAX: usize = 200;

/// What the head of each step has.
const PARTS: [&str; 4] = [
    "What it teaches: ",
    "What goes wrong",
    "In earnest: ",
    "cargo run ",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the steps, in their order.
fn steps() -> Vec<String> {
    let entries = fs::read_dir(root().join("examples")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut steps: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
        .collect();
    steps.sort();
    steps
}

/// The paths of this repository that a text names in backquotes: `src/…` and `tests/…`.
fn paths(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| text.starts_with("src/") || text.starts_with("tests/"))
        .collect()
}

/// What is wrong with a step.
fn faults(name: &str, text: &str, readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lesson = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = lesson.lines().count();
    if !LESSON_LINES.contains(&lines) {
        faults.push(format!("its lesson has {lines} lines"));
    }
    if text.lines().count() > STEP_LINES_MAX {
        faults.push(format!("it has {} lines", text.lines().count()));
    }
    let head: Vec<&str> = text.lines().take_while(|l| l.starts_with("//!")).collect();
    let head = head.join("\n");
    let number = name.split('_').next().unwrap_or_default();
    if !head.starts_with(&format!("//! Step {}: ", number.trim_start_matches('0'))) {
        faults.push("its head does not begin with its number".into());
    }
    for part in PARTS {
        if !head.contains(part) {
            faults.push(format!("its head has no {part:?}"));
        }
    }
    if !head.contains(&format!("--example {name}")) {
        faults.push("its head does not say how to run it".into());
    }
    for path in paths(text) {
        if !root().join(path).exists() {
            faults.push(format!("it names {path}, which is not there"));
        }
    }
    if text.contains("evener::") {
        faults.push("it does not stand alone".into());
    }
    if !text.contains("/// Wrong") {
        faults.push("nothing in it is shown to be wrong".into());
    }
    if !readme.contains(&format!("]({name}.rs)")) {
        faults.push("it has no row in examples/README.md".into());
    }
    faults
}

#[test]
fn every_step_is_as_promised() {
    let readme = read("examples/README.md");
    let steps = steps();
    assert_eq!(steps.len(), 12, "{steps:?}");
    for (name, number) in steps.iter().zip(1..) {
        assert!(name.starts_with(&format!("{number:02}_")), "{name}");
        let faults = faults(name, &read(&format!("examples/{name}.rs")), &readme);
        assert!(faults.is_empty(), "{name}: {faults:#?}");
    }
}

/// The check above can fail: a step that breaks every rule is found to.
#[test]
fn a_bad_step_is_found() {
    let bad = "//! A step.\n//! In earnest: `src/nowhere.rs`\nuse evener::sync;\n";
    let found = faults("13_bad", bad, "");
    assert_eq!(found.len(), 10, "{found:#?}");
    let long = "//! Step 13: long\n".to_owned() + &"fn f() {}\n".repeat(200);
    assert!(faults("13_bad", &long, "").contains(&"it has 201 lines".to_owned()));
}
