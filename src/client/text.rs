//! Numbers, durations, bytes and tables, for people. Everything that comes from the server goes
//! through [`field`] or [`printable_json`], so that nothing in it can play with the terminal.

use serde_json::Value;

use crate::config::{is_hidden, visible};

/// What is shown for nothing.
const NONE: &str = "-";

/// The longest word of a table, characters: four times what a name may have. One that a hostile server
/// has made as long as it likes would make every row as long.
const WORD_CHARS_MAX: usize = 256;

/// A field of an object as one word: text without control characters, a number, yes or no.
pub(super) fn field(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => NONE.to_owned(),
        Some(Value::String(text)) if text.is_empty() => NONE.to_owned(),
        Some(Value::String(text)) => visible(text),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(other) => visible(&other.to_string()),
    }
}

/// A whole number of an object.
pub(super) fn number(object: &Value, key: &str) -> Option<u64> {
    object.get(key)?.as_u64()
}

/// How many connections an object has by this key.
pub(super) fn connections(object: &Value, key: &str) -> String {
    match number(object, key) {
        Some(1) => "1 connection".to_owned(),
        _ => format!("{} connections", field(object, key)),
    }
}

/// A number of seconds of an object, as a duration.
pub(super) fn seconds(object: &Value, key: &str) -> String {
    let seconds = object.get(key).and_then(Value::as_f64);
    seconds.map_or(NONE.to_owned(), duration)
}

/// A number of bytes of an object.
pub(super) fn byte_count(object: &Value, key: &str) -> String {
    number(object, key).map_or(NONE.to_owned(), |count| bytes(count as f64))
}

/// The items of a list of an object; none when there is no list.
pub(super) fn items<'v>(object: &'v Value, key: &str) -> &'v [Value] {
    let list = object.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// The two largest units: `12s`, `3m12s`, `2h05m`, `3d04h`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.to_owned();
    }
    // The cast saturates.
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", whole % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// `812 B`, `1.2 MiB`.
pub(super) fn bytes(count: f64) -> String {
    let mut rest = count;
    let mut units = ["KiB", "MiB", "GiB", "TiB", "PiB"].iter();
    let mut unit = "B";
    while rest >= 1023.95
        && let Some(larger) = units.next()
    {
        rest /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{rest:.0} B"),
        _ => format!("{rest:.1} {unit}"),
    }
}

/// JSON as it came, but for characters that a terminal would obey: in JSON they stand in strings only,
/// where their numbers mean the same.
pub(super) fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for char in json.trim_end().chars() {
        if is_hidden(char) && char != '\n' {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(char);
        }
    }
    out.push('\n');
    out
}

/// Columns of words, as wide as their widest.
#[derive(Debug)]
pub(super) struct Table {
    /// The head; a name that ends in `>` is a column of numbers, aligned at the right.
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &'static [&'static str]) -> Table {
        Table {
            columns,
            rows: Vec::new(),
        }
    }

    /// One row: as many words as there are columns.
    pub(super) fn row(&mut self, words: impl IntoIterator<Item = String>) {
        self.rows.push(words.into_iter().map(cut).collect());
    }

    /// The lines, each with its end.
    pub(super) fn render(&self) -> String {
        let titles = self.columns.iter();
        let titles: Vec<String> = titles
            .map(|title| title.trim_end_matches('>').to_owned())
            .collect();
        let all = || std::iter::once(&titles).chain(&self.rows);
        let width = |column: usize| {
            let words = all().filter_map(|row| row.get(column));
            words.map(|word| word.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut out = String::new();
        for row in all() {
            let mut line = String::new();
            for ((word, width), title) in row.iter().zip(&widths).zip(self.columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                match title.ends_with('>') {
                    true => line.push_str(&format!("{word:>width$}")),
                    false => line.push_str(&format!("{word:<width$}")),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// The word, or as much of it as a table shows.
fn cut(mut word: String) -> String {
    if let Some((end, _)) = word.char_indices().nth(WORD_CHARS_MAX) {
        word.truncate(end);
        word.push('…');
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_have_their_two_largest_units() {
        for (seconds, text) in [
            (0.0, "0s"),
            (59.9, "59s"),
            (192.0, "3m12s"),
            (3600.0, "1h00m"),
            (7500.0, "2h05m"),
            (273_600.0, "3d04h"),
            (-1.0, "-"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn bytes_have_a_unit_and_four_digits_at_most() {
        for (count, text) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1024.0, "1.0 KiB"),
            (1_258_291.0, "1.2 MiB"),
            (1_048_575.0, "1.0 MiB"),
            (u64::MAX as f64, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn nothing_from_the_server_reaches_the_terminal_as_it_is() {
        let hostile = json!({"name": "a\u{1b}[2J\u{202e}\nb", "none": null, "yes": true, "n": 12});
        assert_eq!(field(&hostile, "name"), "a\\u{1b}[2J\\u{202e}\\nb");
        assert_eq!(field(&hostile, "none"), "-");
        assert_eq!(field(&hostile, "gone"), "-");
        assert_eq!(
            (field(&hostile, "yes"), field(&hostile, "n")),
            ("yes".into(), "12".into())
        );

        let raw = "{\"a\": \"x\u{9b}2J\u{e0001}\"}\n";
        let printed = printable_json(raw);
        assert_eq!(printed, "{\"a\": \"x\\u009b2J\\udb40\\udc01\"}\n");
        let same: Value = serde_json::from_str(raw).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), same);
    }

    #[test]
    fn a_word_of_a_hostile_server_is_cut() {
        let mut table = Table::new(&["NAME", "ACTIVE>"]);
        table.row(["ö".repeat(70_000), "1".repeat(70_000)]);
        table.row(["a".into(), "1".into()]);
        let text = table.render();
        assert!(text.len() < 10_000, "{} bytes", text.len());
        assert!(text.contains("öö…  111"), "{text}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let mut table = Table::new(&["NAME", "ACTIVE>", "WHY"]);
        table.row(["größer".into(), "7".into(), "".into()]);
        table.row(["a".into(), "12345678".into(), "x".into()]);
        let expected = "NAME      ACTIVE  WHY\ngrößer         7\na       12345678  x\n";
        assert_eq!(table.render(), expected);
    }
}
