//! The pending rows of one storage: found by their hash, and put in order only for who reads a range.

use std::cell::{Ref, RefCell};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use indexmap::map::Entry;

use crate::store::{Bytes, Tree, head};

/// For how many rows memory is kept from one group to the next.
const KEPT: usize = 64 << 10;

/// What each key has now; none where its row was removed.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// In the order in which the keys came.
    pending: IndexMap<Bytes, Option<Bytes>, RandomState>,
    order: RefCell<Order>,
    /// The head and the place of each row, while they are put in order; kept so that the buffer is used again.
    heads: Vec<(u64, usize)>,
}

/// The places of the first rows, by their keys.
#[derive(Debug, Default)]
struct Order {
    places: Tree<usize>,
    known: usize,
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.pending.get(key).map(Option::as_ref)
    }

    /// The place of a key, for [`replace`].
    pub(super) fn entry(&mut self, key: Bytes) -> Entry<'_, Bytes, Option<Bytes>> {
        self.pending.entry(key)
    }

    /// Takes the last [`replace`] back that was not taken back yet.
    pub(super) fn take_back(&mut self, at: usize, before: Option<Option<Bytes>>) {
        if let Some(before) = before {
            self.pending[at] = before;
        } else if let Some((key, _)) = self.pending.pop() {
            let order = self.order.get_mut();
            if order.known > self.pending.len() {
                order.places.remove(&key);
                order.known = self.pending.len();
            }
        }
    }

    /// Hands over all rows in the order of their keys, which meets neighbours in the store one after the other. What is
    /// here means nothing then until [`Rows::clear`].
    pub(super) fn hand_over(&mut self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
        let Self { pending, heads, .. } = self;
        heads.extend(pending.keys().map(|key| head(key)).zip(0..));
        let key_at = |at| pending.get_index(at).map(|(key, _)| &**key);
        heads.sort_unstable_by(|(one, at), (other, other_at)| {
            let heads = one.cmp(other);
            heads.then_with(|| key_at(*at).cmp(&key_at(*other_at)))
        });
        heads.drain(..).filter_map(|(_, at)| {
            let (key, value) = pending.get_index_mut(at)?;
            Some((key.clone(), value.take()))
        })
    }

    /// The places of all rows, by their keys, for [`Rows::at`].
    pub(super) fn places(&self) -> Ref<'_, Tree<usize>> {
        let mut order = self.order.borrow_mut();
        for at in order.known..self.pending.len() {
            if let Some((key, _)) = self.pending.get_index(at) {
                order.places.set(key.clone(), at);
            }
        }
        order.known = self.pending.len();
        drop(order);
        Ref::map(self.order.borrow(), |order| &order.places)
    }

    /// What the row at a place has.
    pub(super) fn at(&self, place: usize) -> Option<&Bytes> {
        self.pending[place].as_ref()
    }

    pub(super) fn clear(&mut self) {
        if self.pending.capacity() > KEPT {
            self.pending = IndexMap::default();
        }
        self.pending.clear();
        let order = self.order.get_mut();
        order.places.clear();
        order.known = 0;
    }
}

/// Sets or removes the row of an entry; gives its place, and what the entry had before.
pub(super) fn replace(
    entry: Entry<'_, Bytes, Option<Bytes>>,
    value: Option<Bytes>,
) -> (usize, Option<Option<Bytes>>) {
    let at = entry.index();
    let before = match entry {
        Entry::Occupied(mut pending) => Some(pending.insert(value)),
        Entry::Vacant(free) => {
            free.insert(value);
            None
        }
    };
    (at, before)
}
