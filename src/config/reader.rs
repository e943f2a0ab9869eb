//! A small typed reader over the tree: it remembers which keys it was asked for, and so knows at
//! the end which ones nobody wanted. A value that is wrong becomes a problem, and the reading goes
//! on with the default, so that one run shows every mistake.

use super::check::Part;
use super::error::{Problem, Spot, quoted};
use super::words::unknown_key;
use super::yaml::{Key, Node, Value};
use std::collections::HashMap;

/// What one reading of a config gathers on its way.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What is wrong so far.
    pub(super) problems: Vec<Problem>,
    /// Where the parts stand that the checks of the whole may have to point at.
    pub(super) spots: HashMap<Part, Spot>,
    /// The keys of the sections that have been read, with the names of those: a key that stands a few
    /// columns off is in another one than it was meant for.
    sections: HashMap<&'static str, &'static str>,
}

/// One mapping that is being read.
#[derive(Debug)]
pub(super) struct Map<'n> {
    /// What it is, for messages: "listener", "health_check".
    section: &'static str,
    whole: Spot,
    is_mapping: bool,
    entries: &'n [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'n> Map<'n> {
    /// Begins to read a mapping. Nothing at all is an empty one, so that a section's only line may
    /// be commented out; anything else is a problem, and is read as an empty mapping too.
    pub(super) fn new(node: &'n Node, section: &'static str, reading: &mut Reading) -> Map<'n> {
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Nothing => &[],
            other => {
                let what = format!("{section} is {}, not a mapping", kind(other));
                let help =
                    "write `key: value` lines, further indented, or `{ key: value, key: value }`";
                reading
                    .problems
                    .push(Problem::new(what, help).at(node.spot));
                &[]
            }
        };
        Map {
            section,
            whole: node.spot,
            is_mapping: matches!(node.value, Value::Map(_) | Value::Nothing),
            entries,
            asked: Vec::new(),
        }
    }

    /// Begins to read a section that may be `off` instead: `None` then, and where it is neither.
    pub(super) fn or_off(
        node: &'n Node,
        section: &'static str,
        help: &str,
        reading: &mut Reading,
    ) -> Option<Map<'n>> {
        match &node.value {
            Value::Text(text) if text == "off" => None,
            Value::Map(_) | Value::Nothing => Some(Map::new(node, section, reading)),
            other => {
                let what = format!("{section} is {}", kind(other));
                reading
                    .problems
                    .push(Problem::new(what, help).at(node.spot));
                None
            }
        }
    }

    /// The value of a key, when it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        self.entries
            .iter()
            .find(|(found, _)| found.text == key)
            .map(|(_, node)| node)
    }

    /// Is the key there?
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(found, _)| found.text == key)
    }

    /// Where the value of a key stands, or else the whole.
    pub(super) fn spot(&self, key: &str) -> Spot {
        let found = self.entries.iter().find(|(found, _)| found.text == key);
        found.map_or(self.whole, |(_, node)| node.spot)
    }

    /// Says that a key is missing, unless the whole is none of the mappings that have keys.
    pub(super) fn missing(&self, reading: &mut Reading, key: &str, help: &str) {
        if self.is_mapping {
            let what = format!("this {} has no `{key}`", self.section);
            reading
                .problems
                .push(Problem::new(what, help).at(self.whole));
        }
    }

    /// The value of a key, read from its text; the default when it is left out or wrong.
    pub(super) fn read<T>(
        &mut self,
        reading: &mut Reading,
        key: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> T {
        let Some(node) = self.take(key) else {
            return default;
        };
        text(node, key)
            .and_then(|text| read(text).map_err(|problem| problem.of_key(key).at(node.spot)))
            .unwrap_or_else(|problem| {
                reading.problems.push(problem);
                default
            })
    }

    /// The items of a list; none when the key is left out. An empty list is a problem too.
    pub(super) fn list(&mut self, reading: &mut Reading, key: &'static str) -> Option<&'n [Node]> {
        let node = self.take(key)?;
        let what = match &node.value {
            Value::List(items) if !items.is_empty() => return Some(items),
            Value::List(_) => format!("{key} is an empty list"),
            other => format!("{key} is {}, not a list", kind(other)),
        };
        let help = "write one or more lines that begin with `- `, or `[a, b]`";
        reading
            .problems
            .push(Problem::new(what, help).at(node.spot));
        Some(&[])
    }

    /// Ends the reading: every key that nobody asked for is a problem.
    pub(super) fn finish(self, reading: &mut Reading) {
        for (key, _) in self.entries {
            if self.asked.contains(&key.text.as_str()) {
                continue;
            }
            let home = reading.sections.get(key.text.as_str()).copied();
            let problem = unknown_key(&key.text, self.section, &self.asked, home);
            reading.problems.push(problem.at(key.spot));
        }
        let keys = self.asked.into_iter();
        (reading.sections).extend(keys.map(|key| (key, self.section)));
    }
}

/// The text of a single value.
pub(super) fn text<'n>(node: &'n Node, key: &str) -> Result<&'n str, Problem> {
    let problem = match &node.value {
        Value::Text(text) => return Ok(text),
        Value::Nothing => Problem::new(
            format!("{key} has no value"),
            "leave the key out to get its default",
        ),
        other => {
            let what = format!("{key} is {}, not a single value", kind(other));
            Problem::new(what, "put a value with `[`, `{` or `: ` in it in quotes")
        }
    };
    Err(problem.at(node.spot))
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Nothing => "empty".to_string(),
        Value::Text(text) => format!("the single value {}", quoted(text)),
        Value::List(_) => "a list".to_string(),
        Value::Map(_) => "a mapping".to_string(),
    }
}
