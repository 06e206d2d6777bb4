//! Random bytes from a seed: unpredictable if the seed is, repeatable with the same seed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stream of random blocks: BLAKE3 of a counter, keyed with the seed.
pub(super) struct Random {
    seed: [u8; 32],
    count: AtomicU64,
}

impl Random {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            count: AtomicU64::new(0),
        }
    }

    pub(super) fn block(&self) -> [u8; 32] {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        *blake3::keyed_hash(&self.seed, &count.to_le_bytes()).as_bytes()
    }
}

impl fmt::Debug for Random {
    // The seed stays out of logs: it would give away every block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Random").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn blocks_differ_and_repeat_with_the_seed() {
        let (a, b) = (Random::new([7; 32]), Random::new([7; 32]));
        let first = a.block();
        assert_ne!(first, a.block());
        assert_eq!(first, b.block());
        assert_ne!(first, Random::new([8; 32]).block());
    }
}
