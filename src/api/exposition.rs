//! Prometheus's text format 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>): how
//! metrics are written. Which there are stands in [`super::metrics`].

use std::fmt::Write;

use crate::sync::Distribution;

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
    name: &'static str,
}

impl Page {
    /// Begins a metric.
    pub(super) fn head(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a String can't fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value of the metric that was begun last.
    pub(super) fn sample(&mut self, suffix: &str, labels: &str, value: impl std::fmt::Display) {
        let name = self.name;
        let _ = match labels {
            "" => writeln!(self.text, "{name}{suffix} {value}"),
            labels => writeln!(self.text, "{name}{suffix}{{{labels}}} {value}"),
        };
    }

    /// A whole histogram, of the metric that was begun last.
    pub(super) fn histogram(&mut self, labels: &str, distribution: &Distribution) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound_micros, count) in &distribution.up_to {
            let bound = *bound_micros as f64 / 1e6;
            self.sample("_bucket", &format!("{labels}{comma}le=\"{bound}\""), count);
        }
        let all = format!("{labels}{comma}le=\"+Inf\"");
        self.sample("_bucket", &all, distribution.count);
        self.sample("_sum", labels, distribution.sum_micros as f64 / 1e6);
        self.sample("_count", labels, distribution.count);
    }
}

/// The value of a label: a name may hold what the format takes for its own.
pub(super) fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Histogram;
    use std::time::Duration;

    #[test]
    fn a_histogram_counts_upwards_and_ends_with_all() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(300));
        histogram.observe(Duration::from_secs(1000));
        let mut page = Page::default();
        page.head("x_seconds", "histogram", "About x.");
        page.histogram("a=\"b\"", &histogram.read());
        let lines: Vec<&str> = page.text.lines().collect();
        assert_eq!(
            lines[..2],
            ["# HELP x_seconds About x.", "# TYPE x_seconds histogram"]
        );
        assert!(lines.contains(&"x_seconds_bucket{a=\"b\",le=\"0.00025\"} 0"));
        assert!(lines.contains(&"x_seconds_bucket{a=\"b\",le=\"0.0005\"} 1"));
        let end = &lines[lines.len() - 4..];
        assert_eq!(
            end,
            [
                "x_seconds_bucket{a=\"b\",le=\"600\"} 1",
                "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 2",
                "x_seconds_sum{a=\"b\"} 1000.0003",
                "x_seconds_count{a=\"b\"} 2",
            ]
        );
    }

    #[test]
    fn a_name_can_not_break_out_of_its_label() {
        assert_eq!(escaped("a\"} 1\nb\\"), "a\\\"} 1\\nb\\\\");
    }
}
