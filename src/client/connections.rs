//! `evener connections`: the answer of `/api/v1/connections` as a table, oldest first.

use serde_json::Value;

use super::text::{Table, byte_count, field, items, number, seconds};

pub(super) fn render(answer: &Value) -> String {
    let mut connections: Vec<&Value> = items(answer, "connections").iter().collect();
    connections.sort_by_key(|connection| number(connection, "id"));
    let mut table = Table::new(&[
        "ID>", "LISTENER", "CLIENT", "POOL", "BACKEND", "AGE>", "IDLE>", "IN>", "OUT>", "CPU>",
        "THREADS", "",
    ]);
    for connection in &connections {
        let threads = items(connection, "threads").iter();
        let threads: Vec<String> = threads
            .filter_map(Value::as_u64)
            .map(|thread| thread.to_string())
            .collect();
        table.row([
            field(connection, "id"),
            field(connection, "listener"),
            field(connection, "client"),
            pool(connection),
            backend(connection),
            seconds(connection, "age_seconds"),
            seconds(connection, "idle_seconds"),
            byte_count(connection, "bytes_in"),
            byte_count(connection, "bytes_out"),
            cpu(connection),
            threads.join(" "),
            half_closed(connection),
        ]);
    }
    match connections.len() {
        0 => "no connections\n".to_owned(),
        1 => format!("{}1 connection\n", table.render()),
        count => format!("{}{count} connections\n", table.render()),
    }
}

/// The pool, and the server that the client asked for.
fn pool(connection: &Value) -> String {
    let pool = field(connection, "pool");
    match connection.get("sni") {
        None | Some(Value::Null) => pool,
        Some(_) => format!("{pool} sni={}", field(connection, "sni")),
    }
}

/// Name and address, or one of them where both are the same.
pub(super) fn backend(connection: &Value) -> String {
    let (name, address) = (field(connection, "backend"), field(connection, "address"));
    if name == address {
        return name;
    }
    format!("{name} {address}")
}

fn cpu(connection: &Value) -> String {
    let seconds = connection.get("cpu_seconds").and_then(Value::as_f64);
    seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.2}s"))
}

fn half_closed(connection: &Value) -> String {
    let is_half = connection.get("half_closed") == Some(&Value::Bool(true));
    if is_half { "half-closed" } else { "" }.to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in super::super) fn example() -> Value {
        json!({"connections": [
            {"id": 12, "listener": "web", "pool": "web", "client": "192.0.2.7:50000",
             "backend": "a", "address": "10.0.0.1:80", "age_seconds": 75.2, "idle_seconds": 0.3,
             "bytes_in": 1000, "bytes_out": 3_000_000, "half_closed": true,
             "threads": [101, 102], "cpu_seconds": 0.125},
            {"id": 7, "listener": "web", "pool": "web", "client": "192.0.2.8:50000",
             "backend": null, "address": null, "age_seconds": 1.0, "idle_seconds": 1.0,
             "bytes_in": 0, "bytes_out": 0, "half_closed": false, "threads": [99],
             "cpu_seconds": 0.0},
        ]})
    }

    #[test]
    fn it_reads_well() {
        let expected = "\
ID  LISTENER  CLIENT           POOL  BACKEND          AGE  IDLE      IN      OUT    CPU  THREADS
 7  web       192.0.2.8:50000  web   -                 1s    1s     0 B      0 B  0.00s  99
12  web       192.0.2.7:50000  web   a 10.0.0.1:80  1m15s    0s  1000 B  2.9 MiB  0.12s  101 102  half-closed
2 connections
";
        assert_eq!(render(&example()), expected);
        assert_eq!(render(&json!({"connections": []})), "no connections\n");
    }
}
