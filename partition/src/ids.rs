//! Command ids: what makes a repeated command harmless.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use engine_core::schema::Schema;
use engine_core::value;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::store::Bytes;

/// An accepted command that can be recognised when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The id's text.
    pub(crate) id: Bytes,
    pub(crate) offset: u64,
    /// Hash of the command's name and arguments.
    pub(crate) hash: [u8; 16],
    /// The result row, where there was one.
    pub(crate) result: Option<Bytes>,
}

impl Accepted {
    /// Bytes of the id and the result: the same on every machine, since what is forgotten depends on them.
    fn bytes(&self) -> u64 {
        let result = self.result.as_ref().map_or(0, |result| result.len());
        (self.id.len() + result) as u64
    }
}

/// The longest id, in bytes.
pub(crate) const MAX_ID: usize = 1024;

/// How much is remembered: so many of the last ids, and so many bytes of ids and results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) ids: usize,
    pub(crate) bytes: u64,
}

impl Window {
    pub(crate) const ALL: Self = Self {
        ids: usize::MAX,
        bytes: u64::MAX,
    };
    pub(crate) const NONE: Self = Self { ids: 0, bytes: 0 };
}

/// The accepted ids of a partition, at most a window of the last ones.
///
/// Which they are depends on nothing but the commands and the window, so a recovery from the log, or from a checkpoint
/// and the log behind it, remembers the same. The last one is remembered however large its result is.
#[derive(Debug)]
pub(crate) struct Ids {
    window: Window,
    /// Bytes of what is remembered.
    bytes: u64,
    order: Order,
    by_id: HashTable<Slot>,
    hasher: RandomState,
}

/// Where an id is, with its hash, so that a growing table does not look at the ids again.
#[derive(Debug)]
struct Slot {
    hash: u64,
    number: u64,
}

/// How many commands are shared as one.
const CHUNK: usize = 1024;

/// Accepted commands, oldest first, and cheap to share with a checkpoint that is being written.
///
/// They are numbered in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// All but the last are full.
    chunks: VecDeque<Arc<Vec<Accepted>>>,
    /// The number of the first chunk's first.
    start: u64,
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
        chunks.flat_map(|(at, chunk)| match at {
            0 => &chunk[self.forgotten..],
            _ => chunk,
        })
    }

    fn get(&self, number: u64) -> &Accepted {
        let at = (number - self.start) as usize;
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    /// The number of the oldest, or of the next where there is none.
    fn oldest(&self) -> u64 {
        self.start + self.forgotten as u64
    }

    /// Takes in the newest and gives its number.
    fn push(&mut self, accepted: Accepted) -> u64 {
        let number = self.oldest() + self.len() as u64;
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(accepted),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(accepted);
                self.chunks.push_back(Arc::new(chunk));
            }
        }
        number
    }

    fn pop(&mut self) {
        // A large result is not kept for as long as others of its chunk are.
        let at = self.forgotten;
        if let Some(first) = self.chunks.front_mut()
            && first[at].result.is_some()
        {
            Arc::make_mut(first)[at].result = None;
        }
        self.forgotten += 1;
        if self.forgotten == CHUNK {
            self.chunks.pop_front();
            self.start += CHUNK as u64;
            self.forgotten = 0;
        }
    }
}

impl Ids {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            bytes: 0,
            order: Order::default(),
            by_id: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Accepted> {
        let id = id.as_bytes();
        let hash = self.hasher.hash_one(id);
        let same = |slot: &Slot| slot.hash == hash && *self.order.get(slot.number).id == *id;
        let slot = self.by_id.find(hash, same)?;
        Some(self.order.get(slot.number))
    }

    /// Remembers an accepted command and forgets the oldest ones beyond the window.
    pub(crate) fn remember(&mut self, accepted: Accepted) {
        let Window { ids, bytes } = self.window;
        if ids == 0 {
            return;
        }
        self.bytes += accepted.bytes();
        while self.order.len() > 0 && (self.order.len() >= ids || self.bytes > bytes) {
            self.forget();
        }
        let hash = self.hasher.hash_one(&*accepted.id);
        let order = &self.order;
        let same = |slot: &Slot| slot.hash == hash && order.get(slot.number).id == accepted.id;
        // Under a smaller window, an id may have been forgotten and accepted again.
        if let Ok(slot) = self.by_id.find_entry(hash, same) {
            slot.remove();
        }
        let number = self.order.push(accepted);
        let slot = Slot { hash, number };
        self.by_id.insert_unique(hash, slot, |slot| slot.hash);
    }

    fn forget(&mut self) {
        let oldest = self.order.oldest();
        let accepted = self.order.get(oldest);
        self.bytes -= accepted.bytes();
        let hash = self.hasher.hash_one(&*accepted.id);
        if let Ok(slot) = self.by_id.find_entry(hash, |slot| slot.number == oldest) {
            slot.remove();
        }
        self.order.pop();
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

/// The hashes that these arguments had under older schemas: without fields at the end that have their defaults.
pub(crate) fn older(command: &str, args: &[u8], schema: &Schema) -> impl Iterator<Item = [u8; 16]> {
    let mut values = schema.decode(args).unwrap_or_default();
    let fields = schema.fields().iter().rev();
    fields.map_while(move |field| {
        let last = values.pop()?;
        (last == field.default).then(|| hash(command, &value::encode(&values)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Accepted, CHUNK, Ids, Window};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_last_ids_of_a_window_are_remembered_in_order(
            window in prop_oneof![0..5usize, 0..3 * CHUNK], count in 0..5 * CHUNK as u64, shared in 0..5 * CHUNK as u64,
        ) {
            let mut ids = Ids::new(Window { ids: window, ..Window::ALL });
            let offsets = |ids: &Ids| ids.snapshot().iter().map(|a| a.offset).collect::<Vec<_>>();
            let mut before = None;
            for offset in 0..count {
                if offset == shared {
                    before = Some((ids.snapshot(), offsets(&ids)));
                }
                let id = offset.to_string().into_bytes().into();
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_last_ids_that_fit_are_remembered_wherever_one_begins(
            sizes in prop::collection::vec(0..100usize, 1..3 * CHUNK), bytes in 0..60_000u64, begin in any::<prop::sample::Index>(),
        ) {
            let window = Window { bytes, ..Window::ALL };
            let remember = |ids: &mut Ids, offset: usize| {
                let id = (offset as u32).to_le_bytes()[..].into();
                let result = (!offset.is_multiple_of(3)).then(|| vec![1; sizes[offset]].into());
                ids.remember(Accepted { id, offset: offset as u64, hash: [0; 16], result });
            };
            let offsets = |ids: &Ids| ids.snapshot().iter().map(|a| a.offset).collect::<Vec<_>>();
            let mut ids = Ids::new(window);
            let begin = begin.index(sizes.len());
            let mut saved = Vec::new();
            for offset in 0..sizes.len() {
                if offset == begin {
                    saved = offsets(&ids);
                }
                remember(&mut ids, offset);
            }
            let cost = |offset: usize| 4 + if !offset.is_multiple_of(3) { sizes[offset] as u64 } else { 0 };
            let (mut first, mut sum) = (sizes.len() - 1, cost(sizes.len() - 1));
            while first > 0 && sum + cost(first - 1) <= bytes {
                first -= 1;
                sum += cost(first);
            }
            prop_assert_eq!(offsets(&ids), (first as u64..sizes.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(ids.bytes, sum);
            // As from a checkpoint and the log behind it.
            let mut again = Ids::new(window);
            let saved = saved.into_iter().map(|offset| offset as usize);
            saved.chain(begin..sizes.len()).for_each(|offset| remember(&mut again, offset));
            prop_assert_eq!(offsets(&again), offsets(&ids));
        }
    }

    #[test]
    fn a_result_that_is_forgotten_is_let_go() {
        let mut ids = Ids::new(Window {
            bytes: 1000,
            ..Window::ALL
        });
        for offset in 0..10u64 {
            let result = Some(vec![1; 600].into());
            let id = offset.to_le_bytes()[..].into();
            ids.remember(Accepted {
                id,
                offset,
                hash: [0; 16],
                result,
            });
            // A checkpoint that is being written holds its own.
            drop(ids.snapshot());
        }
        let chunk = &ids.order.chunks[0];
        assert_eq!(chunk.iter().filter(|a| a.result.is_some()).count(), 1);
    }

    #[test]
    fn an_id_that_comes_again_stands_for_its_last_command() {
        let mut ids = Ids::new(Window {
            ids: 3,
            ..Window::ALL
        });
        for (offset, id) in ["a", "b", "a", "c"].into_iter().enumerate() {
            ids.remember(Accepted {
                id: id.as_bytes().into(),
                offset: offset as u64,
                hash: [0; 16],
                result: None,
            });
        }
        let of = |id| ids.get(id).map(|accepted| accepted.offset);
        assert_eq!(["a", "b", "c"].map(of), [Some(2), Some(1), Some(3)]);
    }
}
