//! How values read in a line of the log. There is a line for each session, so nothing here allocates, and
//! times are divided as the integers that they are, which costs less than the digits of a float.

use std::fmt::{self, Display, Formatter, Write};
use std::time::Duration;

/// Milliseconds, with so many decimals; three at most.
pub(super) struct Millis<const DECIMALS: usize>(pub(super) Duration);

impl<const DECIMALS: usize> Display for Millis<DECIMALS> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let scale = 10_u64.pow(DECIMALS as u32);
        let micros_each = 1000 / scale;
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        let units = micros.saturating_add(micros_each / 2) / micros_each;
        write!(f, "{}.{:0DECIMALS$}", units / scale, units % scale)
    }
}

/// What is known; `-` for what is not.
pub(super) struct OrDash<T>(pub(super) Option<T>);

impl<T: Display> Display for OrDash<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_char('-'),
        }
    }
}

/// Is this text what the value is written as?
pub(super) fn reads_as(text: &str, value: &impl Display) -> bool {
    /// What of the text is still to come.
    struct Rest<'a>(&'a str);

    impl Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    let mut rest = Rest(text);
    write!(rest, "{value}").is_ok() && rest.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_to_their_decimals() {
        let three = |micros| Millis::<3>(Duration::from_micros(micros)).to_string();
        assert_eq!(
            [three(0), three(7), three(1_234_567)],
            ["0.000", "0.007", "1234.567"]
        );
        let two = |micros| Millis::<2>(Duration::from_micros(micros)).to_string();
        assert_eq!(
            [two(4), two(5), two(994), two(995)],
            ["0.00", "0.01", "0.99", "1.00"]
        );
        assert!(Millis::<2>(Duration::MAX).to_string().starts_with("1844"));
    }

    #[test]
    fn a_text_reads_as_a_value_when_it_is_all_of_it() {
        let address: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert!(reads_as("127.0.0.1:80", &address));
        for other in ["127.0.0.1:8", "127.0.0.1:800", "a", ""] {
            assert!(!reads_as(other, &address), "{other}");
        }
    }
}
