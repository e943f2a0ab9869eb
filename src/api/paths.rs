//! Every path of the admin interface and the methods that it takes. What is not here is not served, and
//! docs/operating.md has the same rows (tests/admin_api.rs compares them).

use crate::admin::{Method, Response};

/// A path, a segment in capitals standing for any; and its methods, as `Allow` has them.
#[rustfmt::skip] // A table is read by the row.
pub const PATHS: [(&str, &str); 11] = [
    ("/", "GET, HEAD"),
    ("/healthz", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/api/v1/status", "GET, HEAD"),
    ("/api/v1/connections", "GET, HEAD"),
    ("/api/v1/connections/ID", "DELETE"),
    ("/api/v1/explain", "GET, HEAD"),
    ("/api/v1/pools/POOL/backends/BACKEND", "GET, HEAD, POST"),
    ("/api/v1/pools/POOL/rebalance", "POST, DELETE"),
    ("/api/v1/reload", "POST"),
];

/// May this path be asked so? Otherwise the answer: 404, or 405 with what it takes.
pub(super) fn check(method: Method, path: &[&str]) -> Result<(), Response> {
    let found = PATHS.iter().find(|(known, _)| is_like(known, path));
    let Some((_, methods)) = found else {
        let all: Vec<&str> = PATHS.iter().map(|(path, _)| *path).collect();
        let what = format!("nothing is here; there are {}", all.join(", "));
        return Err(Response::error(404, what));
    };
    let word = match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Delete => "DELETE",
        Method::Other => return Err(Response::method_not_allowed(methods)),
    };
    match methods.split(", ").any(|one| one == word) {
        true => Ok(()),
        false => Err(Response::method_not_allowed(methods)),
    }
}

/// Is it that path, segment by segment?
fn is_like(known: &str, path: &[&str]) -> bool {
    let known = known.split('/').filter(|segment| !segment.is_empty());
    let is_any = |segment: &str| segment.bytes().all(|byte| byte.is_ascii_uppercase());
    known.clone().count() == path.len()
        && known
            .zip(path)
            .all(|(known, segment)| is_any(known) || known == *segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str) -> (u16, Option<String>) {
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match check(method, &path) {
            Ok(()) => (200, None),
            Err(answer) => {
                let mut allow = answer.headers.into_iter();
                let allow = allow.find(|(name, _)| *name == "Allow");
                (answer.status, allow.map(|(_, methods)| methods))
            }
        }
    }

    #[rustfmt::skip] // A table is read by the row.
    #[test]
    fn a_path_takes_its_methods_and_says_which() {
        let allow = |methods: &str| (405, Some(methods.to_owned()));
        for (method, path, expected) in [
            (Method::Get, "/", (200, None)),
            (Method::Post, "/", allow("GET, HEAD")),
            (Method::Other, "/", allow("GET, HEAD")),
            (Method::Other, "/healthz", allow("GET, HEAD")),
            (Method::Get, "/healthz/x", (404, None)),
            (Method::Get, "/HEALTHZ", (404, None)),
            (Method::Other, "/nowhere", (404, None)),
            (Method::Delete, "/api/v1/connections", allow("GET, HEAD")),
            (Method::Delete, "/api/v1/connections/7", (200, None)),
            (Method::Get, "/api/v1/connections/7", allow("DELETE")),
            (Method::Get, "/api/v1/pools/a/backends/b", (200, None)),
            (Method::Post, "/api/v1/pools/rebalance/backends/b", (200, None)),
            (Method::Delete, "/api/v1/pools/a/backends/b", allow("GET, HEAD, POST")),
            (Method::Delete, "/api/v1/pools/a/rebalance", (200, None)),
            (Method::Get, "/api/v1/pools/a/rebalance", allow("POST, DELETE")),
            (Method::Get, "/api/v1/pools/a", (404, None)),
            (Method::Get, "/api/v1/reload", allow("POST")),
            (Method::Other, "/api/v1/reload", allow("POST")),
        ] {
            assert_eq!(status(method, path), expected, "{method:?} {path}");
        }
    }
}
