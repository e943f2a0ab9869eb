//! `evener top`: two snapshots to a page of rates, as large as the terminal.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use serde_json::Value;

use super::ClientError;
use super::connections::backend;
use super::http::Server;
use super::status::summary;
use super::text::{Table, bytes, field, items, number, seconds};

/// Lines before the first table, and between the two.
const LINES_BESIDE_TABLES: usize = 5;

/// What a running evener said at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    at: Instant,
    status: Value,
    connections: Value,
}

impl Snapshot {
    /// Asks for all of it.
    pub(super) fn take(server: &Server) -> Result<Snapshot, ClientError> {
        let status = server.get("/api/v1/status")?;
        let connections = server.get("/api/v1/connections")?;
        Ok(Snapshot {
            at: Instant::now(),
            status,
            connections,
        })
    }
}

/// Columns and lines of a terminal.
pub(super) type Size = (usize, usize);

/// The page: rates are those from `before` to `now`, and unknown without it.
pub(super) fn render(before: Option<&Snapshot>, now: &Snapshot, size: Option<Size>) -> String {
    let (columns, lines) = size.unwrap_or((usize::MAX, usize::MAX));
    let room = lines.saturating_sub(LINES_BESIDE_TABLES);
    let busiest = connections(before, now);
    // Each table may have half of the room, and more where the other one needs less.
    let backends = backends(before, now);
    let of_busiest = busiest.lines().count().min(room / 2);
    let backends = cropped(&backends, room.saturating_sub(of_busiest));
    let left = room.saturating_sub(backends.len());
    let busiest = cropped(&busiest, left);

    let mut page: Vec<String> = summary(&now.status).lines().map(str::to_owned).collect();
    page.push(String::new());
    page.extend(backends);
    page.push(String::new());
    page.extend(busiest);
    page.truncate(lines);
    page.iter()
        .map(|line| line.chars().take(columns).collect::<String>() + "\n")
        .collect()
}

/// At most so many lines; the last one says how many are not shown.
fn cropped(table: &str, room: usize) -> Vec<String> {
    let all: Vec<String> = table.lines().map(str::to_owned).collect();
    if all.len() <= room {
        return all;
    }
    let shown = room.saturating_sub(1);
    let more = format!("({} more)", all.len() - shown);
    let mut lines: Vec<String> = all.into_iter().take(shown).collect();
    lines.extend((room > 0).then_some(more));
    lines
}

/// Two readings of a counter to its rate.
struct Rates {
    seconds: Option<f64>,
}

impl Rates {
    fn new(before: Option<&Snapshot>, now: &Snapshot) -> Rates {
        let apart = before.map(|before| now.at.saturating_duration_since(before.at));
        let seconds = apart.map(|apart| apart.as_secs_f64());
        Rates {
            seconds: seconds.filter(|seconds| *seconds > 0.0),
        }
    }

    /// How much more of it each second; none when there is no earlier reading. What starts anew
    /// counts from 0.
    fn of(&self, key: &str, before: Option<&Value>, now: &Value) -> Option<f64> {
        let seconds = self.seconds?;
        let earlier = number(before?, key)?;
        Some(number(now, key)?.saturating_sub(earlier) as f64 / seconds)
    }
}

fn backends(before: Option<&Snapshot>, now: &Snapshot) -> String {
    let rates = Rates::new(before, now);
    let earlier = before.map(|before| by_name(&before.status));
    let mut table = Table::new(&[
        "POOL",
        "BACKEND",
        "HEALTH",
        "STATE",
        "ACTIVE>",
        "CONN/S>",
        "IN/S>",
        "OUT/S>",
        "FAILED/S>",
    ]);
    for pool in items(&now.status, "pools") {
        for backend in items(pool, "backends") {
            let key = (field(pool, "name"), field(backend, "name"));
            let was = earlier
                .as_ref()
                .and_then(|earlier| earlier.get(&key).copied());
            let rate = |key| rates.of(key, was, backend);
            table.row([
                key.0.clone(),
                key.1.clone(),
                field(backend, "health"),
                field(backend, "admin_state"),
                field(backend, "active"),
                count(rate("total")),
                volume(rate("bytes_in")),
                volume(rate("bytes_out")),
                count(rate("connect_failures")),
            ]);
        }
    }
    table.render()
}

/// The backends of a status by pool and name.
fn by_name(status: &Value) -> HashMap<(String, String), &Value> {
    let pools = items(status, "pools").iter();
    pools
        .flat_map(|pool| items(pool, "backends").iter().map(move |each| (pool, each)))
        .map(|(pool, backend)| ((field(pool, "name"), field(backend, "name")), backend))
        .collect()
}

/// The connections, busiest first; without rates, those that have moved the most.
fn connections(before: Option<&Snapshot>, now: &Snapshot) -> String {
    let rates = Rates::new(before, now);
    let earlier = before.map(|before| items(&before.connections, "connections"));
    let earlier: HashMap<u64, &Value> = earlier
        .unwrap_or_default()
        .iter()
        .filter_map(|connection| Some((number(connection, "id")?, connection)))
        .collect();
    let mut rows = Vec::new();
    for connection in items(&now.connections, "connections") {
        let was = number(connection, "id").and_then(|id| earlier.get(&id).copied());
        let rate = |key| rates.of(key, was, connection);
        let total = |key| number(connection, key).unwrap_or(0);
        let (input, output) = (rate("bytes_in"), rate("bytes_out"));
        let speed = (input.unwrap_or(0.0) + output.unwrap_or(0.0)) as u64;
        let moved = total("bytes_in").saturating_add(total("bytes_out"));
        rows.push((Reverse((speed, moved)), connection, input, output));
    }
    rows.sort_by_key(|(busy, ..)| *busy);
    let mut table = Table::new(&[
        "ID>", "CLIENT", "POOL", "BACKEND", "AGE>", "IDLE>", "IN/S>", "OUT/S>",
    ]);
    for (_, connection, input, output) in rows {
        table.row([
            field(connection, "id"),
            field(connection, "client"),
            field(connection, "pool"),
            backend(connection),
            seconds(connection, "age_seconds"),
            seconds(connection, "idle_seconds"),
            volume(input),
            volume(output),
        ]);
    }
    table.render()
}

fn count(rate: Option<f64>) -> String {
    rate.map_or("-".to_owned(), |rate| format!("{rate:.1}"))
}

fn volume(rate: Option<f64>) -> String {
    rate.map_or("-".to_owned(), bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{connections, status};
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn snapshot(at: Instant) -> Snapshot {
        Snapshot {
            at,
            status: status::tests::example(),
            connections: connections::tests::example(),
        }
    }

    /// Two seconds later, with more of everything on the first backend and the idle connection.
    fn pair() -> (Snapshot, Snapshot) {
        let begin = Instant::now();
        let before = snapshot(begin);
        let mut now = snapshot(begin + Duration::from_secs(2));
        let backend = &mut now.status["pools"][0]["backends"][0];
        backend["total"] = json!(107);
        backend["bytes_in"] = json!(2048 + 4096);
        now.connections["connections"][1]["bytes_out"] = json!(10_240);
        (before, now)
    }

    #[test]
    fn rates_come_from_two_snapshots_and_the_busiest_is_first() {
        let (before, now) = pair();
        let page = render(Some(&before), &now, None);
        let expected = "\
evener 0.1.0, pid 4711, running for 3m12s
4 connections of 8000, 17 threads

POOL  BACKEND  HEALTH  STATE  ACTIVE  CONN/S     IN/S  OUT/S  FAILED/S
web   a        up      ready       2     3.5  2.0 KiB    0 B       0.0
web   b        down    drain       2     0.0      0 B    0 B       0.0

ID  CLIENT           POOL  BACKEND          AGE  IDLE  IN/S    OUT/S
 7  192.0.2.8:50000  web   -                 1s    1s   0 B  5.0 KiB
12  192.0.2.7:50000  web   a 10.0.0.1:80  1m15s    0s   0 B      0 B
";
        assert_eq!(page, expected);
    }

    #[test]
    fn without_an_earlier_snapshot_there_are_no_rates() {
        let (_, now) = pair();
        let page = render(None, &now, None);
        assert!(
            page.contains("web   a        up      ready       2       -"),
            "{page}"
        );
        let order = page.find("\n12 ").zip(page.find("\n 7 "));
        assert!(order.is_some_and(|(busy, idle)| busy < idle), "{page}");
    }

    #[test]
    fn a_page_is_never_larger_than_the_terminal() {
        let (before, now) = pair();
        for columns in [0, 1, 10, 80] {
            for lines in 0..14 {
                let page = render(Some(&before), &now, Some((columns, lines)));
                assert!(page.lines().count() <= lines, "{lines}:\n{page}");
                assert!(page.lines().all(|line| line.chars().count() <= columns));
            }
        }
        let small = render(Some(&before), &now, Some((80, 9)));
        assert!(
            small.contains("(2 more)") || small.contains("(1 more)"),
            "{small}"
        );
    }

    #[test]
    fn a_counter_that_starts_anew_is_no_negative_rate() {
        let (before, now) = pair();
        let page = render(Some(&now), &before, None);
        assert!(!page.contains("-2"), "{page}");
    }
}
