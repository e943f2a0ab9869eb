//! The part of a `health_check` that goes with `type: http`: what is asked, and what is good.

use std::fmt::{self, Write};

use super::defaults;
use super::error::{Problem, quoted};
use super::print::text as printed;
use super::reader::{Map, Reading};
use super::value::{or_word, word};
use crate::policy::answer::http::Statuses;

/// The request of a probe, and its good answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// GET or HEAD.
    pub method: HttpMethod,
    /// The target of the request, which begins with `/`.
    pub path: String,
    /// The `Host` header; `None` (`off`) is the address that is probed.
    pub host: Option<String>,
    /// What is good.
    pub expect_status: Statuses,
}

/// How a probe asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpMethod {
    /// As a client does.
    #[default]
    Get,
    /// Without a body in the answer.
    Head,
}

impl HttpMethod {
    const ALL: [HttpMethod; 2] = [HttpMethod::Get, HttpMethod::Head];

    /// The word for it in configs and in requests.
    pub const fn word(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        }
    }
}

impl HttpProbe {
    /// Reads its keys.
    pub(super) fn read(map: &mut Map<'_>, reading: &mut Reading) -> HttpProbe {
        let good = defaults::http_statuses();
        HttpProbe {
            method: map.read(reading, "method", HttpMethod::default(), |text| {
                let all = HttpMethod::ALL.map(|method| (method.word(), method));
                word("method", text, &all)
            }),
            path: map.read(reading, "path", defaults::HTTP_PATH.to_owned(), path),
            host: map.read(reading, "host", None, |text| or_word(text, "off", host)),
            expect_status: map.read(reading, "expect_status", good, statuses),
        }
    }

    /// Writes them as YAML that reads to the same.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let host = self.host.as_deref().map_or("off".to_owned(), printed);
        writeln!(out, "      method: {}", self.method.word())?;
        writeln!(out, "      path: {}", printed(&self.path))?;
        writeln!(out, "      host: {host}")?;
        writeln!(out, "      expect_status: \"{}\"", self.expect_status)
    }
}

/// What may stand in the head of a request: nothing that ends a word or a line.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= defaults::HTTP_TEXT_BYTES_MAX
}

fn path(text: &str) -> Result<String, Problem> {
    if text.starts_with('/') && is_plain(text) {
        return Ok(text.to_owned());
    }
    let what = format!("{} is no path of a request", quoted(text));
    let help = "it begins with `/` and has no blanks, for example `/healthz?full=1`; other characters as %XX";
    Err(Problem::new(what, help))
}

fn host(text: &str) -> Result<String, Problem> {
    if !text.is_empty() && is_plain(text) && !text.contains('/') {
        return Ok(text.to_owned());
    }
    let what = format!("{} is no host", quoted(text));
    Err(Problem::new(
        what,
        "for example `www.example.com` or `db.internal:8000`",
    ))
}

/// `200`, `200-299` or several of these with commas between them.
fn statuses(text: &str) -> Result<Statuses, Problem> {
    let status = |text: &str| {
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok())??;
        Statuses::RANGE.contains(&number).then_some(number)
    };
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (status(first.trim())?, status(last.trim())?);
        (first <= last).then_some(first..=last)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges.map(Statuses::new).ok_or_else(|| {
        let what = format!("{} is no status and no range of them", quoted(text));
        Problem::new(
            what,
            "statuses from 100 to 599, for example \"200-399\" or \"200, 204, 401\"",
        )
    })
}
