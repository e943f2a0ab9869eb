//! The pages for readers: whatever they link to is there.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::{Evener, TempDir};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let dirs = ["", "docs", "examples", "examples/exercises"].map(|dir| root().join(dir));
    let files = dirs.iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    let pages = files.map(|file| file.unwrap().path());
    let pages: Vec<PathBuf> = pages
        .filter(|file| file.extension().is_some_and(|kind| kind == "md"))
        .collect();
    assert!(pages.len() > 7, "not all pages: {pages:?}");
    pages
}

/// Every file that a page links to is there, and in it the heading, if the link names one.
#[test]
fn the_links_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = match path {
                "" => page.clone(),
                path => page.with_file_name(path),
            };
            let page = page.display();
            assert!(file.exists(), "{page} links to {link}");
            if file.extension().is_some_and(|kind| kind == "md") && !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&file).unwrap());
                assert!(anchors.contains(anchor), "{page} links to {link}");
            }
        }
    }
}

/// A whole config on a page is one that evener takes.
#[test]
fn the_configs_on_the_pages_are_valid() {
    let dir = TempDir::new();
    let mut tried = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        for config in blocks.filter(|it| it.starts_with("listeners:") && it.contains("\npools:")) {
            let file = dir.path().join("evener.yaml");
            fs::write(&file, config).unwrap();
            let finished = Evener::command(&["check", file.to_str().unwrap()]);
            let page = page.display();
            assert_eq!(finished.code, Some(0), "{page}: {}", finished.stderr);
            tried += 1;
        }
    }
    assert!(tried >= 2, "only {tried} configs were found");
}

/// What the headings of a page are called in links.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.replace(' ', "-"))
        .map(|heading| heading.replace(|c: char| !c.is_alphanumeric() && c != '-' && c != '_', ""))
        .collect()
}
