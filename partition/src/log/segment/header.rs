//! The header of a segment, and its file name.
//!
//! ```text
//! magic    [u8; 8]  "extg.log"
//! version  u32      2
//! first    u64      the position before the first record, as in the file name
//! previous u64      `first` of the segment before; the same as `first` where there was none
//! epoch    u64      of the writer that made the segment
//! salt     u64      random, see the framing of records
//! owner    [u8; 16] 12 bytes of the hash of the application's name, and the number of the partition as u32
//! crc      u32      CRC-32C of all this
//! ```

use crate::log::Owner;

/// Bytes of a segment before its first record.
pub(super) const HEADER: usize = 64;

/// What [`Header::parse`] says of bytes that are no header.
pub(super) const BROKEN: &str = "the segment's header is broken";

const MAGIC: &[u8; 8] = b"extg.log";
const VERSION: u32 = 2;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first: u64,
    pub(super) previous: u64,
    pub(super) epoch: u64,
    pub(super) salt: u64,
    pub(super) owner: Owner,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let numbers = [self.first, self.previous, self.epoch, self.salt];
        for (to, number) in bytes[12..44].chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes[44..60].copy_from_slice(&self.owner.to_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header, or says what is wrong with it.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Self, &'static str> {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        if bytes[60..] != crc32c::crc32c(&bytes[..60]).to_le_bytes() || bytes[..8] != *MAGIC {
            return Err(BROKEN);
        }
        if bytes[8..12] != VERSION.to_le_bytes() {
            return Err("the segment has a format that this version does not read");
        }
        let mut owner = [0; 16];
        owner.copy_from_slice(&bytes[44..60]);
        Ok(Self {
            first: number(12),
            previous: number(20),
            epoch: number(28),
            salt: number(36),
            owner: Owner::from_bytes(owner),
        })
    }

    /// The offset in the file of a position that is in this segment.
    pub(super) fn offset(&self, position: u64) -> u64 {
        position.saturating_sub(self.first) + HEADER as u64
    }

    /// The position at an offset in the file that is not in the header.
    pub(super) fn position(&self, offset: u64) -> u64 {
        offset
            .saturating_sub(HEADER as u64)
            .saturating_add(self.first)
    }
}

/// The name of the file of the segment that begins at `first`.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// Where the segment in a file of this name begins, if it is a segment's name.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".log")?.parse().ok()?;
    (file_name(first) == name).then_some(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn header_round_trips_and_any_flipped_bit_breaks_it(
            first: u64, previous: u64, epoch: u64, salt: u64, owner: [u8; 16], bit in 0..HEADER * 8,
        ) {
            let owner = Owner::from_bytes(owner);
            let header = Header { first, previous, epoch, salt, owner };
            let mut bytes = header.encode();
            prop_assert_eq!(Header::parse(&bytes), Ok(header));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::parse(&bytes).is_err());
        }

        #[test]
        fn file_names_sort_as_their_positions(a: u64, b: u64) {
            prop_assert_eq!(parse_file_name(&file_name(a)), Some(a));
            prop_assert_eq!(file_name(a).cmp(&file_name(b)), a.cmp(&b));
        }
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in ["lock", "1.log", "+0000000000000000001.log", "x.log", ".log"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
