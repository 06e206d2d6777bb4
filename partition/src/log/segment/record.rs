//! The framing of one record.
//!
//! ```text
//! crc  u32  CRC-32C of all that follows
//! len  u32  bytes of payload; the top bit says that this is a takeover
//! mark u64  the position after the record, XOR the segment's salt
//! payload
//! ```
//! All numbers are little-endian. The mark makes a record valid at one place
//! of one log only: bytes of an older use never parse, and nor do bytes in a
//! payload that somebody made to look like a record, for the salt is random
//! and in the segment's header alone.

use crate::log::GroupBuffer;

/// Bytes of a record before its payload.
pub(super) const HEAD: usize = 16;

/// The largest payload that the framing can express.
pub(super) const MAX_PAYLOAD: usize = (TAKEOVER - 1) as usize;

const TAKEOVER: u32 = 1 << 31;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A group that was appended.
    Group,
    /// A new writer; the payload is its epoch.
    Takeover,
}

/// What stands before a record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Bytes of payload.
    pub(super) len: usize,
    /// The position after the record.
    pub(super) end: u64,
}

/// Makes a record that begins at `start` of its payload, which is at most [`MAX_PAYLOAD`] bytes.
pub(super) fn frame(record: &mut GroupBuffer, salt: u64, start: u64, kind: Kind) {
    let len = record.len();
    let end = start + (HEAD + len) as u64;
    let flag = if kind == Kind::Takeover { TAKEOVER } else { 0 };
    let mut head = [0; HEAD];
    head[4..8].copy_from_slice(&(len as u32 | flag).to_le_bytes());
    head[8..].copy_from_slice(&(end ^ salt).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[4..]), record.bytes());
    head[..4].copy_from_slice(&crc.to_le_bytes());
    record.prepend(&head);
}

/// Reads a head, if these bytes are one of a record that begins at `start`.
pub(super) fn head(bytes: &[u8; HEAD], salt: u64, start: u64) -> Option<Head> {
    let [_, _, _, _, a, b, c, d, mark @ ..] = *bytes;
    let len = u32::from_le_bytes([a, b, c, d]);
    let kind = if len & TAKEOVER == 0 {
        Kind::Group
    } else {
        Kind::Takeover
    };
    let len = (len & !TAKEOVER) as usize;
    let end = start.checked_add((HEAD + len) as u64)?;
    (u64::from_le_bytes(mark) == end ^ salt).then_some(Head { kind, len, end })
}

/// Whether a record's bytes, head and payload, are as they were written.
pub(super) fn is_whole(record: &[u8]) -> bool {
    record
        .split_first_chunk::<4>()
        .is_some_and(|(crc, rest)| u32::from_le_bytes(*crc) == crc32c::crc32c(rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(salt: u64, start: u64, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut record = payload.into();
        frame(&mut record, salt, start, kind);
        record.bytes().to_owned()
    }

    fn parse(bytes: &[u8], salt: u64, start: u64) -> Option<(Head, &[u8])> {
        let head = head(bytes.first_chunk()?, salt, start)?;
        let record = bytes.get(..HEAD + head.len)?;
        is_whole(record).then_some((head, &record[HEAD..]))
    }

    proptest! {
        #[test]
        fn a_record_parses_at_its_own_place_only(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            salt: u64, start in 0..u64::MAX / 2, other: u64, takeover: bool,
        ) {
            let kind = if takeover { Kind::Takeover } else { Kind::Group };
            let bytes = record(salt, start, kind, &payload);
            let end = start + bytes.len() as u64;
            let head = Head { kind, len: payload.len(), end };
            prop_assert_eq!(parse(&bytes, salt, start), Some((head, payload.as_slice())));
            prop_assume!(other != start && other != salt);
            prop_assert_eq!(parse(&bytes, salt, other), None);
            prop_assert_eq!(parse(&bytes, other, start), None);
        }

        #[test]
        fn any_flipped_bit_breaks_a_record(
            payload in proptest::collection::vec(any::<u8>(), 0..50), bit: prop::sample::Index,
        ) {
            let mut bytes = record(3, 40, Kind::Group, &payload);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(parse(&bytes, 3, 40), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64), salt: u64, start: u64,
        ) {
            parse(&bytes, salt, start);
        }
    }
}
