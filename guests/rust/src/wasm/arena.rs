//! Memory for what the host hands over: blocks of `WasmMalloc`, values of rows.

use std::ptr;

/// Hands out blocks that are freed all at once.
///
/// Chunks double up to a limit, so that few of them are made, and the first stays for the next invocation.
pub(super) struct Arena {
    chunks: Vec<Vec<u8>>,
    /// How much of the last chunk was handed out.
    used: usize,
}

const FIRST_CHUNK: usize = 8 << 10;
/// How often chunks double, up to 1 MiB.
const DOUBLINGS: usize = 7;

impl Arena {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            used: 0,
        }
    }

    /// A block of this size, or null where there is no memory.
    pub(super) fn alloc(&mut self, size: usize) -> *mut u8 {
        // Even an empty block has an address of its own.
        let size = size.max(1);
        let room = self.chunks.last().map_or(0, Vec::capacity) - self.used;
        if room < size && !self.grow(size) {
            return ptr::null_mut();
        }
        let Some(chunk) = self.chunks.last_mut() else {
            return ptr::null_mut();
        };
        let block = chunk.as_mut_ptr().wrapping_add(self.used);
        self.used += size;
        block
    }

    /// The free place that the next block takes, and how large it is: as large as asked for, unless there is no memory.
    #[cfg(not(feature = "abi-1-0"))]
    pub(super) fn room(&mut self, least: usize) -> (*mut u8, usize) {
        if self.chunks.last().map_or(0, Vec::capacity) - self.used < least {
            self.grow(least);
        }
        match self.chunks.last_mut() {
            Some(chunk) => {
                let free = chunk.capacity() - self.used;
                (chunk.as_mut_ptr().wrapping_add(self.used), free)
            }
            None => (ptr::null_mut(), 0),
        }
    }

    fn grow(&mut self, size: usize) -> bool {
        let mut chunk = Vec::new();
        let usual = FIRST_CHUNK << self.chunks.len().min(DOUBLINGS);
        let reserved = chunk
            .try_reserve_exact(size.max(usual))
            .and_then(|()| self.chunks.try_reserve(1));
        if reserved.is_err() {
            return false;
        }
        self.chunks.push(chunk);
        self.used = 0;
        true
    }

    /// Frees every block.
    pub(super) fn reset(&mut self) {
        if self.chunks.len() > 1 {
            self.chunks.truncate(1);
        }
        self.used = 0;
    }
}
