//! What is wrong with a config, and how it is shown.
//!
//! Inside this module the readers collect [`Problem`]s: a spot in the text, what is wrong, what
//! would be right. Once the file's name and text are at hand they become [`ConfigError`]s, which
//! stand alone and print themselves. Nothing that a user wrote reaches the terminal unescaped.

use std::fmt;

/// Errors that are reported in one go; a file that is wrong in more places is another kind of file.
pub(super) const ERRORS_MAX: usize = 20;
/// Characters of the offending line that are shown; longer lines are cropped around the column.
const LINE_CHARS_MAX: usize = 100;
/// Characters before the column that are kept when a line is cropped.
const CONTEXT_CHARS: usize = 40;
/// Characters of a user's own word that a message repeats.
const WORD_CHARS_MAX: usize = 60;

/// One thing that is wrong with a config. `Display` is the whole message, which begins with
/// `error: ` and has no newline at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong, in half a sentence.
    pub what: String,
    /// Where, when it is in a file that could be read.
    pub place: Option<Place>,
    /// What would be right.
    pub help: Option<String>,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// The line itself, without its end.
    pub line_text: String,
}

impl ConfigError {
    /// An error that is in no line of a file.
    pub(super) fn without_place(what: String, help: &str) -> ConfigError {
        ConfigError {
            what,
            place: None,
            help: (!help.is_empty()).then(|| help.to_string()),
        }
    }

    /// The same in one line, for a log: `evener.yaml:12:24: unknown key …; did you mean …?`
    pub fn one_line(&self) -> String {
        let mut line = String::new();
        if let Some(place) = &self.place {
            let Place {
                file,
                line: row,
                column,
                ..
            } = place;
            line = format!("{}:{row}:{column}: ", visible(file));
        }
        line.push_str(&visible(&self.what));
        if let Some(help) = &self.help {
            line.push_str("; ");
            line.push_str(&visible(help));
        }
        line
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", visible(&self.what))?;
        let mut gutter = "  ".to_string();
        if let Some(place) = &self.place {
            let row = place.line.to_string();
            gutter = " ".repeat(row.len());
            let (shown, marks) = excerpt(place);
            let (file, column) = (visible(&place.file), place.column);
            write!(f, "\n{gutter}--> {file}:{row}:{column}\n{gutter} |")?;
            write!(f, "\n{row} | {shown}\n{gutter} | {marks}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{gutter} = help: {}", visible(help))?;
        }
        Ok(())
    }
}

/// The line as it is shown, and below it the marks under the part that is meant.
fn excerpt(place: &Place) -> (String, String) {
    let chars: Vec<char> = place.line_text.chars().collect();
    let column = place.column.saturating_sub(1).min(chars.len());
    let start = if chars.len() <= LINE_CHARS_MAX {
        0
    } else {
        column.saturating_sub(CONTEXT_CHARS)
    };
    let end = chars.len().min(start + LINE_CHARS_MAX);
    let (mut shown, mut marks) = (String::new(), String::new());
    if start > 0 {
        shown.push_str("...");
        marks.push_str("   ");
    }
    for (index, &char) in chars.iter().enumerate().take(end).skip(start) {
        let text = if char == '\t' {
            " ".to_string()
        } else {
            visible(char.encode_utf8(&mut [0; 4]))
        };
        let meant = index >= column && index < column + place.width;
        // A hidden character is shown as several, and all of them are marked.
        let mark = if meant { "^" } else { " " };
        marks.push_str(&mark.repeat(text.chars().count()));
        shown.push_str(&text);
    }
    if end < chars.len() {
        shown.push_str("...");
    }
    if column >= end {
        marks.push('^');
    }
    (shown, marks.trim_end().to_string())
}

/// Would a terminal obey this character instead of showing it? Control characters, and those that
/// reorder or hide others.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every hidden character escaped.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}

/// A word of the user's, for a message: in backticks, and cropped when it is no word but a page.
pub(super) fn quoted(word: &str) -> String {
    if word.chars().count() <= WORD_CHARS_MAX {
        return format!("`{word}`");
    }
    let start: String = word.chars().take(WORD_CHARS_MAX).collect();
    format!("`{start}...`")
}

/// A part of the config's text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Something wrong, as its reader sees it: the file is not known yet, and often not the spot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    spot: Option<Spot>,
    what: String,
    help: String,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem {
            spot: None,
            what: what.into(),
            help: help.into(),
        }
    }

    pub(super) fn at(mut self, spot: Spot) -> Problem {
        self.spot = Some(spot);
        self
    }

    /// Says whose value it is: `weight` before "`300` is out of range".
    pub(super) fn of_key(mut self, key: &str) -> Problem {
        self.what = format!("{key} {}", self.what);
        self
    }

    /// What is wrong and what would be right, for a reader that shows no spot.
    pub(super) fn into_parts(self) -> (String, String) {
        (self.what, self.help)
    }
}

/// Problems as errors of that file, in the order of the file, each once, and not too many.
pub(super) fn located(file: &str, text: &str, mut problems: Vec<Problem>) -> Vec<ConfigError> {
    problems.sort();
    // An alias (`*name`) repeats what it stands for, with its mistakes.
    problems.dedup();
    let more = problems.len().saturating_sub(ERRORS_MAX);
    let mut errors: Vec<ConfigError> = problems
        .into_iter()
        .take(ERRORS_MAX)
        .map(|Problem { spot, what, help }| ConfigError {
            place: spot.map(|spot| place(file, text, spot)),
            ..ConfigError::without_place(what, &help)
        })
        .collect();
    if more > 0 {
        let what = format!("{file} has {more} more errors");
        errors.push(ConfigError::without_place(
            what,
            "the first of them explain most of the rest",
        ));
    }
    errors
}

/// Finds line and column of a spot. A spot outside the text is at its end.
fn place(file: &str, text: &str, spot: Spot) -> Place {
    let start = text.floor_char_boundary(spot.start);
    let end = text.floor_char_boundary(spot.end.max(start));
    let (before, after) = text.split_at(start);
    // A YAML line ends with LF, CRLF or CR.
    let is_break = |char| char == '\n' || char == '\r';
    let line_start = before.rfind(is_break).map_or(0, |index| index + 1);
    let line_end = after
        .find(is_break)
        .map_or(text.len(), |index| start + index);
    let part = |start, end| text.get(start..end).unwrap_or_default();
    let bare_returns = before.matches('\r').count() - before.matches("\r\n").count();
    Place {
        file: file.to_string(),
        line: 1 + before.matches('\n').count() + bare_returns,
        column: 1 + part(line_start, start).chars().count(),
        width: part(start, end.min(line_end).max(start))
            .chars()
            .count()
            .max(1),
        line_text: part(line_start, line_end).to_string(),
    }
}
