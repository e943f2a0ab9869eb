//! Single values: text to a duration, a number, a share, a word. What is wrong is told with the
//! range or the words that would be right; the reader above adds the key and the place.

use super::defaults;
use super::error::{Problem, quoted};
use super::words::{closest, is_later_value, not_implemented, unknown_value};
use crate::policy::balance::{self, Policy};
use humantime::{format_duration, parse_duration};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Digits of a duration, all its parts together. It keeps humantime's sum far below an overflow,
/// at which `Duration::new` would panic, and is more than 366 days in milliseconds need.
const DURATION_DIGITS_MAX: usize = 15;

/// A duration with its unit, `min` or longer and not beyond a year.
pub(super) fn duration(text: &str, min: Duration) -> Result<Duration, Problem> {
    let text = text.trim();
    let range = format!(
        "a duration from {} to 366days, with its unit: 500ms, 2s, 10m, 1h 30m",
        if min.is_zero() {
            "0s".to_string()
        } else {
            format_duration(min).to_string()
        }
    );
    let is_number = |char: char| char.is_ascii_digit() || char == '.';
    if !text.is_empty() && text.chars().all(is_number) {
        let help = format!("write `{text}s` or `{text}ms`");
        return Err(Problem::new(format!("{} has no unit", quoted(text)), help));
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let out_of_range = || format!("{} is out of range", quoted(text));
    if digits > DURATION_DIGITS_MAX {
        return Err(Problem::new(out_of_range(), range));
    }
    let what = match parse_duration(text) {
        Ok(duration) if (min..=defaults::DURATION_MAX).contains(&duration) => return Ok(duration),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => out_of_range(),
        Err(_) => format!("{} is not a duration", quoted(text)),
    };
    Err(Problem::new(what, range))
}

/// `off`, or what `read` makes of it.
pub(super) fn or_off<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    or_word(text, "off", read)
}

/// A word for "none", or what `read` makes of the text.
pub(super) fn or_word<T>(
    text: &str,
    none: &str,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    if text == none {
        return Ok(None);
    }
    read(text).map(Some).map_err(|problem| {
        let (what, help) = problem.into_parts();
        Problem::new(what, format!("{help}; or `{none}`"))
    })
}

/// A whole number in the range.
pub(super) fn number(text: &str, range: &RangeInclusive<u32>) -> Result<u32, Problem> {
    let help = format!("a whole number from {} to {}", range.start(), range.end());
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(Problem::new(
            format!("{} is not a whole number", quoted(text)),
            help,
        ));
    }
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(Problem::new(
            format!("{} is out of range", quoted(text)),
            help,
        )),
    }
}

/// A size in bytes within the range: `65536`, `64k` or `64KiB`, `1M` or `1MiB`.
pub(super) fn size(text: &str, range: &RangeInclusive<u32>) -> Result<u32, Problem> {
    let help = format!(
        "a size from {}k to {}M: 64k, 1M, or a number of bytes",
        range.start() >> 10,
        range.end() >> 20
    );
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..) {
        Some("") => Some(0),
        Some("k" | "K" | "KiB") => Some(10),
        Some("M" | "MiB") => Some(20),
        _ => None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let Some(shift) = shift.filter(|_| is_number) else {
        return Err(Problem::new(
            format!("{} is not a size", quoted(text)),
            help,
        ));
    };
    let bytes = digits.parse::<u32>().ok();
    match bytes.and_then(|number| number.checked_mul(1 << shift)) {
        Some(bytes) if range.contains(&bytes) => Ok(bytes),
        _ => Err(Problem::new(
            format!("{} is out of range", quoted(text)),
            help,
        )),
    }
}

/// A share, `10%` or `2.5%`, as a fraction of 1. Two digits after the point, so that it can be
/// written and read again without loss.
pub(super) fn share(text: &str, range: &RangeInclusive<f64>) -> Result<f64, Problem> {
    let help = format!(
        "a share from {}% to {}%",
        range.start() * 100.0,
        range.end() * 100.0
    );
    let hundredths = text.strip_suffix('%').and_then(|number| {
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let plain = |digits: &str, max| {
            (1..=max).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        (plain(whole, 3) && plain(part, 2))
            .then(|| format!("{whole}{part:0<2}").parse::<u32>().ok())?
    });
    let Some(hundredths) = hundredths else {
        return Err(Problem::new(
            format!("{} is not a share", quoted(text)),
            help,
        ));
    };
    let share = f64::from(hundredths) / 10_000.0;
    if !range.contains(&share) {
        return Err(Problem::new(
            format!("{} is out of range", quoted(text)),
            help,
        ));
    }
    Ok(share)
}

/// A share as text that [`share`] reads.
pub(super) fn share_text(share: f64) -> String {
    format!("{}%", (share * 10_000.0).round() / 100.0)
}

/// `true` or `false`; `off` is `false`.
pub(super) fn boolean(text: &str) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(Problem::new(
            format!("{} is not known", quoted(text)),
            "write `true` or `false`",
        )),
    }
}

/// One of the words.
pub(super) fn word<T: Clone>(
    key: &str,
    text: &str,
    choices: &[(&'static str, T)],
) -> Result<T, Problem> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(value.clone());
    }
    let known: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    if is_later_value(key, text) {
        let help = format!("implemented now: {}", known.join(", "));
        return Err(not_implemented(text, help));
    }
    Err(unknown_value(text, &known))
}

/// A balancing policy by its name.
pub(super) fn policy(text: &str) -> Result<&'static Policy, Problem> {
    if let Some(policy) = balance::by_name(text) {
        return Ok(policy);
    }
    let known: Vec<&'static str> = balance::names().collect();
    Err(unknown_value(text, &known))
}

/// The name of a listener, pool or backend.
pub(super) fn name(text: &str) -> Result<String, Problem> {
    let max = defaults::NAME_CHARS_MAX;
    let help = format!("a name has 1 to {max} characters, none of them a control character");
    if text.is_empty() {
        return Err(Problem::new("is empty", help));
    }
    if text.chars().count() > max {
        return Err(Problem::new(format!("{} is too long", quoted(text)), help));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::new(
            format!("{} has a control character", quoted(text)),
            help,
        ));
    }
    Ok(text.to_string())
}

/// The word of a list that was probably meant, as the beginning of a help text.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, known).map_or(String::new(), |near| format!("did you mean `{near}`? "))
}
