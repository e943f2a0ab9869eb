//! The words of a config that evener does not take, and what it answers to them: values
//! that are promised for a later version, the words that other balancers use, and typing mistakes.

use super::aliases::{Aliases, KEY_ALIASES, VALUE_ALIASES};
use super::error::{Problem, quoted};

/// Values of a key that later versions know.
/// None at the moment.
const LATER_VALUES: &[(&str, &[&str])] = &[];

/// Is this value of this key for later?
pub(super) fn is_later_value(key: &str, value: &str) -> bool {
    LATER_VALUES
        .iter()
        .any(|(later, values)| *later == key && values.contains(&value))
}

/// Says that evener will have this one day. `thing` is what was written.
pub(super) fn not_implemented(thing: &str, help: impl Into<String>) -> Problem {
    let version = env!("CARGO_PKG_VERSION");
    Problem::new(
        format!("{} is not implemented in evener {version}", quoted(thing)),
        help,
    )
}

/// The answer to a key that a section does not have; `home` is one that has it.
pub(super) fn unknown_key(
    key: &str,
    section: &str,
    known: &[&'static str],
    home: Option<&str>,
) -> Problem {
    let what = format!("unknown key {} in {section}", quoted(key));
    Problem::new(
        what,
        suggestion(key, known, KEY_ALIASES, "known keys", home),
    )
}

/// The answer to a word that is none of the possible values.
pub(super) fn unknown_value(value: &str, known: &[&'static str]) -> Problem {
    let what = format!("{} is not known", quoted(value));
    Problem::new(what, suggestion(value, known, VALUE_ALIASES, "known", None))
}

fn suggestion(
    word: &str,
    known: &[&'static str],
    aliases: &Aliases,
    title: &str,
    home: Option<&str>,
) -> String {
    let mut list = known.join(", ");
    if known.is_empty() {
        list.push_str("none");
    }
    // Theirs that stand for a word which is possible here, each with ours.
    let pairs = aliases.iter().filter(|(ours, _)| known.contains(ours));
    let theirs: Vec<(&str, &str)> = pairs
        .flat_map(|(ours, theirs)| theirs.iter().map(|their| (*their, *ours)))
        .collect();
    let ours_for = |word: &str| {
        theirs
            .iter()
            .find(|(their, _)| *their == word)
            .map(|(_, ours)| *ours)
    };
    // Between two or three letters, one letter of difference means nothing.
    let long = theirs
        .iter()
        .map(|(their, _)| *their)
        .filter(|their| their.len() > 4);
    if let Some(right) = ours_for(word) {
        format!("evener calls it `{right}`; {title}: {list}")
    } else if let Some(home) = home {
        format!("it is a key of {home}: indent it as the others there; {title} here: {list}")
    } else if let Some(near) = closest(word, known.iter().copied()) {
        format!("did you mean `{near}`? {title}: {list}")
    } else if let Some(right) = closest(word, long).and_then(ours_for) {
        format!("did you mean `{right}`? {title}: {list}")
    } else {
        format!("{title}: {list}")
    }
}

/// The candidate that differs from the word by so little that it was probably meant: a third of
/// its letters, one at least. Case and `-` for `_` count as nothing.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Distances take time in the product of the lengths, and nobody mistypes a page.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let plain = candidate.replace('-', "_");
            (strsim::damerau_levenshtein(&word, &plain), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
