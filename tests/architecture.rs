//! The floor plan as a test: who may import whom, what is pure, where each dangerous thing may
//! stand. A rule that nothing checks is not a rule, and a check that can't fail is none: each rule
//! is run over the source, and over a snippet that breaks it.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the library, top to bottom, as the map in `src/lib.rs` has them. A file imports only from its own module and from rows
/// below its own; two modules of one row know nothing of each other.
const FLOORS: &[&[&str]] = &[
    &["server", "demo"],
    &["fuzzing"],
    &["client"],
    &["api"],
    &["admin"],
    &["control"],
    &["acceptor"],
    &["reaper"],
    &["closer"],
    &["session"],
    &["health"],
    &["names"],
    &["registry"],
    &["admission"],
    &["pool"],
    &["net"],
    &["privileges"],
    &["upgrade"],
    &["systemd"],
    &["dummy"],
    &["log"],
    &["threads"],
    &["stats"],
    &["events"],
    &["config"],
    &["limits"],
    &["policy"],
    &["sync"],
];

/// Beyond the floors: what a module needs of the rows below is less than all of it.
const KNOWS_ONLY: &[(&str, &[&str])] = &[
    ("fuzzing", &["admin", "api", "control"]),
    ("client", &["config", "net", "policy", "threads"]),
    (
        "admin",
        &[
            "config", "events", "limits", "log", "net", "sync", "systemd", "threads",
        ],
    ),
    (
        "api",
        &[
            "admin", "closer", "control", "policy", "pool", "registry", "sync",
        ],
    ),
    (
        "control",
        &[
            "closer", "config", "events", "policy", "pool", "registry", "stats", "sync", "threads",
        ],
    ),
    ("closer", &["events", "policy", "pool", "registry", "sync"]),
    ("names", &["policy", "stats", "threads"]),
    (
        "registry",
        &["admission", "events", "net", "policy", "pool", "sync"],
    ),
    ("admission", &["config", "events", "policy", "sync"]),
    ("pool", &["config", "policy", "sync"]),
    ("net", &["policy", "sync"]),
    ("privileges", &["config", "events", "upgrade"]),
    ("upgrade", &["systemd", "threads"]),
    ("systemd", &["policy"]),
    ("dummy", &[]),
    ("limits", &[]),
    ("threads", &["sync"]),
    ("stats", &["events", "policy", "sync"]),
    ("events", &["config", "limits", "policy"]),
    ("config", &["policy"]),
    ("policy", &[]),
];

/// A line of code must not hold any of these words if its file is in one of `places`; with
/// `inside: false`, if it is in none of them.
struct Ban {
    name: &'static str,
    places: &'static [&'static str],
    inside: bool,
    words: &'static [&'static str],
    /// Code that breaks it, and that the check must find.
    bad: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        name: "policy/ is pure: time and randomness come in, and nothing is shared",
        places: &["src/policy"],
        inside: true,
        words: &[
            "Instant",
            "SystemTime",
            "std::thread",
            "thread::",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "UnixStream",
            "std::io",
            "std::fs",
            "std::env",
            "std::process",
            "Mutex",
            "RwLock",
            "RefCell",
            "Condvar",
            "Atomic",
            "OnceLock",
            "LazyLock",
            "mpsc",
            "rand::",
            "RandomState",
            "rustix",
            "crossbeam",
            "parking_lot",
            "static mut",
            "println!",
        ],
        bad: "let now = std::time::Instant::now();",
    },
    Ban {
        name: "atomics, parking_lot, loom and shuttle are named in src/sync only",
        places: &["src/sync"],
        inside: false,
        words: &[
            "sync::atomic",
            "AtomicBool",
            "AtomicU",
            "AtomicI",
            "AtomicPtr",
            "Ordering::Relaxed",
            "Ordering::SeqCst",
            "Ordering::Acquire",
            "Ordering::Release",
            "parking_lot",
            "loom",
            "shuttle",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "std::sync::Condvar",
            "sync::mpsc",
        ],
        bad: "use parking_lot::Mutex;",
    },
    Ban {
        name: "nothing is SeqCst",
        places: &[],
        inside: false,
        words: &["SeqCst"],
        bad: "self.0.load(SeqCst)",
    },
    Ban {
        name: "unsafe code is in src/sys only",
        places: &["src/sys"],
        inside: false,
        words: &["unsafe ", "unsafe{"],
        bad: "unsafe { libc::getpid() }",
    },
    Ban {
        name: "what the world can influence is an error, not a panic",
        places: &[],
        inside: false,
        words: &[
            ".unwrap()",
            ".expect(",
            ".unwrap_err()",
            ".expect_err(",
            "panic!(",
            "todo!(",
            "unimplemented!(",
            "unreachable!(",
            "process::abort",
            "process::exit",
        ],
        bad: "let line = lines.next().unwrap();",
    },
    Ban {
        name: "output goes through writes whose failure is no panic",
        places: &[],
        inside: false,
        words: &["println!(", "print!(", "dbg!("],
        bad: "eprintln!(\"{error}\");",
    },
    Ban {
        name: "threads, sockets and listeners are made where a refusal is a value",
        places: &[],
        inside: false,
        words: &[
            "thread::spawn(move",
            "thread::spawn(||",
            "thread::scope(",
            "TcpStream::connect",
            "TcpListener::bind",
            "std::mem::forget",
            "Box::leak",
        ],
        bad: "std::thread::spawn(move || run());",
    },
    Ban {
        name: "no async",
        places: &[],
        inside: false,
        words: &["async fn", "async move", "async {", ".await", "impl Future"],
        bad: "async fn run() {}",
    },
];

const DIRECT_DEPENDENCIES_MAX: usize = 14;
const FILE_LINES_MAX: usize = 400;

/// A source file: where it is, from the root, as written, and without comments, texts and tests.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
            code: without_tests(&without_comments_and_texts(text)),
        }
    }

    /// `src/net/connect.rs` and `src/net.rs` are of the module `net`.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or(inside);
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The `.rs` files under `src` and `bin` that are part of the product.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for top in ["src", "bin"] {
        collect(&root().join(top), &mut paths);
    }
    paths.sort();
    let sources: Vec<Source> = paths
        .iter()
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap())
        .filter(|path| !is_test_file(path))
        .map(|path| Source::new(path, &read(path)))
        .collect();
    assert!(sources.len() > 20, "too few to be all of them");
    sources
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Files that are compiled for tests only; `#[cfg(test)] mod` at their parent says so.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/testing.rs")
}

/// Blanks out comments and the content of texts and characters, line by line as it was.
fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest, &code) {
            length
        } else if first == '"' {
            quoted(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (skipped, after) = rest.split_at(length);
        code.extend(skipped.chars().filter(|c| *c == '\n'));
        // A text is still a value: `mod x { "…" }` keeps its shape.
        if !skipped.starts_with('/') {
            code.push_str("\"\"");
        }
        rest = after;
    }
    code
}

/// The length of the raw text that begins here; `before` tells it from a name that ends in r.
fn raw_text(rest: &str, before: &str) -> Option<usize> {
    let is_name = before
        .chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || c == '_');
    let body = rest
        .strip_prefix('r')
        .filter(|_| !is_name || before.ends_with('b'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = body[hashes..].strip_prefix('"')?;
    let start = rest.len() - body.len();
    Some(
        body.find(&end)
            .map_or(rest.len(), |at| start + at + end.len()),
    )
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of the character literal that begins here; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.strip_prefix('\'')?.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (_, escaped) = chars.next()?;
        let body = &rest[2 + escaped.len_utf8()..];
        return Some(rest.len() - body.len() + body.find('\'')? + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 2)
}

/// Leaves out every item that is compiled for tests or for models only.
fn without_tests(code: &str) -> String {
    let marks = ["#[cfg(test)]", "#[cfg(loom)]", "#[cfg(any(loom, shuttle))]"];
    marks
        .iter()
        .fold(code.to_owned(), |code, mark| without_items(&code, mark))
}

/// Leaves out every item behind this mark: to the end of its braces, or of its statement.
fn without_items(code: &str, mark: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(mark) {
        kept.push_str(&rest[..at]);
        let item = &rest[at + mark.len()..];
        let mut depth = 0;
        let end = item.char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (*c == '}' || *c == ';') && depth == 0
        });
        rest = end.map_or("", |(at, _)| &item[at + 1..]);
    }
    kept + rest
}

/// The modules that a file names: `crate::net::…`, and each of `crate::{net, pool}`.
fn imports(source: &Source) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, path) in source.code.match_indices("crate::") {
        // `$crate::`, or a name that ends in crate, is none of ours.
        if source.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &source.code[at + path.len()..];
        let group = rest
            .strip_prefix('{')
            .map(|group| group.split('}').next().unwrap_or(group));
        for name in group.unwrap_or(rest).split(',') {
            let name: String = name
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            modules.extend(Some(name).filter(|name| !name.is_empty()));
            if group.is_none() {
                break;
            }
        }
    }
    modules
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What this file imports against the plan.
fn wrong_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    // lib.rs declares the modules; it is the plan, and has no place in it.
    if module == "lib" {
        return Vec::new();
    }
    let Some(own) = floor_of(module) else {
        return vec![format!("{}: module {module} has no floor", source.path)];
    };
    let known_only = KNOWS_ONLY.iter().find(|(name, _)| *name == module);
    imports(source)
        .iter()
        .filter(|import| *import != module)
        .filter_map(|import| {
            let wrong = match floor_of(import) {
                None => "which has no floor",
                Some(floor) if floor <= own => "which is not below it",
                Some(_) if known_only.is_some_and(|(_, all)| !all.contains(&import.as_str())) => {
                    "which it must not know"
                }
                Some(_) => return None,
            };
            Some(format!(
                "{}: {module} imports {import}, {wrong}",
                source.path
            ))
        })
        .collect()
}

impl Ban {
    fn concerns(&self, source: &Source) -> bool {
        let in_places = self
            .places
            .iter()
            .any(|place| source.path.starts_with(place));
        in_places == self.inside
    }

    fn broken(&self, source: &Source) -> Vec<String> {
        if !self.concerns(source) {
            return Vec::new();
        }
        let lines = source.code.lines().enumerate();
        lines
            .filter_map(|(number, line)| {
                let word = self.words.iter().find(|word| line.contains(*word))?;
                Some(format!(
                    "{}:{}: `{word}` in: {}",
                    source.path,
                    number + 1,
                    line.trim()
                ))
            })
            .collect()
    }
}

/// The direct dependencies of a manifest: the names, and whether they are packages of others.
fn dependencies(manifest: &str) -> BTreeMap<&str, bool> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), !value.contains("path =")))
        .filter(|(name, _)| !name.starts_with('#'))
        .collect()
}

/// The dependencies without a row "| `name` | …" in the README's table.
fn without_row<'a>(dependencies: &BTreeMap<&'a str, bool>, readme: &str) -> Vec<&'a str> {
    dependencies
        .iter()
        .filter(|(_, is_foreign)| **is_foreign)
        .map(|(name, _)| *name)
        .filter(|name| {
            let row = format!("| `{name}` |");
            !readme.lines().any(|line| line.starts_with(&row))
        })
        .collect()
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
}

fn undocumented(source: &Source) -> Option<String> {
    (!source.text.starts_with("//! ")).then(|| format!("{}: no //! at its top", source.path))
}

/// Fails with all of what is wrong, not with the first of it.
#[track_caller]
fn none(wrong: impl IntoIterator<Item = String>, rule: &str) {
    let mut list = String::new();
    for line in wrong {
        let _ = writeln!(list, "  {line}");
    }
    assert!(list.is_empty(), "against the rule: {rule}\n{list}");
}

#[test]
fn every_import_goes_down() {
    let sources = sources();
    let library = sources
        .iter()
        .filter(|source| source.path.starts_with("src/"));
    let library = library.filter(|source| !source.path.starts_with("src/sys/"));
    none(
        library.flat_map(wrong_imports),
        "a file imports only from rows below its own",
    );
}

#[test]
fn the_plan_has_each_module_once() {
    let mut planned: Vec<&str> = FLOORS.concat();
    planned.sort_unstable();
    let library = read("src/lib.rs");
    let mut declared: Vec<&str> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod ")))
        .filter_map(|line| line.strip_suffix(';'))
        .collect();
    declared.sort_unstable();
    assert_eq!(planned, declared);

    // And the map for readers is the plan that is checked: "| [`server`], [`demo`] | what it is |".
    let map: Vec<Vec<&str>> = library
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`")?.split("`] | ").next())
        .map(|modules| modules.split("`], [`").collect())
        .collect();
    assert_eq!(map, FLOORS);
}

#[test]
fn an_import_that_goes_up_or_sideways_is_found() {
    let wrong = |path, text| wrong_imports(&Source::new(path, text)).len();
    assert_eq!(wrong("src/pool/mod.rs", "use crate::session::run;"), 1);
    assert_eq!(
        wrong("src/pool/mod.rs", "use crate::{sync, session, log};"),
        2
    );
    assert_eq!(wrong("src/sync/mod.rs", "fn f(p: &crate::policy::P) {}"), 1);
    assert_eq!(wrong("src/net/connect.rs", "use crate::config::Config;"), 1);
    assert_eq!(wrong("src/net/connect.rs", "use crate::nowhere::Thing;"), 1);
    assert_eq!(wrong("src/attic.rs", "fn main() {}"), 1);

    assert_eq!(wrong("src/pool/mod.rs", "use crate::sync::Active;"), 0);
    assert_eq!(wrong("src/pool/lease.rs", "use crate::pool::Backend;"), 0);
    assert_eq!(wrong("src/pool/mod.rs", "// use crate::session::run;"), 0);
    let test = "#[cfg(test)]\nmod tests {\n    use crate::session::run;\n}\n";
    assert_eq!(wrong("src/pool/mod.rs", test), 0);
    let behind = format!("{test}use crate::session::run;");
    assert_eq!(wrong("src/pool/mod.rs", &behind), 1);
}

#[test]
fn nothing_stands_where_it_must_not() {
    for ban in BANS {
        none(
            sources().iter().flat_map(|source| ban.broken(source)),
            ban.name,
        );
    }
}

#[test]
fn each_ban_finds_what_breaks_it() {
    for ban in BANS {
        let at = |path| Source::new(path, ban.bad);
        let (inside, outside) = match ban.places {
            [] => (at("src/session.rs"), at("bin/evener.rs")),
            [place, ..] => (at(&format!("{place}/x.rs")), at("src/session.rs")),
        };
        let everywhere = ban.places.is_empty();
        let found = |source: &Source| !ban.broken(source).is_empty();
        assert_eq!(found(&inside), ban.inside || everywhere, "{}", ban.name);
        assert_eq!(found(&outside), !ban.inside, "{}", ban.name);
        for word in ban.words {
            let source = Source::new(&inside.path, &format!("a {word} b"));
            let source = match ban.inside || everywhere {
                true => source,
                false => Source::new("src/session.rs", &source.text),
            };
            assert!(found(&source), "{word} is not found: {}", ban.name);
        }
        for harmless in [
            format!("// {}", ban.bad),
            format!("let text = {:?};", ban.bad),
            format!("#[cfg(test)]\nmod tests {{ {} }}", ban.bad),
        ] {
            let path = if ban.inside {
                &inside.path
            } else {
                &outside.path
            };
            assert!(!found(&Source::new(path, &harmless)), "{harmless}");
        }
    }
}

#[test]
fn comments_texts_and_tests_are_left_out_and_nothing_else() {
    let code = |text: &str| Source::new("src/x.rs", text).code;
    assert_eq!(code("a /* b */ c // d\ne"), "a  c \ne");
    assert_eq!(code(r#"f("a \" b") g"#), "f(\"\") g");
    assert_eq!(code("f(r#\"a \" b\"#) g"), "f(\"\") g");
    assert_eq!(code("x('\"') y('\\'') z<'a>"), "x(\"\") y(\"\") z<'a>");
    assert_eq!(code("str\"x\" r"), "str\"\" r");
    assert_eq!(code("a #[cfg(test)] mod t { { } } b"), "a  b");
    assert_eq!(code("a #[cfg(test)] mod t; b"), "a  b");
    assert_eq!(code("a #[cfg(loom)] mod m { { } } b"), "a  b");
    assert_eq!(code("a #[cfg(any(loom, shuttle))] mod m { } b"), "a  b");
    assert_eq!(
        code("a #[cfg(not(loom))] use x; b"),
        "a #[cfg(not(loom))] use x; b"
    );
    assert_eq!(code("a #[cfg(test)] use x::{y, z}; b"), "a ; b");
    assert_eq!(code("\"two\nlines\" x"), "\n\"\" x");
}

#[test]
fn the_direct_dependencies_are_few() {
    let manifest = read("Cargo.toml");
    let all = dependencies(&manifest);
    assert!(all.len() > 3, "{all:?}");
    assert!(all.len() <= DIRECT_DEPENDENCIES_MAX, "{all:?}");
    let few =
        "[dependencies]\n# why\na = \"1\"\nb = { path = \"b\" }\n[dev-dependencies]\nc = \"1\"";
    assert_eq!(
        dependencies(few),
        BTreeMap::from([("a", true), ("b", false)])
    );
}

#[test]
fn every_dependency_has_its_row_in_the_readme() {
    let manifest = read("Cargo.toml");
    let all = dependencies(&manifest);
    assert_eq!(without_row(&all, &read("README.md")), [""; 0]);
    assert_eq!(
        without_row(&all, "prose about `ctrlc`").len(),
        all.values().filter(|is_foreign| **is_foreign).count()
    );
}

#[test]
fn no_file_is_longer_than_it_should_be() {
    none(sources().iter().filter_map(too_long), "at most 400 lines");
    assert!(too_long(&Source::new("src/x.rs", &"\n".repeat(401))).is_some());
    assert!(too_long(&Source::new("src/x.rs", &"\n".repeat(400))).is_none());
}

#[test]
fn every_file_says_at_its_top_what_it_is() {
    none(sources().iter().filter_map(undocumented), "a //! first");
    assert!(undocumented(&Source::new("src/x.rs", "use std::io;\n")).is_some());
}
