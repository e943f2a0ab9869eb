//! The `outlier_detection` of a pool: `off`, or a mapping in which every key has a default.

use std::fmt;

use super::defaults;
use super::reader::{Map, Reading};
use super::value::{duration, number};
use super::yaml::Node;
use crate::policy::outlier::Rules;

/// Left out, every default applies.
pub(super) fn read(node: Option<&Node>, reading: &mut Reading) -> Option<Rules> {
    let default = defaults::outlier_detection();
    let Some(node) = node else {
        return Some(default);
    };
    let help = "write `outlier_detection: off`, or a mapping: \
                        `outlier_detection: { consecutive_failures: 3 }`";
    let mut map = Map::or_off(node, "outlier_detection", help, reading)?;
    let failures = |text: &str| number(text, &defaults::STREAK_RANGE);
    let time = |text: &str| duration(text, defaults::TIMEOUT_MIN);
    let percent = |text: &str| {
        let text = text.strip_suffix('%').unwrap_or(text);
        number(text, &defaults::PERCENT_RANGE)
    };
    let rules = Rules {
        consecutive_failures: map.read(
            reading,
            "consecutive_failures",
            default.consecutive_failures,
            failures,
        ),
        ejection_time: map.read(reading, "ejection_time", default.ejection_time, time),
        max_ejection_time: map.read(
            reading,
            "max_ejection_time",
            default.max_ejection_time,
            time,
        ),
        max_ejection_percent: map.read(
            reading,
            "max_ejection_percent",
            default.max_ejection_percent,
            percent,
        ),
    };
    map.finish(reading);
    Some(rules)
}

/// As it loads again.
pub(super) fn write(out: &mut impl fmt::Write, rules: Option<&Rules>) -> fmt::Result {
    let Some(rules) = rules else {
        return writeln!(out, "    outlier_detection: off");
    };
    let time = humantime::format_duration;
    writeln!(out, "    outlier_detection:")?;
    writeln!(
        out,
        "      consecutive_failures: {}",
        rules.consecutive_failures
    )?;
    writeln!(out, "      ejection_time: {}", time(rules.ejection_time))?;
    writeln!(
        out,
        "      max_ejection_time: {}",
        time(rules.max_ejection_time)
    )?;
    writeln!(
        out,
        "      max_ejection_percent: {}",
        rules.max_ejection_percent
    )
}
