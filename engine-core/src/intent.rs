//! Intents: what one invocation asks to have written, and the results it answers.

use std::ops::Range;

use crate::catalog::StorageId;
use crate::manifest::Verb;

/// One write that an extension asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent<'a> {
    /// What to do; never [`Verb::Read`].
    pub verb: Verb,
    /// The storage.
    pub storage: StorageId,
    /// The encoded key.
    pub key: &'a [u8],
    /// The encoded value; empty for [`Verb::Delete`].
    pub value: &'a [u8],
}

/// The intents and results of one invocation, in the order in which they were made.
///
/// One buffer holds them all, so that a kept `Intents` is filled again without allocating.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intents {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    results: Vec<Range<usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    verb: Verb,
    storage: StorageId,
    key: Range<usize>,
    value: Range<usize>,
}

impl Intents {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty set with memory for so many small intents.
    pub fn with_capacity(intents: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(32 * intents),
            entries: Vec::with_capacity(intents),
            results: Vec::new(),
        }
    }

    /// Adds an intent behind the others.
    #[inline]
    pub fn push(&mut self, intent: Intent<'_>) {
        let key = self.append(intent.key);
        let value = self.append(intent.value);
        self.entries.push(Entry {
            verb: intent.verb,
            storage: intent.storage,
            key,
            value,
        });
    }

    /// Adds a result row behind the others.
    #[inline]
    pub fn push_result(&mut self, row: &[u8]) {
        let range = self.append(row);
        self.results.push(range);
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Removes everything and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.results.clear();
    }

    /// The intents without the results.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Intent<'_>> + Clone {
        self.entries.iter().map(|entry| Intent {
            verb: entry.verb,
            storage: entry.storage,
            key: &self.bytes[entry.key.clone()],
            value: &self.bytes[entry.value.clone()],
        })
    }

    /// The result rows.
    pub fn results(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.results.iter().map(|range| &self.bytes[range.clone()])
    }

    /// How many intents there are, without the results.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is neither an intent nor a result.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.results.is_empty()
    }
}
