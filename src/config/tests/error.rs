//! How errors look.

use super::super::error::*;

fn error_at(text: &str, meant: &str) -> ConfigError {
    let start = text.find(meant).unwrap();
    let spot = Spot {
        start,
        end: start + meant.len(),
    };
    let problem = Problem::new(
        "unknown key `intervall` in health_check",
        "did you mean `interval`?",
    );
    located("evener.yaml", text, vec![problem.at(spot)]).remove(0)
}

#[test]
fn an_error_shows_the_line_and_marks_the_word() {
    let text = "\n".repeat(11) + "    health_check: { intervall: 2s }\r\nnext: line\n";
    let error = error_at(&text, "intervall");
    let expected = "\
error: unknown key `intervall` in health_check
  --> evener.yaml:12:21
   |
12 |     health_check: { intervall: 2s }
   |                     ^^^^^^^^^
   = help: did you mean `interval`?";
    assert_eq!(error.to_string(), expected);
    assert_eq!(
        error.one_line(),
        "evener.yaml:12:21: unknown key `intervall` in health_check; did you mean `interval`?"
    );
}

#[test]
fn a_long_line_is_cropped_around_the_column() {
    let text = format!("{}here{}", "x".repeat(500), "y".repeat(500));
    let shown = error_at(&text, "here").to_string();
    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows[1].ends_with("evener.yaml:1:501"), "{shown}");
    assert!(rows[3].len() < 120 && rows[3].ends_with("y..."), "{shown}");
    assert_eq!(rows[4].find('^'), rows[3].find("here"), "{shown}");
}

#[test]
fn nothing_that_steers_a_terminal_is_printed() {
    let text = "a: \u{1b}[31m\u{202e}\tb\u{7f}: here";
    let mut error = error_at(text, "here");
    error.what = "unknown key `\u{1b}]0;title\u{7}`".to_string();
    let shown = error.to_string();
    assert!(
        !shown.chars().any(|char| char != '\n' && char.is_control()),
        "{shown:?}"
    );
    assert!(
        shown.contains(r"a: \u{1b}[31m\u{202e} b\u{7f}: here"),
        "{shown}"
    );
    let rows: Vec<&str> = shown.lines().collect();
    assert_eq!(rows[4].find('^'), rows[3].find("here"), "{shown}");
}

#[test]
fn a_spot_at_or_behind_the_end_is_shown_at_the_end() {
    for start in [3, 4, 99] {
        let spot = Spot {
            start,
            end: start + 1,
        };
        let errors = located("f", "ab\n", vec![Problem::new("w", "").at(spot)]);
        let place = errors[0].place.clone().unwrap();
        assert_eq!((place.line, place.column), (2, 1));
        assert!(errors[0].to_string().ends_with("\n  | ^"), "{}", errors[0]);
    }
}

#[test]
fn errors_come_in_file_order_once_and_not_by_the_hundred() {
    let spot = |start| Spot {
        start,
        end: start + 1,
    };
    let problem = |start: usize| Problem::new("wrong", "").at(spot(start));
    let problems = vec![problem(5), problem(1), problem(5)];
    let columns: Vec<usize> = located("f", "0123456789", problems)
        .iter()
        .map(|e| e.place.as_ref().unwrap().column)
        .collect();
    assert_eq!(columns, [2, 6]);

    let text = "x".repeat(100);
    let errors = located("f", &text, (0..100).map(problem).collect());
    assert_eq!(errors.len(), ERRORS_MAX + 1);
    assert!(errors[ERRORS_MAX].what.contains("80 more"));
}
