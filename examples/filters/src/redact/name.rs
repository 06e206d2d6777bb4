//! The name of a field, decoded as it passes.

use std::collections::BTreeSet;

/// The longest name that can be looked for, in bytes.
pub(super) const LONGEST: usize = 256;

/// The decoded part of a name that has passed.
#[derive(Debug, Default)]
pub(super) struct Name {
    bytes: Vec<u8>,
    /// The first half of a character outside of the basic plane.
    high: Option<u16>,
    /// It is longer than any name that is looked for, or no text.
    lost: bool,
}

impl Name {
    /// Takes bytes that stand for themselves.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.lost |= self.high.is_some() || self.bytes.len() + bytes.len() > LONGEST;
        if !self.lost {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Takes a unit of UTF-16 that an escape stood for.
    pub(super) fn push_unit(&mut self, unit: u16) {
        let decoded = match self.high.take() {
            Some(high) => char::decode_utf16([high, unit]).next(),
            None if (0xd800..0xdc00).contains(&unit) => {
                self.high = Some(unit);
                return;
            }
            None => char::decode_utf16([unit]).next(),
        };
        match decoded {
            Some(Ok(character)) => self.push(character.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => self.lost = true,
        }
    }

    /// Whether the name that has ended is one of these.
    pub(super) fn is_in(&self, names: &BTreeSet<String>) -> bool {
        let whole = !self.lost && self.high.is_none();
        let text = std::str::from_utf8(&self.bytes).ok().filter(|_| whole);
        text.is_some_and(|text| names.contains(text))
    }
}
