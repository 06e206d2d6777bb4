//! Rows of a range read, packed into memory that a guest gave.

use crate::host::RowChunk;

/// Bytes in front of each row: the lengths of its key and of its value.
const HEAD: usize = 8;

/// What a range read put into a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Bytes of rows; 0 where there are none left, or where the next one does not fit.
    pub used: usize,
    /// Bytes that the next row needs, where it does not fit behind the others; else 0.
    pub needed: usize,
}

/// A buffer that is filled in passes, each of them one storage operation.
pub(super) struct PackedRows<'b> {
    buffer: &'b mut [u8],
    pub(super) filled: Filled,
    /// Where the pass began.
    begin: usize,
    /// Where its last row is.
    last: usize,
    /// How many rows it took.
    pub(super) rows: usize,
    /// Bytes of their keys and values.
    pub(super) bytes: usize,
    /// Whether there was a row that it did not take.
    pub(super) cut: bool,
}

impl<'b> PackedRows<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self {
            buffer,
            filled: Filled::default(),
            begin: 0,
            last: 0,
            rows: 0,
            bytes: 0,
            cut: false,
        }
    }

    /// Begins a pass.
    pub(super) fn begin(&mut self) {
        self.begin = self.filled.used;
        self.rows = 0;
        self.bytes = 0;
        self.cut = false;
    }

    /// Adds a row, or answers false where it does not fit, or where the pass has as much as a chunk holds.
    #[inline]
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.cut = RowChunk::is_full(self.rows, self.bytes);
        if self.cut {
            return false;
        }
        let used = self.filled.used;
        let bytes = key.len() + value.len();
        let size = HEAD + bytes;
        let Some(place) = self.buffer[used..].get_mut(..size) else {
            self.filled.needed = size;
            self.cut = true;
            return false;
        };
        let (head, rest) = place.split_at_mut(HEAD);
        head[..4].copy_from_slice(&(key.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&(value.len() as u32).to_le_bytes());
        let (key_place, value_place) = rest.split_at_mut(key.len());
        key_place.copy_from_slice(key);
        value_place.copy_from_slice(value);
        self.last = used;
        self.rows += 1;
        self.bytes += bytes;
        self.filled.used += size;
        true
    }

    /// The keys that the pass took.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.begin;
        std::iter::from_fn(move || {
            let (key, value) = self.lengths(at)?;
            let key_at = at + HEAD;
            at = key_at + key + value;
            self.buffer.get(key_at..key_at + key)
        })
    }

    /// The key of the last row that the pass took.
    pub(super) fn last_key(&self) -> Option<&[u8]> {
        let (key, _) = self.lengths(self.last).filter(|_| self.rows > 0)?;
        self.buffer[self.last + HEAD..].get(..key)
    }

    /// The lengths of the key and of the value of the row there.
    fn lengths(&self, at: usize) -> Option<(usize, usize)> {
        let (head, _) = self.buffer[at..self.filled.used].split_first_chunk::<HEAD>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let length = |bytes| u32::from_le_bytes(bytes) as usize;
        Some((length([a, b, c, d]), length([e, f, g, h])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_behind_one_another_and_one_that_does_not_fit_says_what_it_needs() {
        let mut memory = [0; 24];
        let mut rows = PackedRows::new(&mut memory);
        rows.begin();
        assert!(rows.push(b"k", b"vv") && rows.push(b"", b""));
        assert!(!rows.push(b"key", b"v"));
        assert_eq!((rows.rows, rows.bytes, rows.cut), (2, 3, true));
        assert_eq!(rows.last_key(), Some(&b""[..]));
        assert!(rows.keys().eq([&b"k"[..], b""]));
        assert_eq!(
            rows.filled,
            Filled {
                used: 19,
                needed: 12
            }
        );
        assert_eq!(memory[..19], *b"\x01\0\0\0\x02\0\0\0kvv\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn a_pass_ends_where_a_chunk_would_and_the_next_one_goes_on() {
        let mut memory = vec![0; 4 * RowChunk::BYTES];
        let mut rows = PackedRows::new(&mut memory);
        let value = vec![7; RowChunk::BYTES];
        rows.begin();
        assert!(rows.push(b"a", &value) && !rows.push(b"b", b""));
        assert_eq!((rows.cut, rows.filled.needed), (true, 0));
        rows.begin();
        assert_eq!(rows.last_key(), None);
        assert!(rows.push(b"b", b""));
        assert_eq!((rows.last_key(), rows.rows), (Some(&b"b"[..]), 1));
    }
}
