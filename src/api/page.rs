//! `/`: the status page, one file that is part of the program.
//!
//! It holds no secret and nothing of the running balancer: it asks for all of that with the token,
//! where there is one, so the page itself needs none. The browser is told to run this one script and
//! to use this one style, and nothing else, by their hashes. Hashes and not a nonce: the file never
//! changes while the program runs, and a nonce would have to be unguessable, for which std has no
//! source. They are constants and not computed at start, so that no cryptography is needed to run.

use crate::admin::Response;

const PAGE: &str = include_str!("page.html");

/// The only script and the only style that run; a test says what to write here after a change.
const SCRIPT_SHA256: &str = "vXHq+7iyF5FjEHWlq0vijd9y2YqcC3cMNxbMOIjUBuQ=";
const STYLE_SHA256: &str = "9Jz2YPPwx0i+4RvHYtqnvmAhcGPzTLAVtbILnvfPH10=";

/// The page.
pub(super) fn page() -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{SCRIPT_SHA256}'; style-src 'sha256-{STYLE_SHA256}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    Response::html(PAGE).with_header("Content-Security-Policy", policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands between the only `<tag>` and its end.
    fn content(tag: &str) -> &'static str {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(PAGE.matches(&open).count(), 1, "{open}");
        assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "<{tag}");
        let (_, behind) = PAGE.split_once(&open).unwrap();
        behind.split_once(&close).unwrap().0
    }

    #[test]
    fn the_policy_lets_the_script_and_the_style_of_the_page_run() {
        assert_eq!(
            base64(&sha256(b"abc")),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "the test's own SHA-256 (FIPS 180-4, B.1)"
        );
        let is = [
            base64(&sha256(content("script").as_bytes())),
            base64(&sha256(content("style").as_bytes())),
        ];
        assert_eq!(
            [SCRIPT_SHA256, STYLE_SHA256],
            is,
            "page.html has changed: put the right side into SCRIPT_SHA256 and STYLE_SHA256"
        );
        let (_, policy) = &page().headers[0];
        assert!(!policy.contains("unsafe") && is.iter().all(|hash| policy.contains(hash.as_str())));
    }

    #[test]
    fn the_page_needs_nothing_else_and_parses_nothing_from_outside() {
        for banned in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "localStorage",
            "sessionStorage",
            "document.cookie",
            " style=\"",
            " onclick=\"",
            " src=",
            "@import",
            "url(",
            "https://",
        ] {
            assert!(!PAGE.contains(banned), "the page has {banned}");
        }
        // A name of SVG, inside the icon; nobody goes there.
        assert_eq!(PAGE.matches("http://").count(), 1);
    }

    /// SHA-256 as FIPS 180-4 has it: only to check the two constants.
    fn sha256(message: &[u8]) -> Vec<u8> {
        let roots = |power: f64| {
            let primes = (2_u32..).filter(|n| (2..*n).all(|divisor| n % divisor != 0));
            primes.map(move |prime| (f64::from(prime).powf(power).fract() * 2f64.powi(32)) as u32)
        };
        let constants: Vec<u32> = roots(1.0 / 3.0).take(64).collect();
        let mut hash: Vec<u32> = roots(0.5).take(8).collect();
        let mut padded = message.to_vec();
        padded.push(0x80);
        while padded.len() % 64 != 56 {
            padded.push(0);
        }
        padded.extend((message.len() as u64 * 8).to_be_bytes());
        for block in padded.chunks_exact(64) {
            let mut words: Vec<u32> = block
                .chunks_exact(4)
                .map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
                .collect();
            for at in 16..64 {
                let (a, b) = (words[at - 15], words[at - 2]);
                let small_0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
                let small_1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
                let sum = words[at - 16]
                    .wrapping_add(small_0)
                    .wrapping_add(words[at - 7]);
                words.push(sum.wrapping_add(small_1));
            }
            let mut state = hash.clone();
            for (word, constant) in words.iter().zip(&constants) {
                let [a, b, c, d, e, f, g, h] = state[..] else {
                    unreachable!()
                };
                let big_1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
                let choice = (e & f) ^ (!e & g);
                let one = h.wrapping_add(big_1).wrapping_add(choice);
                let one = one.wrapping_add(*constant).wrapping_add(*word);
                let big_0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
                let majority = (a & b) ^ (a & c) ^ (b & c);
                let two = big_0.wrapping_add(majority);
                state = vec![one.wrapping_add(two), a, b, c, d.wrapping_add(one), e, f, g];
            }
            for (part, more) in hash.iter_mut().zip(state) {
                *part = part.wrapping_add(more);
            }
        }
        hash.into_iter().flat_map(u32::to_be_bytes).collect()
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = (0..3).fold(0, |bits, at| {
                bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0))
            });
            for digit in 0..4 {
                let is_there = digit <= chunk.len();
                let at = bits >> (18 - 6 * digit) & 63;
                text.push(if is_there { DIGITS[at] as char } else { '=' });
            }
        }
        text
    }
}
