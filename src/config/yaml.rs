//! YAML text to a tree in which every key and value knows its place. It knows nothing of evener's
//! keys.
//!
//! The tree is built from the parser's events, not by a typed deserializer: so scalars keep their
//! text as written. `off` stays the word `off` (YAML 1.1 made it a boolean), `:8080` and `0755` stay
//! as they are, and it is the reader of a value, who knows what it means, who parses it. Tags and
//! merge keys are refused: they would be a second way to say things.

use super::error::{Problem, Spot, quoted};
use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, StrInput};
use std::collections::HashMap;

/// Nesting of lists and mappings; a config needs 6. It bounds the recursion.
const DEPTH_MAX: usize = 16;
/// Nodes of the tree, repeated ones (aliases) included. It bounds memory against alias bombs.
const NODES_MAX: usize = 50_000;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) spot: Spot,
    pub(super) value: Value,
}

/// What a value is as far as YAML goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing after the colon, `~` or `null`, unquoted.
    Nothing,
    /// A word, a number, a quoted string: unescaped, but not interpreted.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, each key once.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) spot: Spot,
    pub(super) text: String,
}

/// Reads one YAML document. A duplicate key is a problem, but the tree goes on with the first; what
/// is no YAML at all leaves no tree.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    parse_up_to(NODES_MAX, text, problems)
}

/// Reads what evener itself has written, however long; `None` if it was not.
pub(super) fn parse_trusted(text: &str) -> Option<Node> {
    parse_up_to(usize::MAX, text, &mut Vec::new())
}

fn parse_up_to(nodes_max: usize, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut options = Options::default();
    options.flow_nesting_limit = DEPTH_MAX;
    let mut builder = Builder {
        text,
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
        nodes_max,
        line: 0,
        problems,
    };
    match builder.document() {
        Ok(root) => Some(root),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

struct Builder<'t, 'p> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    /// Finished nodes that have an anchor (`&name`), by the parser's number for it.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    nodes_max: usize,
    /// Line of the event that was read last.
    line: usize,
    problems: &'p mut Vec<Problem>,
}

impl<'t> Builder<'t, '_> {
    /// The only document of the stream.
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, spot) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let help = "evener reads one document from a file: remove this `---` or what follows it";
                    return Err(Problem::new("a second YAML document begins here", help).at(spot));
                }
                Event::DocumentStart(..) => {
                    let (event, spot) = self.next()?;
                    root = Some(self.node(event, spot, 0)?);
                }
                Event::StreamEnd => break,
                _ => return Err(Problem::new("the YAML parser lost its way", "").at(spot)),
            }
        }
        let nothing = Node {
            spot: Spot { start: 0, end: 0 },
            value: Value::Nothing,
        };
        Ok(root.unwrap_or(nothing))
    }

    fn next(&mut self) -> Result<(Event<'t>, Spot), Problem> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                let start = span.start.byte_offset().unwrap_or(0);
                Ok((
                    event,
                    Spot {
                        start,
                        end: span.end.byte_offset().unwrap_or(start),
                    },
                ))
            }
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => Ok((
                Event::StreamEnd,
                Spot {
                    start: self.text.len(),
                    end: self.text.len(),
                },
            )),
        }
    }

    /// The node that begins with this event.
    fn node(&mut self, event: Event<'t>, spot: Spot, depth: usize) -> Result<Node, Problem> {
        if event.tag().is_some() {
            let what = "YAML tags (`!word`) mean nothing here";
            let help = "remove the tag; put a value that begins with `!` in quotes";
            return Err(Problem::new(what, help).at(spot));
        }
        self.count(1, spot)?;
        let anchor = event.anchor_id();
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(text.into_owned(), style),
            Event::SequenceStart(..) => self.list(deeper(depth, spot)?)?,
            Event::MappingStart(..) => self.map(deeper(depth, spot)?)?,
            Event::Alias(id) => return self.repeated(id, spot),
            _ => return Err(Problem::new("a value is missing", "").at(spot)),
        };
        let node = Node { spot, value };
        if let Some(id) = anchor {
            self.count(size(&node), spot)?;
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, spot) => items.push(self.node(event, spot, depth)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        loop {
            let (spot, text) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(text, ..), spot) => (spot, text.into_owned()),
                (_, spot) => {
                    let help = "a key is a plain word; put a value that begins with `[`, `{` or `*` in quotes";
                    return Err(Problem::new("this can't be a key", help).at(spot));
                }
            };
            let line = self.line;
            let (event, value_spot) = self.next()?;
            let mut node = self.node(event, value_spot, depth)?;
            if node.value == Value::Nothing {
                // There is nothing to point at, so a message points at the key.
                node.spot = spot;
            }
            if text == "<<" {
                let help = "repeat the keys, or share the whole value: `&name` where it stands, `*name` elsewhere";
                self.problems
                    .push(Problem::new("merge keys (`<<`) are not read", help).at(spot));
            } else if let Some(line) = lines.get(&text) {
                let what = format!("key {} is given twice", quoted(&text));
                let help = format!("the first is in line {line}: keep one of them");
                self.problems.push(Problem::new(what, help).at(spot));
            } else {
                lines.insert(text.clone(), line);
                entries.push((Key { spot, text }, node));
            }
        }
    }

    /// What an alias (`*name`) stands for. It keeps the place where it was written out, which is
    /// where a mistake in it has to be corrected.
    fn repeated(&mut self, id: usize, spot: Spot) -> Result<Node, Problem> {
        self.count(self.anchors.get(&id).map_or(0, size), spot)?;
        let what = "this alias stands for a value that contains it";
        self.anchors
            .get(&id)
            .cloned()
            .ok_or_else(|| Problem::new(what, "write it out").at(spot))
    }

    fn count(&mut self, nodes: usize, spot: Spot) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes > self.nodes_max {
            let what =
                format!("the config has more than {NODES_MAX} values, repeated ones included");
            return Err(Problem::new(
                what,
                "fewer aliases (`*name`), or several instances of evener",
            )
            .at(spot));
        }
        Ok(())
    }

    fn syntax_error(&self, error: &ScanError) -> Problem {
        let start = error.marker().byte_offset().unwrap_or(self.text.len());
        let start = self.text.floor_char_boundary(start);
        let (before, behind) = self.text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        let line = self.text.get(line_start..).unwrap_or(behind);
        let line = line.lines().next().unwrap_or("");
        // The two mistakes that addresses and editors invite.
        let help = if line.contains("[:") || line.contains("]:") {
            "an IPv6 address needs quotes: \"[::1]:8080\""
        } else if line.contains('\t') {
            "YAML is indented with spaces, never with tabs"
        } else {
            "look at the indentation, at brackets and quotes without their partner, and at values with `: ` or ` #` \
             in them, which need quotes"
        };
        let what = format!("this is not YAML: {}", error.info());
        Problem::new(what, help).at(Spot {
            start,
            end: start + 1,
        })
    }
}

fn scalar(text: String, style: ScalarStyle) -> Value {
    let nothing = matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    if nothing && style == ScalarStyle::Plain {
        Value::Nothing
    } else {
        Value::Text(text)
    }
}

fn deeper(depth: usize, spot: Spot) -> Result<usize, Problem> {
    if depth == DEPTH_MAX {
        let what = format!("values are nested more than {DEPTH_MAX} deep");
        return Err(Problem::new(what, "evener needs no more than 6").at(spot));
    }
    Ok(depth + 1)
}

/// Nodes in the tree below, this one included.
fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Nothing | Value::Text(_) => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| size(node)).sum(),
    }
}
