//! Builders of keys and rows, in their one canonical encoding.

use std::fmt;

use crate::buffer::Buffer;
use crate::key::Key;
use crate::row::Row;

/// Begins a key, or the prefix of one, in a storage. Its fields follow in schema order.
///
/// ```
/// use extengine_guest::key;
/// let flight = key("flight").text("UA").int(1545).text("2013-01-01T10:00:00Z");
/// let flights_of_the_carrier = key("flight").text("UA");
/// # assert!(flight.as_bytes().starts_with(flights_of_the_carrier.as_bytes()));
/// ```
pub fn key(storage: &str) -> KeyBuilder<'_> {
    KeyBuilder {
        storage,
        bytes: Buffer::new(),
    }
}

/// Begins a row. Its fields follow in schema order.
///
/// ```
/// use extengine_guest::row;
/// let row = row().text("N14228").opt_int(None).list(&row().int(1).int(2));
/// # assert_eq!(row.as_bytes(), b"\x93\xa6N14228\xc0\x92\x01\x02");
/// ```
pub fn row() -> RowBuilder {
    let mut bytes = Buffer::new();
    bytes.extend_from_slice(&head_of(0));
    RowBuilder { bytes, count: 0 }
}

/// A key, or the prefix of one, in a storage; [`key`] begins it.
///
/// A NaN has no place in the order of keys: the host refuses a read as `bad_key` and a write as `bad_intent`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyBuilder<'s> {
    storage: &'s str,
    bytes: Buffer,
}

impl<'s> KeyBuilder<'s> {
    /// The storage's name.
    pub fn storage(&self) -> &'s str {
        self.storage
    }

    /// The encoded fields.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn has_nan(&self) -> bool {
        let key = Key::new(self.as_bytes());
        let mut fields = key.fields();
        while !fields.is_empty() {
            if fields.clone().float().is_ok_and(f64::is_nan) {
                return true;
            }
            if fields.skip().is_err() {
                break;
            }
        }
        false
    }

    /// Appends null.
    #[must_use]
    pub fn null(self) -> Self {
        self.append(0x00, &[])
    }

    /// Appends a boolean.
    #[must_use]
    pub fn bool(self, value: bool) -> Self {
        self.append(0x26 + u8::from(value), &[])
    }

    /// Appends an integer.
    #[must_use]
    #[inline]
    pub fn int(mut self, value: i64) -> Self {
        append_key_int(&mut self.bytes, value);
        self
    }

    /// Appends a float.
    #[must_use]
    pub fn float(self, value: f64) -> Self {
        let bits = value.to_bits();
        let ordered = if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        };
        self.append(0x21, &ordered.to_be_bytes())
    }

    /// Appends text.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        self.escaped(0x02, value.as_bytes())
    }

    /// Appends bytes.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        self.escaped(0x01, value)
    }

    fn escaped(self, code: u8, bytes: &[u8]) -> Self {
        let mut pieces = bytes.split(|&byte| byte == 0);
        let mut key = self.append(code, pieces.next().unwrap_or_default());
        for piece in pieces {
            key = key.append(0, &[0xff]).extend(piece);
        }
        key.append(0, &[])
    }

    fn append(mut self, code: u8, bytes: &[u8]) -> Self {
        self.bytes.push(code);
        self.extend(bytes)
    }

    fn extend(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

impl fmt::Debug for KeyBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.storage(), Key::new(self.as_bytes()))
    }
}

/// A row, or a list; [`row()`] begins it.
#[derive(Clone, PartialEq, Eq)]
pub struct RowBuilder {
    /// Five bytes, at whose end the array's head stands, then the fields.
    bytes: Buffer,
    count: u32,
}

impl RowBuilder {
    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.head_start()..]
    }

    /// Appends null.
    #[must_use]
    pub fn null(self) -> Self {
        self.append(0xc0, &[], &[])
    }

    /// Appends a boolean.
    #[must_use]
    pub fn bool(self, value: bool) -> Self {
        self.append(0xc2 + u8::from(value), &[], &[])
    }

    /// Appends an integer.
    #[must_use]
    #[inline]
    pub fn int(mut self, value: i64) -> Self {
        append_row_int(&mut self.bytes, value);
        self.counted()
    }

    /// Appends a float; every NaN becomes the one canonical NaN.
    #[must_use]
    pub fn float(self, value: f64) -> Self {
        let bits = if value.is_nan() {
            0x7ff8_0000_0000_0000
        } else {
            value.to_bits()
        };
        self.append(0xcb, &bits.to_be_bytes(), &[])
    }

    /// Appends text.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        let size = size_of_len(value.len());
        match (value.len(), size) {
            (len @ 0..=31, _) => self.append(0xa0 | len as u8, &[], value.as_bytes()),
            (len, 1) => self.sized(0xd9, len, size, value.as_bytes()),
            (len, 2) => self.sized(0xda, len, size, value.as_bytes()),
            (len, _) => self.sized(0xdb, len, size, value.as_bytes()),
        }
    }

    /// Appends bytes.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let size = size_of_len(value.len());
        let tag = match size {
            1 => 0xc4,
            2 => 0xc5,
            _ => 0xc6,
        };
        self.sized(tag, value.len(), size, value)
    }

    /// Appends a list, or a nested record, with the fields of `values`.
    #[must_use]
    pub fn list(mut self, values: &Self) -> Self {
        self.bytes.extend_from_slice(values.as_bytes());
        self.counted()
    }

    fn sized(self, tag: u8, len: usize, size: usize, bytes: &[u8]) -> Self {
        self.append(tag, &(len as u64).to_be_bytes()[8 - size..], bytes)
    }

    fn append(mut self, tag: u8, number: &[u8], bytes: &[u8]) -> Self {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(number);
        self.bytes.extend_from_slice(bytes);
        self.counted()
    }

    /// Counts a field that was appended.
    #[inline(always)]
    fn counted(mut self) -> Self {
        self.count += 1;
        if self.count > 15 {
            self.write_head();
        } else if let Some(head) = self.bytes.get_mut(4) {
            *head = 0x90 | self.count as u8;
        }
        self
    }

    #[cold]
    fn write_head(&mut self) {
        let head = head_of(self.count);
        self.bytes[..head.len()].copy_from_slice(&head);
    }

    #[inline]
    fn head_start(&self) -> usize {
        match self.count {
            0..=15 => 4,
            16..=0xffff => 2,
            _ => 0,
        }
    }
}

/// Writes the methods that take an option, each beside the one for what is in it.
macro_rules! optional {
    ($builder:ty: $($opt:ident, $name:ident($ty:ty), $what:literal;)*) => {
        impl $builder {
            $(
                #[doc = concat!("Appends ", $what, " or null.")]
                #[must_use]
                pub fn $opt(self, value: Option<$ty>) -> Self {
                    match value {
                        Some(value) => self.$name(value),
                        None => self.null(),
                    }
                }
            )*
        }
    };
}

optional! { KeyBuilder<'_>:
    opt_bool, bool(bool), "a boolean";
    opt_int, int(i64), "an integer";
    opt_float, float(f64), "a float";
    opt_text, text(&str), "text";
    opt_bytes, bytes(&[u8]), "bytes";
}

optional! { RowBuilder:
    opt_bool, bool(bool), "a boolean";
    opt_int, int(i64), "an integer";
    opt_float, float(f64), "a float";
    opt_text, text(&str), "text";
    opt_bytes, bytes(&[u8]), "bytes";
    opt_list, list(&RowBuilder), "a list, a nested record";
}

/// An array's head, at the end of five bytes.
fn head_of(count: u32) -> [u8; 5] {
    let [a, b, c, d] = count.to_be_bytes();
    match count {
        0..=15 => [0, 0, 0, 0, 0x90 | d],
        16..=0xffff => [0, 0, 0xdc, c, d],
        _ => [0xdd, a, b, c, d],
    }
}

fn append_key_int(bytes: &mut Vec<u8>, value: i64) {
    let size = 8 - value.unsigned_abs().leading_zeros() as usize / 8;
    let (code, number) = if value < 0 {
        // One's complement of the magnitude, so that larger magnitudes sort first.
        (0x14 - size as u8, !value.unsigned_abs())
    } else {
        (0x14 + size as u8, value as u64)
    };
    append_number(bytes, code, number, size);
}

fn append_row_int(bytes: &mut Vec<u8>, value: i64) {
    let (tag, size) = match value {
        -32..=0x7f => (value as u8, 0),
        0x80..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -0x80..=-33 => (0xd0, 1),
        -0x8000..=-0x81 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    append_number(bytes, tag, value as u64, size);
}

/// Appends a code and the last `size` bytes of a number, big-endian: by one copy of fixed length, which is cut.
fn append_number(bytes: &mut Vec<u8>, code: u8, number: u64, size: usize) {
    let len = bytes.len() + 1 + size;
    let shifted = number.checked_shl(64 - 8 * size as u32).unwrap_or(0);
    let [a, b, c, d, e, f, g, h] = shifted.to_be_bytes();
    bytes.extend_from_slice(&[code, a, b, c, d, e, f, g, h]);
    bytes.truncate(len);
}

/// How many bytes a length takes.
fn size_of_len(len: usize) -> usize {
    match len {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

impl From<&Row<'_>> for RowBuilder {
    /// Copies the fields of a row, for more to follow or to write it again.
    fn from(from: &Row<'_>) -> Self {
        let fields = from.fields();
        let count = fields.len() as u32;
        let mut bytes = Buffer::new();
        bytes.extend_from_slice(&head_of(count));
        bytes.extend_from_slice(fields.encoded());
        Self { bytes, count }
    }
}

impl fmt::Debug for RowBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Row::new(self.as_bytes()), f)
    }
}
