//! What the fuzz targets are seeded with, and what fuzzing has found, through the same functions as there
//! (`fuzz/src`), with the toolchain that evener is built with.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

/// A corpus that is looked after is small.
const FILES_MAX: usize = 100;
const FILE_BYTES_MAX: usize = 4096;

/// What is in a directory of `fuzz`, by name.
fn entries(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(dir);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn names(dir: &str) -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    entries(dir).into_iter().map(stem).collect()
}

#[test]
fn every_seed_is_read_as_it_should_be() {
    let mut files = 0;
    for (target, read) in fuzz::TARGETS {
        for path in entries(&format!("seeds/{target}")) {
            let bytes = fs::read(&path).unwrap();
            assert!(
                bytes.len() <= FILE_BYTES_MAX,
                "{}: too long",
                path.display()
            );
            // Shown only if what follows panics.
            println!("{}", path.display());
            read(&bytes);
            // Any seed may come in half, and in the place of any other.
            read(&bytes[..bytes.len() / 2]);
            fuzz::TARGETS.iter().for_each(|(_, read)| read(&bytes));
            files += 1;
        }
    }
    assert!((50..=FILES_MAX).contains(&files), "{files} seeds");
}

#[test]
fn every_target_is_built_and_has_seeds() {
    let known: BTreeSet<String> = fuzz::TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("seeds"), known);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let target = format!("fuzz/fuzz_targets/{name}.rs");
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join(target);
        let calls = format!("evener_fuzz::run(\"{name}\", bytes)");
        assert!(
            fs::read_to_string(target).unwrap().contains(&calls),
            "{name}"
        );
    }
}

#[test]
#[should_panic(expected = "there is no target")]
fn a_target_of_another_name_is_an_error() {
    fuzz::run("nothing", b"");
}
