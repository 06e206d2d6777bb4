//! Command ids: what makes a repeated command harmless.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use crate::store::Bytes;

/// An accepted command that can be recognised when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: Box<str>,
    pub(crate) offset: u64,
    /// Hash of the command's name and arguments.
    pub(crate) hash: [u8; 16],
    /// The result row, where there was one.
    pub(crate) result: Option<Bytes>,
}

/// The accepted ids of a partition, at most a window of the last ones.
#[derive(Debug)]
pub(crate) struct Ids {
    window: usize,
    order: Order,
    by_id: IndexSet<ById, RandomState>,
}

/// How many commands are shared as one.
const CHUNK: usize = 1024;

/// Accepted commands, oldest first, and cheap to share with a checkpoint that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// All but the last are full.
    chunks: VecDeque<Arc<Vec<Arc<Accepted>>>>,
    /// How many of the first chunk are forgotten.
    forgotten: usize,
}

impl Order {
    pub(crate) fn len(&self) -> usize {
        let last = self.chunks.back().map_or(0, |last| last.len());
        self.chunks.len().saturating_sub(1) * CHUNK + last - self.forgotten
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Accepted> {
        let chunks = self.chunks.iter().enumerate();
        let rest = chunks.flat_map(|(at, chunk)| match at {
            0 => &chunk[self.forgotten..],
            _ => chunk,
        });
        rest.map(|accepted| &**accepted)
    }

    fn push(&mut self, accepted: Arc<Accepted>) {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(accepted),
            _ => self.chunks.push_back(Arc::new(vec![accepted])),
        }
    }

    fn pop(&mut self) -> Option<Arc<Accepted>> {
        let first = self.chunks.front()?;
        let oldest = first.get(self.forgotten)?.clone();
        self.forgotten += 1;
        if self.forgotten == first.len() {
            self.chunks.pop_front();
            self.forgotten = 0;
        }
        Some(oldest)
    }
}

/// An accepted command, told from others by its id alone.
#[derive(Debug)]
struct ById(Arc<Accepted>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Ids {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window,
            order: Order::default(),
            by_id: IndexSet::default(),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Accepted> {
        self.by_id.get(id).map(|accepted| &*accepted.0)
    }

    /// Remembers an accepted command and forgets the oldest one beyond the window.
    pub(crate) fn remember(&mut self, accepted: Accepted) {
        let accepted = Arc::new(accepted);
        self.by_id.replace(ById(accepted.clone()));
        self.order.push(accepted);
        while self.order.len() > self.window {
            // Under a smaller window, an id may have been forgotten and accepted again.
            if let Some(oldest) = self.order.pop()
                && self
                    .get(&oldest.id)
                    .is_some_and(|last| last.offset == oldest.offset)
            {
                self.by_id.swap_remove(&*oldest.id);
            }
        }
    }

    /// Whether the last ids here are those that `other` remembers.
    pub(crate) fn end_with(&self, other: &Self) -> bool {
        let mut pairs = self.order.iter().rev().zip(other.order.iter().rev());
        other.order.len() <= self.order.len() && pairs.all(|(own, other)| own == other)
    }

    /// The remembered ids, oldest first, as they are now.
    pub(crate) fn snapshot(&self) -> Order {
        self.order.clone()
    }
}

/// The hash by which a repeated command is told from another one under the same id.
pub(crate) fn hash(command: &str, args: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(command.len() as u64).to_le_bytes());
    hasher.update(command.as_bytes());
    hasher.update(args);
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Accepted, CHUNK, Ids};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_last_ids_of_a_window_are_remembered_in_order(
            window in prop_oneof![0..5usize, 0..3 * CHUNK], count in 0..5 * CHUNK as u64, shared in 0..5 * CHUNK as u64,
        ) {
            let mut ids = Ids::new(window);
            let offsets = |ids: &Ids| ids.snapshot().iter().map(|a| a.offset).collect::<Vec<_>>();
            let mut before = None;
            for offset in 0..count {
                if offset == shared {
                    before = Some((ids.snapshot(), offsets(&ids)));
                }
                let id = offset.to_string().into();
                ids.remember(Accepted { id, offset, hash: [0; 16], result: None });
            }
            let first = count.saturating_sub(window as u64);
            prop_assert_eq!(offsets(&ids), (first..count).collect::<Vec<_>>());
            prop_assert_eq!(ids.snapshot().len() as u64, count - first);
            for offset in 0..count {
                prop_assert_eq!(ids.get(&offset.to_string()).is_some(), offset >= first);
            }
            if let Some((shared, offsets)) = before {
                prop_assert!(shared.iter().map(|a| a.offset).eq(offsets));
            }
        }
    }
}
