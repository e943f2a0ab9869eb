//! What the kernel says of the threads of this process, as the tour of the demo shows it.

use std::fs;

/// What threads do, by the beginning of their names.
const THREADS: [(&str, &str); 14] = [
    (
        "evener",
        "the server: waits for signals and for changes that somebody asks for",
    ),
    (
        "listen",
        "accepts clients, and hands each to a parked thread",
    ),
    (
        "health",
        "owns every health state; waits until the next probe is due",
    ),
    (
        "reaper",
        "ends sessions in which nothing has moved for too long",
    ),
    (
        "log",
        "writes these lines; everybody else sends them over a channel",
    ),
    ("parked", "waits for a job, to be woken by unpark"),
    ("admin", "the status page and the API"),
    ("names", "has host names looked up; the demo has none"),
    ("ctrl-c", "waits for Ctrl-C"),
    ("sigusr2", "waits for the order to upgrade"),
    ("demo", "reads what you type, and tells this"),
    ("dummy", "a backend of the demo"),
    (
        "probe",
        "has just asked a backend how it is, and will be parked",
    ),
    ("hangup", "waits for the order to read the config again"),
];

/// Numbers and names of the threads of this process, as the kernel has them.
pub(super) fn names() -> Vec<(u32, String)> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    // A thread may end between the two looks.
    let name = |task: fs::DirEntry| {
        let id = task.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((id, name.trim_end().to_string()))
    };
    let mut names: Vec<(u32, String)> = tasks.filter_map(name).collect();
    names.sort_unstable();
    names
}

/// A table of those whose name is chosen; of several that do the same only how many there are.
pub(super) fn threads(choose: impl Fn(&str) -> bool) -> String {
    let mut table = String::from("    TID      NAME               WHAT IT DOES\n");
    let mut shown: Vec<&str> = Vec::new();
    let names = names();
    for (id, name) in names.iter().filter(|(_, name)| choose(name)) {
        let same = names.iter().filter(|(_, other)| other == name).count();
        if shown.contains(&name.as_str()) {
            continue;
        }
        shown.push(name);
        let more = match same {
            1 => String::new(),
            _ => format!(" (and {} more)", same - 1),
        };
        table.push_str(&format!(
            "    {id:<8} {name:<18} {}{more}\n",
            what_it_does(name)
        ));
    }
    table
}

/// The numbers of the threads of a session.
pub(super) fn ids_of_session() -> (u32, u32) {
    let names = names();
    let id = |sign| {
        let mut found = names.iter().filter(|(_, name)| is_of_session(name, sign));
        found.next().map_or(0, |(id, _)| *id)
    };
    (id('>'), id('<'))
}

/// Is it the name of a thread of a session, like `c12>127.0.0.1:80`?
pub(super) fn is_of_session(name: &str, sign: char) -> bool {
    name.strip_prefix('c')
        .and_then(|rest| rest.split_once(sign))
        .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn what_it_does(name: &str) -> &'static str {
    if is_of_session(name, '>') {
        return "client to backend, asleep in recv";
    }
    if is_of_session(name, '<') {
        return "backend to client, asleep in recv";
    }
    let known = THREADS.iter().find(|(begin, _)| name.starts_with(begin));
    known.map_or("", |(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_sessions_are_told_from_others() {
        assert!(is_of_session("c12>0.0.1:8000", '>'));
        assert!(is_of_session("c1<127.0.0.1:80", '<'));
        for other in ["ctrl-c", "c>x", "c1x>y", "parked", "c12<a"] {
            assert!(!is_of_session(other, '>'), "{other}");
        }
    }
}
