//! What is different between two configs, in the words of the config.
//!
//! Both are compared as they print, so there is no key that could be forgotten here: what can be
//! configured is printed, and what is printed is compared.

use super::Config;
use super::yaml::{Node, Value, parse_trusted};
use std::fmt;

/// One difference from an old config to a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The new one has this in addition.
    Added(Item),
    /// The new one has this no more.
    Removed(Item),
    /// Both have it, and a key of it has another value.
    Changed {
        /// What has the key.
        item: Item,
        /// The key, or several with dots between them.
        key: String,
        /// The old value.
        old: String,
        /// The new value.
        new: String,
    },
}

/// A part of a config that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The config as a whole.
    Whole,
    /// A listener, by name.
    Listener(String),
    /// A pool, by name.
    Pool(String),
    /// A backend, by the names of its pool and its own.
    Backend(String, String),
}

impl Item {
    /// The lists of an item and what is in them.
    fn child(&self, key: &str, name: String) -> Option<Item> {
        match (self, key) {
            (Item::Whole, "listeners") => Some(Item::Listener(name)),
            (Item::Whole, "pools") => Some(Item::Pool(name)),
            (Item::Pool(pool), "backends") => Some(Item::Backend(pool.clone(), name)),
            _ => None,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Whole => f.write_str("config"),
            Item::Listener(name) => write!(f, "listener {name}"),
            Item::Pool(name) => write!(f, "pool {name}"),
            Item::Backend(pool, name) => write!(f, "backend {pool}/{name}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Added(item) => write!(f, "+ {item}"),
            Difference::Removed(item) => write!(f, "- {item}"),
            Difference::Changed {
                item: Item::Whole,
                key,
                old,
                new,
            } => write!(f, "~ {key} {old} → {new}"),
            Difference::Changed {
                item,
                key,
                old,
                new,
            } => write!(f, "~ {item} {key} {old} → {new}"),
        }
    }
}

/// Every difference from `old` to `new`, in the order of the file; first what is there, then what is
/// no more.
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    // A config prints to what loads again.
    if let (Some(old), Some(new)) = (parse_trusted(&old.to_yaml()), parse_trusted(&new.to_yaml())) {
        compare(&Item::Whole, "", Some(&old), Some(&new), &mut found);
    }
    found
}

/// Compares the value of one key of an item.
fn compare(
    item: &Item,
    key: &str,
    old: Option<&Node>,
    new: Option<&Node>,
    found: &mut Vec<Difference>,
) {
    match (value(old), value(new)) {
        (Some(Value::Map(old)), Some(Value::Map(new))) => {
            let only_old = old
                .iter()
                .filter(|(key, _)| find(new, &key.text).is_none())
                .map(|(key, node)| (key, Some(node), None));
            let in_new = new
                .iter()
                .map(|(key, node)| (key, find(old, &key.text), Some(node)));
            for (inner, old, new) in in_new.chain(only_old) {
                compare(item, &path(key, &inner.text), old, new, found);
            }
        }
        (Some(Value::List(old)), Some(Value::List(new)))
            if item.child(key, String::new()).is_some() =>
        {
            compare_items(item, key, old, new, found);
        }
        (old_value, new_value) => {
            let (old, new) = (shown(old_value), shown(new_value));
            if old != new {
                found.push(Difference::Changed {
                    item: item.clone(),
                    key: key.to_string(),
                    old,
                    new,
                });
            }
        }
    }
}

/// Compares two lists of things that have names.
fn compare_items(item: &Item, key: &str, old: &[Node], new: &[Node], found: &mut Vec<Difference>) {
    let named = |nodes: &[Node]| -> std::collections::HashMap<String, usize> {
        let names = nodes.iter().enumerate();
        names.map(|(place, node)| (name(node), place)).collect()
    };
    let (old_places, new_places) = (named(old), named(new));
    for node in new {
        let name = name(node);
        let Some(child) = item.child(key, name.clone()) else {
            continue;
        };
        match old_places.get(&name).and_then(|place| old.get(*place)) {
            Some(old) => compare(&child, "", Some(old), Some(node), found),
            None => {
                found.push(Difference::Added(child.clone()));
                // What is in it is new as well.
                if let (Item::Pool(_), Value::Map(keys)) = (&child, &node.value)
                    && let Some(Value::List(backends)) = value(find(keys, "backends"))
                {
                    compare_items(&child, "backends", &[], backends, found);
                }
            }
        }
    }
    for node in old {
        let name = name(node);
        if !new_places.contains_key(&name)
            && let Some(child) = item.child(key, name)
        {
            found.push(Difference::Removed(child));
        }
    }
}

fn value(node: Option<&Node>) -> Option<&Value> {
    node.map(|node| &node.value)
}

fn find<'a>(map: &'a [(super::yaml::Key, Node)], key: &str) -> Option<&'a Node> {
    map.iter()
        .find(|(other, _)| other.text == key)
        .map(|(_, node)| node)
}

/// The name of a listener, pool or backend; a backend without one is called by its address.
fn name(node: &Node) -> String {
    let Value::Map(keys) = &node.value else {
        return shown(Some(&node.value));
    };
    let name = find(keys, "name").or_else(|| find(keys, "address"));
    shown(value(name))
}

fn path(outer: &str, inner: &str) -> String {
    if outer.is_empty() {
        inner.to_string()
    } else {
        format!("{outer}.{inner}")
    }
}

/// A value on one line.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Nothing) => "off".to_string(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::List(items)) => {
            let items: Vec<String> = items.iter().map(|item| shown(Some(&item.value))).collect();
            format!("[{}]", items.join(", "))
        }
        Some(Value::Map(keys)) => {
            let keys: Vec<String> = keys
                .iter()
                .map(|(key, node)| format!("{}: {}", key.text, shown(Some(&node.value))))
                .collect();
            format!("{{{}}}", keys.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
listeners:
  - { name: web, bind: ":8080", pool: web }
  - { name: old, bind: ":8081", pool: db }
pools:
  - name: web
    backends: [{ name: a, address: "127.0.0.1:8000" }, { name: b, address: "127.0.0.1:8001" }, "127.0.0.1:8002"]
  - { name: db, health_check: off, backends: ["127.0.0.1:5432"] }
"#;

    const NEW: &str = r#"
listeners:
  - { name: web, bind: [":8080", ":8082"], pool: web, max_connections: 7 }
pools:
  - name: web
    balance: least_connections
    health_check: { interval: 5s }
    backends: [{ name: b, address: "127.0.0.1:8001", weight: 3 }, "127.0.0.1:8002", { name: c, address: "127.0.0.1:8003" }]
  - { name: cache, backends: [{ name: m, address: "127.0.0.1:11211" }] }
timeouts: { idle: off }
"#;

    fn lines(old: &str, new: &str) -> Vec<String> {
        let load = |text| Config::from_yaml("evener.yaml", text).unwrap();
        differences(&load(old), &load(new))
            .iter()
            .map(Difference::to_string)
            .collect()
    }

    #[test]
    fn every_difference_is_found_and_nothing_else() {
        assert_eq!(
            lines(OLD, NEW),
            [
                "~ listener web bind :8080 → [:8080, :8082]",
                "~ listener web max_connections off → 7",
                "- listener old",
                "~ pool web balance round_robin → least_connections",
                "~ pool web health_check.interval 2s → 5s",
                "~ backend web/b weight 1 → 3",
                "+ backend web/c",
                "- backend web/a",
                "+ pool cache",
                "+ backend cache/m",
                "- pool db",
                "~ timeouts.idle 10m → off",
            ]
        );
    }

    #[test]
    fn a_value_that_becomes_a_map_is_one_change() {
        let on = OLD.replace("health_check: off, ", "");
        let lines = lines(OLD, &on);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("~ pool db health_check off → {type: tcp, interval: 2s"));
    }

    #[test]
    fn a_list_of_what_has_no_name_is_compared_as_a_whole() {
        let with = |rules: &str| {
            let access = format!("pool: db, access: {{ rules: {rules} }} }}");
            OLD.replace("pool: db }", &access)
        };
        assert_eq!(
            lines(
                &with("[deny 10.0.0.1]"),
                &with("[deny 10.0.0.2, deny 10.0.0.3]")
            ),
            [
                "~ listener old access.rules [deny 10.0.0.1/32] → [deny 10.0.0.2/32, deny 10.0.0.3/32]"
            ]
        );
    }

    #[test]
    fn equal_configs_have_no_difference() {
        assert_eq!(lines(NEW, NEW), [""; 0]);
    }
}
