//! What evener is made of beside its own code: whose licences, which crates, how often, from where. The
//! rules are those of `deny.toml`, read by this test, so that cargo-deny and it can't disagree; what this
//! test does not understand there fails. Each rule is also run over something that breaks it.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// `section.key` and its values; a word is a list of one, `{ crate = "x", … }` is `x`.
type Rules = BTreeMap<String, Vec<String>>;

/// The rules that are checked here. Another one in the file would be checked by cargo-deny alone.
const KNOWN: [&str; 8] = [
    "bans.deny",
    "bans.multiple-versions",
    "bans.skip",
    "graph.targets",
    "licenses.allow",
    "licenses.unused-allowed-license",
    "sources.unknown-git",
    "sources.unknown-registry",
];

/// Needs the list of known holes, which is not here.
const FOR_CARGO_DENY: &str = "advisories.yanked";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn quoted(text: &str) -> Option<String> {
    Some(text.strip_prefix('"')?.strip_suffix('"')?.to_string())
}

/// An entry of a list: a text, or a crate with the reason for its being there.
fn entry(line: &str) -> Option<String> {
    let line = line.strip_suffix(',')?;
    let Some(of_crate) = line.strip_prefix("{ crate = ") else {
        return quoted(line);
    };
    let (name, reason) = of_crate.strip_suffix(" }")?.split_once(", reason = ")?;
    let has_reason = quoted(reason).is_some_and(|reason| !reason.is_empty());
    quoted(name).filter(|_| has_reason)
}

/// As much TOML as `deny.toml` needs; an error names the line that is more than that.
fn rules(text: &str) -> Result<Rules, String> {
    let (mut rules, mut section, mut list) = (Rules::new(), String::new(), None::<String>);
    for line in text.lines().map(str::trim) {
        let not_understood = || format!("not understood: {line}");
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(key) = &list {
            match line {
                "]" => list = None,
                _ => (rules.get_mut(key).unwrap()).push(entry(line).ok_or_else(not_understood)?),
            }
        } else if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_string();
        } else {
            let (key, value) = line.split_once(" = ").ok_or_else(not_understood)?;
            let key = format!("{section}.{key}");
            let values = match value {
                "[" => {
                    list = Some(key.clone());
                    Vec::new()
                }
                word => vec![quoted(word).ok_or_else(not_understood)?],
            };
            if rules.insert(key, values).is_some() {
                return Err(not_understood());
            }
        }
    }
    Ok(rules)
}

/// The rules that this test does not check, and those it checks that are missing or not strict.
fn loose(rules: &Rules) -> Vec<String> {
    let mut loose: Vec<String> = (rules.keys())
        .filter(|key| !KNOWN.contains(&key.as_str()) && *key != FOR_CARGO_DENY)
        .map(|key| format!("{key}: not checked here"))
        .collect();
    for key in KNOWN {
        let values = rules.get(key).map_or(&[][..], Vec::as_slice);
        let is_list = ["allow", "deny", "skip", "targets"].iter().any(|list| {
            key.rsplit_once('.')
                .is_some_and(|(_, last)| last.starts_with(list))
        });
        if (is_list && !rules.contains_key(key)) || (!is_list && values != ["deny"]) {
            loose.push(format!("{key}: {values:?}"));
        }
    }
    loose
}

/// What cargo knows of every crate that is built for one of these targets, dev-dependencies included.
fn metadata(targets: &[String]) -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    for target in targets {
        cargo.args(["--filter-platform", target]);
    }
    let output = cargo.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().unwrap()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// Stand for a pair of brackets that is worked out; no licence has such a name.
const YES: &str = "\0yes";
const NO: &str = "\0no";

/// Is one way to fulfil this SPDX expression allowed? `AND` binds closer than `OR`; an old `/` is an `OR`.
/// What was allowed on the way is put into `used`.
fn is_allowed<'a>(licence: &str, allowed: &'a [String], used: &mut BTreeSet<&'a str>) -> bool {
    // The innermost pair of brackets first: its value stands for it from then on.
    if let Some(close) = licence.find(')')
        && let Some(open) = licence[..close].rfind('(')
    {
        let inside = is_allowed(&licence[open + 1..close], allowed, used);
        let value = if inside { YES } else { NO };
        let rest = format!("{}{value}{}", &licence[..open], &licence[close + 1..]);
        return is_allowed(&rest, allowed, used);
    }
    let mut term = |term: &str| match term.trim() {
        YES => true,
        term => match allowed.iter().find(|allowed| *allowed == term) {
            Some(allowed) => {
                used.insert(allowed);
                true
            }
            None => false,
        },
    };
    let licence = licence.replace('/', " OR ");
    let ways = licence.split(" OR ").map(|way| {
        let terms: Vec<bool> = way.split(" AND ").map(&mut term).collect();
        terms.iter().all(|fine| *fine)
    });
    ways.collect::<Vec<bool>>().contains(&true)
}

/// Crates whose licence is not allowed, and allowed licences of no crate.
fn licences(packages: &[Value], allowed: &[String]) -> Vec<String> {
    let mut used = BTreeSet::new();
    let mut wrong: Vec<String> = packages
        .iter()
        .filter(|package| !is_allowed(text(package, "license"), allowed, &mut used))
        .map(|package| format!("{}: {}", text(package, "name"), package["license"]))
        .collect();
    let unused = (allowed.iter()).filter(|licence| !used.contains(licence.as_str()));
    wrong.extend(unused.map(|licence| format!("{licence}: allowed, and needed by none")));
    wrong
}

/// The crates of a lock file, whatever system they are for, that are banned.
fn banned<'a>(lock: &'a str, banned: &[String]) -> Vec<&'a str> {
    lock.lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| banned.iter().any(|banned| banned == name))
        .collect()
}

/// Crates that are there in more than one version, without those that are skipped (`syn@2`: each 2.x.y);
/// and skips that are for nothing.
fn duplicates(packages: &[Value], skips: &[String]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let of_name = versions.entry(text(package, "name")).or_default();
        of_name.push(text(package, "version"));
    }
    versions.retain(|_, versions| versions.len() > 1);
    let skips_it = |skip: &str, name: &str, version: &str| {
        skip.split_once('@').is_some_and(|(skipped, major)| {
            skipped == name && version.split_once('.').is_some_and(|(m, _)| m == major)
        })
    };
    let idle = skips.iter().filter(|skip| {
        let mut all = versions
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |version| (name, version)));
        !all.any(|(name, version)| skips_it(skip, name, version))
    });
    let mut wrong: Vec<String> = idle
        .map(|skip| format!("{skip}: a skip of nothing"))
        .collect();
    for (name, versions) in &mut versions {
        versions.retain(|version| !skips.iter().any(|skip| skips_it(skip, name, version)));
        if versions.len() > 1 {
            wrong.push(format!("{name}: {}", versions.join(", ")));
        }
    }
    wrong
}

/// Crates that are neither of this workspace nor of the default registry.
fn foreign(metadata: &Value) -> Vec<String> {
    let members = metadata["workspace_members"].as_array().unwrap();
    let mut foreign = Vec::new();
    for package in packages(metadata) {
        let is_ours = members.contains(&package["id"]);
        let source = text(package, "source");
        if !is_ours && !source.starts_with("registry+") {
            foreign.push(format!("{}: from {source:?}", text(package, "name")));
        }
        // The default registry has no name here. Crates of it depend on nothing outside of it.
        for dependency in package["dependencies"].as_array().unwrap() {
            if is_ours && !dependency["registry"].is_null() {
                foreign.push(format!("{}: a registry", text(dependency, "name")));
            }
        }
    }
    foreign
}

#[test]
fn the_rules_are_strict_and_understood() {
    assert_eq!(loose(&rules(&read("deny.toml")).unwrap()), [""; 0]);

    let more = rules("[bans]\nmultiple-versions = \"warn\"\nskip-tree = [\n]\n").unwrap();
    let found = loose(&more);
    assert!(found.contains(&"bans.skip-tree: not checked here".into()));
    assert!(found.contains(&"bans.multiple-versions: [\"warn\"]".into()));
    assert!(found.contains(&"licenses.allow: []".into()));
    for bad in [
        "[a]\nb = true",
        "[a]\nb = [\"c\"]",
        "[a]\nb = [\n\"c\"\n]",
        "[a]\nb = [\n{ crate = \"c\" },\n]",
        "[a]\nb = [\n{ crate = \"c\", reason = \"\" },\n]",
        "[a]\nb = \"c\"\nb = \"d\"",
        "[[a]]b",
    ] {
        assert!(rules(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_licence_is_allowed() {
    let rules = rules(&read("deny.toml")).unwrap();
    let metadata = metadata(&rules["graph.targets"]);
    assert!(packages(&metadata).len() > 20);
    let allowed = &rules["licenses.allow"];
    assert_eq!(licences(packages(&metadata), allowed), [""; 0]);

    let allowed = ["MIT", "Unicode-3.0"].map(String::from);
    let check = |licence: &str| is_allowed(licence, &allowed, &mut BTreeSet::new());
    assert!(check("MIT") && check("GPL-3.0 OR MIT") && check("Apache-2.0/MIT"));
    assert!(check("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(check("Zlib OR (Unicode-3.0 AND (GPL-3.0 OR MIT))"));
    assert!(!check("") && !check("GPL-3.0") && !check("MIT AND GPL-3.0"));
    assert!(!check("MIT WITH something") && !check("(MIT OR Zlib) AND GPL-3.0"));
    assert!(!check("(Zlib OR GPL-3.0) AND MIT"));
    let one = [
        json!({"name": "a", "license": "GPL-3.0 OR MIT"}),
        json!({"name": "b"}),
    ];
    assert_eq!(
        licences(&one, &allowed),
        ["b: null", "Unicode-3.0: allowed, and needed by none"]
    );
}

#[test]
fn no_banned_crate_comes_along() {
    let rules = rules(&read("deny.toml")).unwrap();
    let lock = read("Cargo.lock");
    assert!(lock.contains("name = \"evener\""), "not our lock file");
    let deny = &rules["bans.deny"];
    for runtime in ["tokio", "mio", "async-std", "smol", "futures-executor"] {
        assert!(deny.iter().any(|name| name == runtime), "{runtime}");
    }
    assert_eq!(banned(&lock, deny), [""; 0]);
    assert_eq!(banned("name = \"mio\"\nname = \"miow\"", deny), ["mio"]);
}

#[test]
fn no_crate_is_there_twice() {
    let rules = rules(&read("deny.toml")).unwrap();
    let metadata = metadata(&rules["graph.targets"]);
    assert_eq!(
        duplicates(packages(&metadata), &rules["bans.skip"]),
        [""; 0]
    );

    let crates = [
        ("a", "1.0.0"),
        ("a", "2.0.0"),
        ("a", "2.1.0"),
        ("b", "1.0.0"),
    ];
    let crates = crates.map(|(name, version)| json!({"name": name, "version": version}));
    let check = |skips: &[&str]| {
        let skips: Vec<String> = skips.iter().map(|skip| (*skip).to_string()).collect();
        duplicates(&crates, &skips)
    };
    assert_eq!(check(&[]), ["a: 1.0.0, 2.0.0, 2.1.0"]);
    assert_eq!(check(&["a@1"]), ["a: 2.0.0, 2.1.0"]);
    assert_eq!(check(&["a@2"]), [""; 0]);
    assert_eq!(check(&["a@2", "b@1"]), ["b@1: a skip of nothing"]);
}

#[test]
fn every_crate_is_ours_or_of_the_default_registry() {
    let rules = rules(&read("deny.toml")).unwrap();
    assert_eq!(foreign(&metadata(&rules["graph.targets"])), [""; 0]);

    let package = |name: &str, source: Value, registry: Value| {
        let dependencies = json!([{"name": "far", "registry": registry}]);
        json!({"id": name, "name": name, "source": source, "dependencies": dependencies})
    };
    let all = json!({"workspace_members": ["ours"], "packages": [
        package("ours", Value::Null, json!("elsewhere")),
        package("fine", json!("registry+x"), Value::Null),
        package("by-git", json!("git+x"), Value::Null),
        package("by-path", Value::Null, Value::Null),
    ]});
    assert_eq!(
        foreign(&all),
        [
            "far: a registry",
            "by-git: from \"git+x\"",
            "by-path: from \"\""
        ]
    );
}
