//! What an invocation has seen of the state: its intents mostly go to rows that it has read, whose conditions need no
//! second search then.

use std::cell::RefCell;
use std::ops::Range;

use engine_core::catalog::StorageId;
use engine_core::error::Result;
use engine_core::host::TakeRow;

use crate::store::View;

/// How many rows are remembered: with more of them, looking through these would cost as much as the search that it spares.
const MOST: usize = 8;

/// Which rows there were, of the first that were read. What they were read from has not changed since.
#[derive(Debug, Default)]
pub(crate) struct Seen(RefCell<Reads>);

#[derive(Debug, Default)]
struct Reads {
    /// The keys, one behind the other.
    keys: Vec<u8>,
    rows: Vec<(StorageId, Range<usize>, bool)>,
}

impl Seen {
    /// Forgets everything, for the next invocation.
    pub(crate) fn clear(&mut self) {
        let reads = self.0.get_mut();
        reads.keys.clear();
        reads.rows.clear();
    }

    /// Whether there was a row, if it was read.
    pub(super) fn get(&self, storage: StorageId, key: &[u8]) -> Option<bool> {
        let reads = self.0.borrow();
        let mut rows = reads.rows.iter();
        let row = rows.find(|(of, at, _)| *of == storage && reads.keys[at.clone()] == *key);
        row.map(|(_, _, present)| *present)
    }

    /// The same view, of which single rows that are read are remembered.
    pub(crate) fn above<'a>(&'a self, view: &'a dyn View) -> Seeing<'a> {
        Seeing { seen: self, view }
    }
}

/// A view that is remembered.
pub(crate) struct Seeing<'a> {
    seen: &'a Seen,
    view: &'a dyn View,
}

impl View for Seeing<'_> {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let present = self.view.get(storage, key, value)?;
        let mut reads = self.seen.0.borrow_mut();
        if reads.rows.len() < MOST {
            let start = reads.keys.len();
            reads.keys.extend_from_slice(key);
            let at = start..reads.keys.len();
            reads.rows.push((storage, at, present));
        }
        Ok(present)
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        self.view.scan(storage, prefix, after, take)
    }
}
