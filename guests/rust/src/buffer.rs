//! The memory of keys and rows: taken from those that were dropped, so that building one seldom allocates.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// How many buffers are kept, and how large each may be.
const SPARES: usize = 16;
const SPARE_BYTES: usize = 4 << 10;

/// The least room of a buffer.
const ROOM: usize = 64;

#[allow(
    clippy::box_collection,
    reason = "one word, so that a builder stays in registers while it is handed from call to call"
)]
type Memory = Box<Vec<u8>>;

thread_local! {
    static SPARE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that are used again when they are dropped.
#[derive(PartialEq, Eq)]
pub(crate) struct Buffer(Option<Memory>);

impl Buffer {
    /// An empty buffer.
    pub(crate) fn new() -> Self {
        // There are no spares any more while a thread ends.
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        let spare = spare.ok().flatten();
        Self(spare.or_else(|| Some(Box::new(Vec::with_capacity(ROOM)))))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(mut memory) = self.0.take() else {
            return;
        };
        if memory.capacity() > SPARE_BYTES {
            return;
        }
        memory.clear();
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push(memory);
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

    #[inline]
    fn deref(&self) -> &Vec<u8> {
        self.0.as_deref().unwrap_or(const { &Vec::new() })
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        self.0
            .as_deref_mut()
            .expect("a buffer has its memory until it is dropped")
    }
}
