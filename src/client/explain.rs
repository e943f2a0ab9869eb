//! `evener explain`: the answer of `/api/v1/explain`, who would get the next client and why.

use serde_json::Value;

use super::text::{Table, field, items};

pub(super) fn render(answer: &Value) -> String {
    let client = match answer.get("client") {
        None | Some(Value::Null) => String::new(),
        Some(_) => format!(" {}", field(answer, "client")),
    };
    let next = match (answer.get("next"), answer.get("depends_on_client")) {
        (_, Some(Value::Bool(true))) => "this or that: add --client IP".to_owned(),
        (None | Some(Value::Null), _) => "no backend".to_owned(),
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
        let depends =
            json!({"pool": "web", "client": null, "next": null, "depends_on_client": true});
        assert!(render(&depends).contains("would get this or that: add --client IP"));
        let nobody = json!({"pool": "web", "client": null, "next": null});
        assert!(render(&nobody).contains("the next client would get no backend"));
    }
}
