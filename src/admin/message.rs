//! Requests and responses as a handler sees them, and a response as bytes.

use std::io::Write;

use serde_json::{Value, json};

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// To read (GET or HEAD; the difference is not the handler's).
    Get,
    /// To change something.
    Post,
    /// To end something.
    Delete,
    /// Anything else: no path takes it, and each says so with those that it takes.
    Other,
}

/// What was asked, after the guard has let it through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// To read or to change.
    pub method: Method,
    /// The segments of the path, decoded; none for `/`.
    pub path: Vec<String>,
    /// The parameters behind the `?`, decoded, in their order.
    pub query: Vec<(String, String)>,
    /// At most 64 KiB.
    pub body: Vec<u8>,
}

impl Request {
    /// The first parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// Further headers. The security headers that every answer has may be replaced here.
    pub headers: Vec<(&'static str, String)>,
    /// The content.
    pub body: Vec<u8>,
}

/// What every answer says, unless the response says otherwise. A page gets scripts, styles and
/// connections only by a policy of its own.
const SECURITY_HEADERS: [(&str, &str); 5] = [
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
];

impl Response {
    /// 200 with this JSON.
    pub fn json(value: &Value) -> Response {
        let mut body = value.to_string().into_bytes();
        body.push(b'\n');
        Response::new(200, "application/json", body)
    }

    /// 200 with this text; Prometheus' format is one.
    pub fn text(text: impl Into<String>) -> Response {
        let body = text.into().into_bytes();
        Response::new(200, "text/plain; charset=utf-8", body)
    }

    /// 200 with this page.
    pub fn html(page: impl Into<String>) -> Response {
        let body = page.into().into_bytes();
        Response::new(200, "text/html; charset=utf-8", body)
    }

    /// What went wrong, and what to try, as `{"error": …}`.
    pub fn error(status: u16, what: impl Into<String>) -> Response {
        let value = json!({"error": what.into()});
        Response::json(&value).with_status(status)
    }

    /// 405: the path is there, for other methods.
    pub fn method_not_allowed(allowed: &str) -> Response {
        Response::error(405, format!("this path takes {allowed} only"))
            .with_header("Allow", allowed.to_owned())
    }

    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Response {
        Response {
            status,
            content_type,
            headers: Vec::new(),
            body,
        }
    }

    /// The same with another status.
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// The same with another content type.
    pub fn with_content_type(mut self, content_type: &'static str) -> Response {
        self.content_type = content_type;
        self
    }

    /// The same with one header more.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes on the wire; the answer to HEAD is the same without its body.
    pub(super) fn encode(&self, without_body: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.body.len());
        // Writing to a Vec can't fail.
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status,
            reason(self.status),
            self.content_type,
            self.body.len()
        );
        let is_own = |name: &str| {
            self.headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        for (name, value) in SECURITY_HEADERS {
            if !is_own(name) {
                let _ = write!(out, "{name}: {value}\r\n");
            }
        }
        for (name, value) in &self.headers {
            // A line break in a value would begin a header, or the body.
            let value = value.replace(char::is_control, " ");
            let _ = write!(out, "{name}: {value}\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !without_body {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// The phrase beside a status; clients read the number only.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response) -> String {
        String::from_utf8(response.encode(false)).unwrap()
    }

    #[test]
    fn an_answer_has_its_length_and_every_security_header() {
        let text = encoded(&Response::error(404, "no such \"path\""));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
        assert_eq!(body, "{\"error\":\"no such \\\"path\\\"\"}\n");
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
        for (name, value) in SECURITY_HEADERS {
            assert!(head.contains(&format!("\r\n{name}: {value}")), "{name}");
        }
        assert!(head.contains("\r\nConnection: close"), "{head}");
    }

    #[test]
    fn a_page_may_replace_the_content_policy_and_nothing_can_break_a_line() {
        let page = Response::html("<p>").with_header("content-security-policy", "default-src *");
        let text = encoded(&page.with_header("X-Name", "a\r\nSet-Cookie: b"));
        assert_eq!(text.to_lowercase().matches("content-security").count(), 1);
        assert!(text.contains("\r\nX-Name: a  Set-Cookie: b\r\n"), "{text}");
    }

    #[test]
    fn the_answer_to_head_says_the_length_of_what_it_leaves_out() {
        let text = String::from_utf8(Response::text("12345").encode(true)).unwrap();
        assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\n"));
    }
}
