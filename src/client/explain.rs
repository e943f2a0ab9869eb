//! `evener explain`: the answer of `/api/v1/explain`, who would get the next client and why.

use serde_json::Value;

use super::text::{Table, field, items};

/// As [`render`], for a client of a listener that asks for a server by name.
pub(super) fn render_route(answer: &Value) -> String {
    let is_known = answer.get("route") == Some(&Value::from("known"));
    let route = match (is_known, answer.get("pool")) {
        (true, _) => format!("a route leads to pool {}", field(answer, "pool")),
        (false, None | Some(Value::Null)) => {
            "no route, and no pool for the rest: a reset".to_owned()
        }
        (false, _) => format!("no route; the rest gets pool {}", field(answer, "pool")),
    };
    let (listener, sni) = (field(answer, "listener"), field(answer, "sni"));
    let mut out = format!("listener {listener}, {sni}: {route}\n");
    if !items(answer, "backends").is_empty() {
        out.push_str(&render(answer));
    }
    out
}

pub(super) fn render(answer: &Value) -> String {
    let client = match answer.get("client") {
        None | Some(Value::Null) => String::new(),
        Some(_) => format!(" {}", field(answer, "client")),
    };
    let next = match (answer.get("next"), answer.get("depends_on_client")) {
        (_, Some(Value::Bool(true))) => "this or that: add --client IP".to_owned(),
        (None | Some(Value::Null), _) => match answer.get("otherwise") {
            None | Some(Value::Null) => "no backend".to_owned(),
            Some(_) => format!("no backend: {}", field(answer, "otherwise")),
        },
        (Some(_), _) => field(answer, "next"),
    };
    let mut out = format!(
        "pool {} ({}): the next client{client} would get {next}\n{}\n\n",
        field(answer, "pool"),
        field(answer, "balance"),
        field(answer, "how")
    );
    let mut table = Table::new(&["", "BACKEND", "ADDRESS", "CAN SERVE", "WHY"]);
    for backend in items(answer, "backends") {
        let is_chosen = backend.get("chosen") == Some(&Value::Bool(true));
        table.row([
            if is_chosen { "*" } else { "" }.to_owned(),
            field(backend, "name"),
            field(backend, "address"),
            field(backend, "can_serve"),
            field(backend, "why"),
        ]);
    }
    out.push_str(&table.render());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_reads_well() {
        let answer = json!({"pool": "web", "balance": "first", "client": "192.0.2.7", "next": "a",
            "how": "the first that is up", "backends": [
            {"name": "a", "address": "10.0.0.1:80", "chosen": true, "can_serve": true, "why": "up"},
            {"name": "b", "address": "10.0.0.2:80", "chosen": false, "can_serve": false, "why": "down"}]});
        let expected = "\
pool web (first): the next client 192.0.2.7 would get a
the first that is up

   BACKEND  ADDRESS      CAN SERVE  WHY
*  a        10.0.0.1:80  yes        up
   b        10.0.0.2:80  no         down
";
        assert_eq!(render(&answer), expected);
        let route = |how: &str, answer: Value| {
            let mut answer = answer;
            answer["listener"] = "tls".into();
            answer["sni"] = "db.example.org".into();
            answer["route"] = how.into();
            render_route(&answer)
        };
        assert_eq!(
            route("known", answer.clone()),
            format!("listener tls, db.example.org: a route leads to pool web\n{expected}")
        );
        assert_eq!(
            route("unknown", answer.clone()),
            format!("listener tls, db.example.org: no route; the rest gets pool web\n{expected}")
        );
        let reset = json!({"pool": null, "backends": []});
        assert_eq!(
            route("unknown", reset),
            "listener tls, db.example.org: no route, and no pool for the rest: a reset\n"
        );
        let depends =
            json!({"pool": "web", "client": null, "next": null, "depends_on_client": true});
        assert!(render(&depends).contains("would get this or that: add --client IP"));
        let nobody = json!({"pool": "web", "client": null, "next": null});
        assert!(render(&nobody).contains("the next client would get no backend\n"));
        let full = json!({"pool": "web", "next": null, "otherwise": "it is reset"});
        assert!(render(&full).contains("would get no backend: it is reset\n"));
    }
}
