//! The token: a word that every request has to bring along.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The shortest token, characters: 16 random ones of base64 are 96 bits.
const CHARS_MIN: usize = 16;
/// The longest token, bytes: it has to fit into the head of a request beside everything else.
const BYTES_MAX: usize = 1024;
/// Read permission for everybody.
const MODE_WORLD_READABLE: u32 = 0o004;

/// A token. It is never printed.
pub struct Token(Vec<u8>);

impl Token {
    /// The token, or what it lacks.
    pub(super) fn new(text: &str) -> Result<Token, &'static str> {
        let text = text.trim();
        if text.len() < CHARS_MIN {
            return Err("has fewer than 16 characters");
        }
        if text.len() > BYTES_MAX {
            return Err("has more than 1024 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has characters other than printable ASCII, or spaces");
        }
        Ok(Token(text.into()))
    }

    /// Reads it from a file; true says that every user of the machine may do so.
    ///
    /// # Errors
    ///
    /// Those of open(2) and read(2); the file has no token, or one that is too short.
    pub fn read(path: &Path) -> io::Result<(Token, bool)> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut text = String::new();
        file.take(2 * BYTES_MAX as u64).read_to_string(&mut text)?;
        let invalid =
            |what| io::Error::new(io::ErrorKind::InvalidData, format!("the token {what}"));
        let token = Token::new(&text).map_err(invalid)?;
        Ok((token, mode & MODE_WORLD_READABLE != 0))
    }

    /// Compares in a time that does not depend on where the first difference is, so that a token
    /// can't be found out character by character. (Its length can.)
    pub(super) fn matches(&self, offered: &str) -> bool {
        let offered = offered.as_bytes();
        let differences = self
            .0
            .iter()
            .zip(offered)
            .fold(0, |so_far, (ours, theirs)| {
                // Else the compiler may see that one difference is enough.
                black_box(so_far | (ours ^ theirs))
            });
        self.0.len() == offered.len() && differences == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_plain() {
        assert!(Token::new(" 0123456789abcdef\n").is_ok());
        for bad in [
            "",
            "short",
            "0123456789 abcdef",
            "0123456789abcdeé",
            "0123456789\u{7}abcdef",
        ] {
            assert!(Token::new(bad).is_err(), "{bad}");
        }
        assert!(Token::new(&"x".repeat(BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.matches("0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "x123456789abcdef",
        ] {
            assert!(!token.matches(other), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }
}
