//! The memory of keys and rows: taken from those that were dropped, so that building one seldom allocates.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

/// How many buffers are kept, and how large each may be.
const SPARES: usize = 16;
const SPARE_BYTES: usize = 4 << 10;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that are used again when they are dropped.
#[derive(PartialEq, Eq)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty buffer.
    pub(crate) fn new() -> Self {
        // There are no spares any more while a thread ends.
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        let spare = spare.ok().flatten();
        Self(spare.unwrap_or_else(|| Vec::with_capacity(64)))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.0);
        if bytes.capacity() > SPARE_BYTES {
            return;
        }
        bytes.clear();
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push(bytes);
            }
        });
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::new();
        copy.extend_from_slice(self);
        copy
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}
