//! Single values, and what is said about wrong ones.

use super::super::value::*;
use humantime::format_duration;
use proptest::prelude::*;
use std::time::Duration;

fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_millis(1)).map_err(|problem| problem.into_parts().0)
}

#[test]
fn durations() {
    for (text, ms) in [
        ("1s", 1000),
        ("10m", 600_000),
        ("1h 30m", 5_400_000),
        ("1s500ms", 1500),
        (" 2 s ", 2000),
    ] {
        assert_eq!(seconds(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["5", "0", "1.5", "1000000000000000000000"] {
        assert!(seconds(text).unwrap_err().contains("has no unit"), "{text}");
    }
    for text in ["", "-1s", "s", "1 fortnight", "1s,", "forever", "1e3s"] {
        assert!(
            seconds(text).unwrap_err().contains("not a duration"),
            "{text}"
        );
    }
    for text in [
        "0s",
        "999us",
        "367days",
        "99999999999years",
        "18446744073709551615s 1000ms",
    ] {
        assert!(
            seconds(text).unwrap_err().contains("out of range"),
            "{text}"
        );
    }
    assert_eq!(duration("0s", Duration::ZERO).unwrap(), Duration::ZERO);
}

#[test]
fn numbers_and_shares() {
    assert_eq!(number("256", &(0..=256)).unwrap(), 256);
    for text in [
        "257",
        "99999999999999999999",
        "-1",
        "+1",
        "",
        "1.0",
        "1_000",
        "0x10",
    ] {
        let (_, help) = number(text, &(0..=256)).unwrap_err().into_parts();
        assert!(help.contains("0 to 256"), "{text}");
    }
    for (text, expected) in [
        ("0%", 0.0),
        ("10%", 0.1),
        ("2.5%", 0.025),
        ("50%", 0.5),
        ("0.07%", 0.0007),
    ] {
        assert_eq!(share(text, &(0.0..=0.5)).unwrap(), expected);
    }
    for text in [
        "10", "51%", "-1%", ".5%", "1.%", "1.234%", "NaN%", "%", "0.1",
    ] {
        let (_, help) = share(text, &(0.0..=0.5)).unwrap_err().into_parts();
        assert!(help.contains("0% to 50%"), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "[0-9a-z. %]{0,40}") {
        let _ = (duration(&text, Duration::ZERO), number(&text, &(0..=9)), share(&text, &(0.0..=0.5)));
    }

    #[test]
    fn printed_values_are_read_again(ms in 0_u64..=366 * 86_400_000, hundredths in 0_u32..=5000) {
        let (time, part) = (Duration::from_millis(ms), f64::from(hundredths) / 10_000.0);
        prop_assert_eq!(duration(&format_duration(time).to_string(), Duration::ZERO).unwrap(), time);
        prop_assert_eq!(share(&share_text(part), &(0.0..=0.5)).unwrap(), part);
    }
}
