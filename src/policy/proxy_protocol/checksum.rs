//! CRC32c (Castagnoli; RFC 4960, appendix B), by the byte with a table that the compiler makes.

/// The polynomial, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each value of a byte does to the sum.
const TABLE: [u32; 256] = table();

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "run by the compiler, which would say so"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (POLYNOMIAL * (sum & 1));
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

/// The CRC32c of these pieces, one behind the other. The result is written into headers highest byte
/// first, as HAProxy and its peers do.
pub(super) fn crc32c<const N: usize>(pieces: [&[u8]; N]) -> u32 {
    let mut sum = u32::MAX;
    for byte in pieces.into_iter().flatten() {
        let index = (sum ^ u32::from(*byte)) & 0xff;
        // The index has eight bits, so there is always an entry.
        let entry = TABLE.get(index as usize).copied().unwrap_or_default();
        sum = (sum >> 8) ^ entry;
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the usual check value.
        assert_eq!(crc32c([b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c([&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c([b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
