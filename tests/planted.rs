//! The planted bugs can be planted: each patch of `tests/planted/` fits the source as it is now, and names
//! tests that are there. `scripts/test-planted` plants each and sees that these tests catch it.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

use std::fs;
use std::path::Path;

/// How many there have to be.
const BUGS: usize = 10;

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every patch, by its name.
fn patches() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planted");
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, read(entry.path()))
        })
        .collect()
}

/// What is wrong with the hunks of a patch, given the text of each file.
fn misfits(patch: &str, text_of: impl Fn(&str) -> String) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut files = 0;
    for part in patch.split("\ndiff --git ").skip(1) {
        let file = part.lines().find_map(|line| line.strip_prefix("--- a/"));
        let file = file.unwrap_or_else(|| panic!("no file: {part}"));
        let text = text_of(file);
        files += 1;
        for hunk in part.split("\n@@ ").skip(1) {
            let lines = hunk.lines().skip(1);
            let before: String = lines
                .filter_map(|line| line.strip_prefix([' ', '-']))
                .flat_map(|line| [line, "\n"])
                .collect();
            let times = text.matches(&before).count();
            if times != 1 {
                wrong.push(format!("{file} has this {times} times:\n{before}"));
            }
        }
    }
    if files == 0 {
        wrong.push("it changes no file".into());
    }
    wrong
}

/// The file in which a line of a patch's head says that a test stands, and the name of that test.
fn place_of(line: &str) -> (String, &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["lib", path] => {
            let (module, test) = path.rsplit_once("::").unwrap();
            (format!("src/{}.rs", module.replace("::", "/")), test)
        }
        ["test", file, test] => (format!("tests/{file}.rs"), test),
        ["loom", test] => {
            let (file, _) = test.split_once('_').unwrap();
            let is_there = |file: &&str| {
                read(format!("tests/loom/{file}.rs")).contains(&format!("fn {test}()"))
            };
            let file = [file, "numbers"].into_iter().find(|file| {
                let path = format!("tests/loom/{file}.rs");
                Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists() && is_there(file)
            });
            (format!("tests/loom/{}.rs", file.unwrap_or("main")), test)
        }
        _ => panic!("not `lib TEST`, `test FILE TEST` or `loom TEST`: {line}"),
    }
}

#[test]
fn every_patch_fits_the_source() {
    let patches = patches();
    assert_eq!(patches.len(), BUGS);
    for (name, patch) in patches {
        let wrong = misfits(&patch, |file| read(file));
        assert!(
            wrong.is_empty(),
            "tests/planted/{name} does not fit any more, plant the same bug in the code as it is now: {}",
            wrong.join("\n")
        );
    }
}

#[test]
fn every_patch_says_what_it_is_and_names_tests_that_are_there() {
    for (name, patch) in patches() {
        let (head, _) = patch.split_once("\ndiff --git ").unwrap();
        let catchers = || {
            head.lines()
                .filter_map(|line| line.strip_prefix("caught-by: "))
        };
        assert!(catchers().count() > 0, "{name}: no line `caught-by: …`");
        let says = head
            .lines()
            .take_while(|line| !line.starts_with("caught-by"));
        assert!(says.count() > 1, "{name}: says not what the bug is");
        for line in catchers() {
            let (file, test) = place_of(line);
            let is_there = read(&file).contains(&format!("fn {test}()"));
            assert!(is_there, "{name}: no {test} in {file}");
        }
    }
}

#[test]
fn a_patch_that_does_not_fit_is_found() {
    let patch = "A bug.\n\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n";
    assert!(misfits(patch, |_| "a\nb\n".into()).is_empty());
    assert_eq!(misfits(patch, |_| "a\nx\nb\n".into()).len(), 1);
    assert_eq!(misfits(patch, |_| "a\nb\na\nb\n".into()).len(), 1);
    assert_eq!(misfits("A bug.", |_| String::new()).len(), 1);
}
