//! Byte strings: `send` and `expect` of a health check.
//!
//! What YAML makes of the value is read once more: each character stands for its byte, and a backslash
//! begins an escape: `\r \n \t \0 \\ \"` and `\xHH`, two hexadecimal digits, for any byte. So
//! `'PING\r\n'` and `PING\r\n` are six bytes by the escapes here; `"PING\r\n"` is the same six bytes
//! by those of YAML, which leaves CR and LF for the reader here. Only in double quotes does YAML touch
//! backslashes: a backslash itself is `'\\'` or `"\\\\"`.
//!
//! Characters beyond ASCII are errors, since they could mean two things: YAML's `"\xff"` is the
//! *character* ÿ, two bytes in UTF-8. The byte is written `'\xff'`.

use std::ops::RangeInclusive;

use super::error::{Problem, quoted};

/// The bytes that a text stands for; `range` is how many there may be.
pub(super) fn read(text: &str, range: &RangeInclusive<usize>) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        bytes.push(match char {
            '\\' => escape(&mut chars)?,
            _ => u8::try_from(char)
                .ok()
                .filter(u8::is_ascii)
                .ok_or_else(|| {
                    let what = format!("{} has `{char}`, which is not ASCII", quoted(text));
                    Problem::new(
                        what,
                        "write each of its bytes as \\xHH, in single quotes: '\\xff'",
                    )
                })?,
        });
    }
    if !range.contains(&bytes.len()) {
        let what = match bytes.is_empty() {
            true => "is empty".to_owned(),
            false => format!("has {} bytes", bytes.len()),
        };
        let help = format!("{} to {} bytes", range.start(), range.end());
        return Err(Problem::new(what, help));
    }
    Ok(bytes)
}

/// The byte of an escape whose backslash has been read.
fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, Problem> {
    let rest = chars.as_str();
    let byte = match chars.next() {
        Some('r') => Some(b'\r'),
        Some('n') => Some(b'\n'),
        Some('t') => Some(b'\t'),
        Some('0') => Some(0),
        Some('\\') => Some(b'\\'),
        Some('"') => Some(b'"'),
        Some('x') => {
            let digit = |char: Option<char>| char?.to_digit(16);
            let (high, low) = (digit(chars.next()), digit(chars.next()));
            high.zip(low)
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
        }
        _ => None,
    };
    byte.ok_or_else(|| {
        let length = if rest.starts_with('x') { 3 } else { 1 };
        let shown: String = rest.chars().take(length).collect();
        let what = format!("{} is no escape", quoted(&format!("\\{shown}")));
        Problem::new(
            what,
            "escapes are \\r \\n \\t \\0 \\\\ \\\" and \\xHH, with two digits",
        )
    })
}

/// Bytes as text that [`read`] reads to the same.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: RangeInclusive<usize> = 0..=100_000;

    #[test]
    fn each_escape_is_a_byte() {
        for (text, bytes) in [
            ("", b"".as_slice()),
            (r"PING\r\n", b"PING\r\n"),
            ("PING\r\n", b"PING\r\n"),
            (r#"\t\0\\\"\x00\xfF~"#, b"\t\0\\\"\0\xff~"),
            ("\0 \u{7f}", b"\0 \x7f"),
        ] {
            assert_eq!(read(text, &ANY).unwrap(), bytes, "{text:?}");
        }
        for text in [r"\", r"\q", r"\x", r"\x1", r"\xg0", r"\x+1", "\u{ff}", "→"] {
            assert!(read(text, &ANY).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(read(&escaped(&bytes), &ANY).unwrap(), bytes);
        }
    }
}
