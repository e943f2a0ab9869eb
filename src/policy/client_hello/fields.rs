//! Reads one field after the other of a message of which only the beginning may have come.
//!
//! Two lengths count: how many bytes have come, and how many the sender has declared. A field that does
//! not fit into what was declared is wrong, whatever comes; one that fits and has not come is waited for.

/// A part of a message with a declared length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    /// Of what is not read yet, the bytes that have come.
    come: &'a [u8],
    /// How many there will be of them.
    declared: usize,
}

/// Why a field can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// At least so many bytes are still to come.
    NeedMore(usize),
    /// It does not fit into what it is a part of.
    Malformed,
}

impl<'a> Fields<'a> {
    /// Of a part that is as long as was `declared`, whatever stands behind it.
    pub(super) fn new(come: &'a [u8], declared: usize) -> Fields<'a> {
        Fields {
            come: come.get(..declared).unwrap_or(come),
            declared,
        }
    }

    /// Is everything read?
    pub(super) fn is_at_end(&self) -> bool {
        self.declared == 0
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let declared = self.declared.checked_sub(length).ok_or(Stop::Malformed)?;
        let missing = length.saturating_sub(self.come.len());
        let (field, rest) = self
            .come
            .split_at_checked(length)
            .ok_or(Stop::NeedMore(missing))?;
        *self = Fields {
            come: rest,
            declared,
        };
        Ok(field)
    }

    /// The next number, big-endian, of so many bytes.
    pub(super) fn number(&mut self, bytes: usize) -> Result<usize, Stop> {
        let digits = self.take(bytes)?.iter();
        Ok(digits.fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// The next bytes, which have their length before them, a number of `length_bytes` bytes.
    pub(super) fn vector(&mut self, length_bytes: usize) -> Result<&'a [u8], Stop> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }

    /// As [`Fields::vector`], for a part that is looked into before all of it has come. It has to be the
    /// last of its whole.
    pub(super) fn last_part(mut self, length_bytes: usize) -> Result<Fields<'a>, Stop> {
        let length = self.number(length_bytes)?;
        match length == self.declared {
            true => Ok(self),
            false => Err(Stop::Malformed),
        }
    }
}
