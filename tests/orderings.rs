//! The ordering table of `src/sync/mod.rs` keeps what it promises: each atomic has its row there and on the page
//! of other orderings, and each row names a model that exists, beside a broken variant.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The types of the tables in `src/sync/mod.rs`, each with the models that its last cell names.
fn rows() -> Vec<(String, Vec<String>)> {
    let source = read("src/sync/mod.rs");
    let rows = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"));
    rows.map(|row| {
        let name = row.split('`').next().unwrap();
        let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        let models = last.split('`').skip(1).step_by(2);
        (name.to_owned(), models.map(str::to_owned).collect())
    })
    .collect()
}

/// The models of `tests/loom/`: name, and whether it is a broken one that loom has to find out.
fn models() -> Vec<(String, bool)> {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loom")).unwrap();
    let mut models = Vec::new();
    for file in files {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for test in text.split("#[test]\nfn ").skip(1) {
            let (name, body) = test.split_once('(').unwrap();
            models.push((name.to_owned(), body.contains("loom_finds(")));
        }
    }
    models
}

#[test]
fn every_row_has_its_model_and_a_broken_one_beside_it() {
    let (rows, models) = (rows(), models());
    assert!(rows.len() > 12, "{rows:?}");
    for (name, named) in &rows {
        assert!(!named.is_empty(), "the row of {name} names no model");
        for model in named {
            let is_there = models.contains(&(model.clone(), false));
            assert!(is_there, "the row of {name} names {model}");
        }
        let word = name.to_lowercase();
        let breaks = |(model, is_broken): &(String, bool)| *is_broken && model.contains(&word);
        assert!(models.iter().any(breaks), "no broken variant of {name}");
    }
}

/// The page that says what each atomic would do with another ordering leaves none out, and has none
/// that is no more.
#[test]
fn every_atomic_is_on_the_page_of_orderings() {
    let source = read("src/sync/mod.rs") + &read("src/sync/allowance.rs");
    let page = read("src/doc/orderings.md");
    let rows: String = page
        .lines()
        .filter(|line| line.starts_with("| [`"))
        .collect();
    let mut names = Vec::new();
    for item in source.split("pub struct ").skip(1) {
        let (name, fields) = item.split_once(['(', ' ', '<']).unwrap();
        let fields = fields.split("\n\n").next().unwrap_or_default();
        if fields.contains("Atomic") {
            assert!(rows.contains(&format!("| [`{name}`]")), "{name} has no row");
            names.push(name.to_owned());
        }
    }
    assert!(names.len() > 7, "{names:?}");
    assert_eq!(rows.matches("| [`").count(), names.len(), "{names:?}");
}
