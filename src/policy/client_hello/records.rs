//! TLS records (RFC 8446, section 5.1): the envelopes in which a handshake message comes, in one or
//! spread over several.

use std::borrow::Cow;

/// The content type of a handshake.
const HANDSHAKE: u8 = 22;

/// The first byte of every version from SSL 3.0 to TLS 1.3.
const VERSION_MAJOR: u8 = 3;

/// Type, version and length.
const HEADER_BYTES: usize = 5;

/// Most bytes in a record that is not encrypted.
pub(super) const FRAGMENT_BYTES_MAX: usize = 1 << 14;

/// What has come of a handshake.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    /// Its bytes without the envelopes. A copy only if there are several.
    pub(super) bytes: Cow<'a, [u8]>,
    /// What comes behind them.
    pub(super) next: Next,
}

/// What comes behind the handshake bytes that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// More of them: so many until the end of the record.
    Content(usize),
    /// The header of another record: so many bytes until it shows more than it does now.
    Header(usize),
    /// Something that is no handshake: no more of it will come (a message that is spread over several
    /// records must not be interrupted by another kind).
    SomethingElse,
}

/// Takes the handshake out of the records that a stream begins with.
pub(super) fn handshake(mut stream: &[u8]) -> Handshake<'_> {
    let mut bytes = Cow::Borrowed([].as_slice());
    let next = loop {
        let [kind, major, _minor, high, low, rest @ ..] = stream else {
            break incomplete_header(stream);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // Without content there would be no end to how many records a hello may have.
        let is_plain = (1..=FRAGMENT_BYTES_MAX).contains(&length);
        if *kind != HANDSHAKE || *major != VERSION_MAJOR || !is_plain {
            break Next::SomethingElse;
        }
        let (fragment, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if bytes.is_empty() {
            bytes = Cow::Borrowed(fragment);
        } else {
            bytes.to_mut().extend_from_slice(fragment);
        }
        match length.saturating_sub(fragment.len()) {
            0 => stream = behind,
            missing => break Next::Content(missing),
        }
    };
    Handshake { bytes, next }
}

/// What a header can become of which less than all has come.
fn incomplete_header(header: &[u8]) -> Next {
    let first = [HANDSHAKE, VERSION_MAJOR];
    let begins_well = header.iter().zip(first).all(|(byte, right)| *byte == right);
    match header.len() {
        _ if !begins_well => Next::SomethingElse,
        0 | 1 => Next::Header(1),
        come => Next::Header(HEADER_BYTES.saturating_sub(come)),
    }
}
