//! What an instance keeps for its calls, so that a warm one allocates nothing.

use std::cell::{Cell, RefCell};

use crate::catalog::StorageId;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{Host, RowChunk, TakeRow};
use crate::limits::READ_DEPTH;

const CURSORS: usize = READ_DEPTH as usize;

/// What an instance keeps for its calls: the open range reads and their memory.
#[derive(Debug, Default)]
pub struct Buffers {
    cursors: [RefCell<Cursor>; CURSORS],
    /// One bit for each cursor that is open.
    open: Cell<u8>,
}

/// One range read: where it is.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    pub(super) storage: StorageId,
    pub(super) prefix: Vec<u8>,
    /// The key behind which the next rows begin, where there were some before.
    pub(super) after: Vec<u8>,
    /// Whether there was one.
    pub(super) begun: bool,
    /// Memory for rows that are copied ahead.
    pub(super) chunk: RowChunk,
    /// Whether there may be rows behind those that were taken.
    pub(super) more: bool,
    /// What the host failed with behind them.
    failed: Option<Error>,
}

impl Cursor {
    fn begin(&mut self, storage: StorageId, prefix: &[u8]) {
        self.storage = storage;
        self.prefix.clear();
        self.prefix.extend_from_slice(prefix);
        self.begun = false;
        self.more = true;
        self.failed = None;
    }

    /// Asks the host for the next rows. Those before the one at which it fails are as good as any, and its failure comes
    /// when more are asked for: how many are asked for at a time makes no difference then.
    ///
    /// # Errors
    /// The host's.
    pub(super) fn scan(&mut self, host: &dyn Host, take: &mut TakeRow<'_>) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let after = self.begun.then_some(&*self.after);
        self.failed = host.scan(self.storage, &self.prefix, after, take).err();
        Ok(())
    }

    /// Whether the host failed behind what it gave last.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Asks for rows behind this key from now on.
    pub(super) fn go_on_behind(&mut self, key: &[u8]) {
        self.after.clear();
        self.after.extend_from_slice(key);
        self.begun = true;
    }
}

impl Buffers {
    /// Opens a range read; none where as many as allowed are open.
    pub(super) fn open(&self, storage: StorageId, prefix: &[u8]) -> Option<usize> {
        let open = self.open.get();
        let number = open.trailing_ones() as usize;
        let mut cursor = self.cursors.get(number)?.try_borrow_mut().ok()?;
        cursor.begin(storage, prefix);
        self.open.set(open | 1 << number);
        Some(number)
    }

    /// An open range read.
    ///
    /// # Errors
    /// `abi` where none of this number is open.
    pub(super) fn cursor(&self, number: usize) -> Result<std::cell::RefMut<'_, Cursor>> {
        let closed = || {
            let message = format!("no range read of number {number} is open");
            Error::new(ErrorKind::Abi, message)
        };
        if number >= CURSORS || self.open.get() & 1 << number == 0 {
            return Err(closed());
        }
        self.cursors[number].try_borrow_mut().map_err(|_| closed())
    }

    /// Closes a range read; one that is not open stays closed.
    pub(super) fn close(&self, number: usize) {
        if number < CURSORS {
            self.open.set(self.open.get() & !(1 << number));
        }
    }

    /// Closes every range read.
    #[inline]
    pub(super) fn close_all(&self) {
        self.open.set(0);
    }
}
