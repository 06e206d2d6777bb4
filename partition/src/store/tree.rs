//! An ordered map of keys whose versions share what they have in common: a B+ tree.
//!
//! A clone costs one pointer. Whoever writes to one of the clones copies the nodes on the way to the row, once, and
//! writes to them in place from then on. Nodes that are filled in order of their keys become full.

use std::iter::Peekable;
use std::ops::Bound;
use std::slice;
use std::sync::Arc;

use super::Bytes;

/// The most rows of a leaf: few, as a snapshot that is held makes the writer copy each leaf that it changes.
const ROWS: usize = 32;
/// The most children of a branch.
const CHILDREN: usize = 64;

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct Tree<V> {
    root: Node<V>,
    /// No key has a greater head.
    last: u64,
}

#[derive(Clone, Debug)]
enum Node<V> {
    Leaf(Arc<Sorted<V, { ROWS + 1 }>>),
    /// Each child stands under a key that is not above any of its own, and above all of the child before. That of the
    /// first child means nothing.
    Branch(Arc<Children<V>>),
}

type Children<V> = Sorted<Node<V>, { CHILDREN + 1 }>;

/// What a node holds, in order of its keys: less than `N`, but for the moment before it is split.
#[derive(Clone, Debug)]
struct Sorted<T, const N: usize> {
    /// The head of each key, see [`head`]: in the node itself, as most searches look at nothing else. What is behind
    /// the last key means nothing.
    heads: [u64; N],
    items: Vec<(Bytes, T)>,
}

/// A key that is looked for.
#[derive(Clone, Copy)]
struct Key<'a> {
    head: u64,
    bytes: &'a [u8],
    /// It is known to belong behind all others.
    is_last: bool,
}

impl<'a> Key<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            head: head(bytes),
            bytes,
            is_last: false,
        }
    }

    /// What keys are ordered by.
    fn order(self) -> (u64, &'a [u8]) {
        (self.head, self.bytes)
    }
}

/// A row that is to be set, or removed.
struct Row<V> {
    head: u64,
    is_last: bool,
    key: Bytes,
    value: Option<V>,
}

impl<V> Row<V> {
    /// A row for a tree in which no key has a greater head than `last`.
    fn new(key: Bytes, value: Option<V>, last: &mut u64) -> Self {
        let head = head(&key);
        let is_last = head > *last;
        *last = head.max(*last);
        Self {
            head,
            is_last,
            key,
            value,
        }
    }

    fn place(&self) -> Key<'_> {
        Key {
            head: self.head,
            bytes: &self.key,
            is_last: self.is_last,
        }
    }
}

/// The first eight bytes of a key as a number, as if zeros followed it: they decide most comparisons without a look at
/// the key.
pub(crate) fn head(key: &[u8]) -> u64 {
    let behind = 64_usize.saturating_sub(8 * key.len());
    if let Some(first) = key.first_chunk() {
        u64::from_be_bytes(*first)
    } else if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
        // The bytes that are in both are the same ones in the same place.
        u64::from(u32::from_be_bytes(*first)) << 32 | u64::from(u32::from_be_bytes(*last)) << behind
    } else if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
        u64::from(u16::from_be_bytes(*first)) << 48 | u64::from(u16::from_be_bytes(*last)) << behind
    } else {
        key.first().map_or(0, |only| u64::from(*only) << behind)
    }
}

impl<T, const N: usize> Sorted<T, N> {
    fn new() -> Self {
        Self {
            heads: [0; N],
            items: Vec::with_capacity(N),
        }
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn heads(&self) -> &[u64] {
        &self.heads[..self.len()]
    }

    fn place(&self, at: usize) -> Key<'_> {
        Key {
            head: self.heads[at],
            bytes: &self.items[at].0,
            is_last: false,
        }
    }

    /// Where a key is, or where it belongs.
    #[inline]
    fn find(&self, key: Key<'_>) -> Result<usize, usize> {
        if key.is_last {
            return Err(self.len());
        }
        let heads = self.heads();
        let first = heads.partition_point(|head| *head < key.head);
        match heads.get(first) {
            Some(head) if *head == key.head => self.find_among_same(first, key),
            _ => Err(first),
        }
    }

    /// The same among the keys that have the same head, of which the first is at `first`.
    fn find_among_same(&self, first: usize, key: Key<'_>) -> Result<usize, usize> {
        // A head is all there is of a short key but its length.
        if key.bytes.len() <= 8 && self.items[first].0.len() == key.bytes.len() {
            return Ok(first);
        }
        let heads = &self.heads()[first..];
        let same = match heads.get(1) {
            Some(next) if *next == key.head => heads.partition_point(|head| *head == key.head),
            _ => 1,
        };
        let items = &self.items[first..first + same];
        let found = items.binary_search_by(|(other, _)| (**other).cmp(key.bytes));
        found.map(|at| first + at).map_err(|at| first + at)
    }

    /// The child that a key belongs to.
    fn child(&self, key: Key<'_>) -> usize {
        self.find(key).unwrap_or_else(|at| at.saturating_sub(1))
    }

    fn insert(&mut self, at: usize, key: Bytes, item: T) {
        let len = self.len();
        self.heads.copy_within(at..len, at + 1);
        self.heads[at] = head(&key);
        self.items.insert(at, (key, item));
    }

    fn remove(&mut self, at: usize) -> T {
        let len = self.len();
        self.heads.copy_within(at + 1..len, at);
        self.items.remove(at).1
    }

    /// The upper part of a node that has one too many, under its key: of one that was added to at its end only what was
    /// added, else one half.
    fn split(&mut self, added: usize) -> Option<(Bytes, Self)> {
        if self.len() < N {
            return None;
        }
        let at = if added == N - 1 { added } else { N / 2 };
        let mut upper = Self::new();
        upper.heads[..N - at].copy_from_slice(&self.heads[at..]);
        upper.items.extend(self.items.drain(at..));
        Some((upper.items[0].0.clone(), upper))
    }

    fn append(&mut self, mut upper: Self) {
        let len = self.len();
        self.heads[len..len + upper.len()].copy_from_slice(upper.heads());
        self.items.append(&mut upper.items);
    }
}

impl<V: Clone> Node<V> {
    fn new() -> Self {
        Self::Leaf(Arc::new(Sorted::new()))
    }

    fn len(&self) -> usize {
        match self {
            Self::Leaf(rows) => rows.len(),
            Self::Branch(children) => children.len(),
        }
    }

    /// Sets a row, which belongs here, and those behind it that are to be set too, as long as they come in order and
    /// belong before `end`. Gives the node that is to stand behind this one where it was split; that ends the run.
    fn set(
        &mut self,
        mut row: Row<V>,
        more: &mut Peekable<impl Iterator<Item = Row<V>>>,
        end: Option<Key<'_>>,
    ) -> Option<(Bytes, Self)> {
        let is_here = |row: &Row<V>| {
            row.value.is_some() && end.is_none_or(|end| row.place().order() < end.order())
        };
        match self {
            Self::Leaf(rows) => {
                let rows = Arc::make_mut(rows);
                loop {
                    let found = rows.find(row.place());
                    let (Ok(at) | Err(at)) = found;
                    let value = row.value?;
                    match found {
                        Ok(at) => rows.items[at].1 = value,
                        Err(at) => rows.insert(at, row.key, value),
                    }
                    if let Some((key, upper)) = rows.split(at) {
                        return Some((key, Self::Leaf(Arc::new(upper))));
                    }
                    let last = rows.place(at).order();
                    row = more.next_if(|row| last < row.place().order() && is_here(row))?;
                }
            }
            Self::Branch(children) => {
                let children = Arc::make_mut(children);
                loop {
                    let at = children.child(row.place());
                    let Sorted { heads, items } = children;
                    let (lower, upper) = items.split_at_mut(at + 1);
                    let next = upper.first().map(|(key, _)| Key {
                        head: heads[at + 1],
                        bytes: key,
                        is_last: false,
                    });
                    if let Some((key, node)) = lower[at].1.set(row, more, next.or(end)) {
                        children.insert(at + 1, key, node);
                        let upper = children.split(at + 1);
                        return upper.map(|(key, upper)| (key, Self::Branch(Arc::new(upper))));
                    }
                    let next = next?.order();
                    row = more.next_if(|row| next <= row.place().order() && is_here(row))?;
                }
            }
        }
    }

    /// Removes a row, and gives what it had; this is the root.
    fn remove_row(&mut self, key: &[u8]) -> Option<V> {
        // What is not there is no reason to copy nodes.
        let key = Key::new(key);
        self.get(key)?;
        let removed = self.remove(key);
        while let Self::Branch(children) = self {
            *self = match &children.items[..] {
                [] => Self::new(),
                [(_, only)] => only.clone(),
                _ => break,
            };
        }
        removed
    }

    fn get(&self, key: Key<'_>) -> Option<&V> {
        let mut node = self;
        loop {
            match node {
                Self::Branch(children) => node = &children.items[children.child(key)].1,
                Self::Leaf(rows) => return rows.find(key).ok().map(|at| &rows.items[at].1),
            }
        }
    }

    /// Removes a row that is there.
    fn remove(&mut self, key: Key<'_>) -> Option<V> {
        match self {
            Self::Leaf(rows) => {
                let at = rows.find(key).ok()?;
                Some(Arc::make_mut(rows).remove(at))
            }
            Self::Branch(children) => {
                let children = Arc::make_mut(children);
                let at = children.child(key);
                let removed = children.items[at].1.remove(key);
                if children.items[at].1.len() == 0 {
                    children.remove(at);
                } else {
                    let lower = at.saturating_sub(1);
                    Self::join(children, lower);
                }
                removed
            }
        }
    }

    /// Joins a child with the one behind it where both together are not half full.
    fn join(children: &mut Children<V>, lower: usize) {
        let Some([(_, one), (key, other)]) = children.items.get(lower..lower + 2) else {
            return;
        };
        match (one, other) {
            (Self::Leaf(one), Self::Leaf(other)) if one.len() + other.len() <= ROWS / 2 => {}
            (Self::Branch(one), Self::Branch(other)) if one.len() + other.len() <= CHILDREN / 2 => {
            }
            _ => return,
        }
        let key = key.clone();
        match (children.remove(lower + 1), &mut children.items[lower].1) {
            (Self::Leaf(upper), Self::Leaf(lower)) => {
                Arc::make_mut(lower).append(Arc::unwrap_or_clone(upper));
            }
            (Self::Branch(upper), Self::Branch(lower)) => {
                let mut upper = Arc::unwrap_or_clone(upper);
                // What was the first child is one among others now.
                upper.heads[0] = head(&key);
                upper.items[0].0 = key;
                Arc::make_mut(lower).append(upper);
            }
            _ => {}
        }
    }
}

impl<V: Clone> Default for Tree<V> {
    fn default() -> Self {
        Self {
            root: Node::new(),
            last: 0,
        }
    }
}

impl<V: Clone> Tree<V> {
    /// Removes everything, and keeps the memory where that is one leaf.
    pub(crate) fn clear(&mut self) {
        if let Node::Leaf(rows) = &mut self.root
            && let Some(rows) = Arc::get_mut(rows)
        {
            rows.items.clear();
        } else {
            *self = Self::default();
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        let key = Key::new(key);
        if key.head > self.last {
            return None;
        }
        self.root.get(key)
    }

    /// Sets or removes rows, one after the other; those that come in order of their keys are found together.
    pub(crate) fn write(&mut self, rows: impl Iterator<Item = (Bytes, Option<V>)>) {
        let Self { root, last } = self;
        let rows = rows.map(|(key, value)| Row::new(key, value, last));
        let mut rows = rows.peekable();
        while let Some(row) = rows.next() {
            if row.value.is_none() {
                root.remove_row(&row.key);
            } else if let Some((key, upper)) = root.set(row, &mut rows, None) {
                let lower = std::mem::replace(root, Node::new());
                let mut children = Sorted::new();
                children.insert(0, Bytes::from(&[][..]), lower);
                children.insert(1, key, upper);
                *root = Node::Branch(Arc::new(children));
            }
        }
    }

    /// Sets a row.
    pub(crate) fn set(&mut self, key: Bytes, value: V) {
        self.write(std::iter::once((key, Some(value))));
    }

    /// Removes a row, and gives what it had.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.root.remove_row(key)
    }

    /// The rows in order of their keys, from a key on.
    pub(crate) fn from(&self, start: Bound<&[u8]>) -> Rows<'_, V> {
        let mut rows = Rows {
            branches: Vec::new(),
            leaf: [].iter(),
        };
        let (Bound::Included(first) | Bound::Excluded(first)) = start else {
            rows.enter(&self.root);
            return rows;
        };
        let key = Key::new(first);
        let mut node = &self.root;
        while let Node::Branch(children) = node {
            let at = children.child(key);
            rows.branches.push(children.items[at + 1..].iter());
            node = &children.items[at].1;
        }
        if let Node::Leaf(leaf) = node {
            let at = match (leaf.find(key), start) {
                (Ok(at), Bound::Excluded(_)) => at + 1,
                (Ok(at) | Err(at), _) => at,
            };
            rows.leaf = leaf.items[at..].iter();
        }
        rows
    }
}

/// The rows of a map, in order.
#[derive(Debug)]
pub(crate) struct Rows<'a, V> {
    /// What is still to come of the branches above the leaf, from the root down.
    branches: Vec<slice::Iter<'a, (Bytes, Node<V>)>>,
    leaf: slice::Iter<'a, (Bytes, V)>,
}

impl<'a, V> Rows<'a, V> {
    fn enter(&mut self, node: &'a Node<V>) {
        match node {
            Node::Leaf(rows) => self.leaf = rows.items.iter(),
            Node::Branch(children) => self.branches.push(children.items.iter()),
        }
    }
}

impl<'a, V> Iterator for Rows<'a, V> {
    type Item = (&'a Bytes, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            match self.branches.last_mut()?.next() {
                Some((_, node)) => self.enter(node),
                None => drop(self.branches.pop()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::{CHILDREN, Node, ROWS, Tree};

    type Model = BTreeMap<Vec<u8>, u32>;

    /// A key whose head says nothing, something or all of it.
    fn key(form: u8, n: u16) -> Vec<u8> {
        let n = n.to_be_bytes();
        match form {
            0 => n.to_vec(),
            1 => [&b"the same head"[..], &n].concat(),
            _ => [&n[..1], &[0; 7][..usize::from(n[1] % 8)], &n[1..]].concat(),
        }
    }

    /// Checks the sizes and the order of a node and all below it, and gives its depth.
    fn check(node: &Node<u32>, from: Option<&[u8]>, to: Option<&[u8]>) -> usize {
        let within =
            |key: &[u8]| from.is_none_or(|from| from <= key) && to.is_none_or(|to| key < to);
        match node {
            Node::Leaf(rows) => {
                assert!(rows.len() <= ROWS);
                assert!(rows.items.iter().all(|(key, _)| within(key)));
                assert!(rows.items.is_sorted_by(|one, other| *one.0 < *other.0));
                assert!(
                    rows.heads()
                        .iter()
                        .copied()
                        .eq(rows.items.iter().map(|(key, _)| super::head(key)))
                );
                0
            }
            Node::Branch(children) => {
                assert!((1..=CHILDREN).contains(&children.len()));
                let keys: Vec<&[u8]> = children.items.iter().map(|(key, _)| &**key).collect();
                let depths: Vec<usize> = (0..keys.len())
                    .map(|at| {
                        let node = &children.items[at].1;
                        assert!(node.len() > 0);
                        let lower = if at == 0 { from } else { Some(keys[at]) };
                        check(node, lower, keys.get(at + 1).copied().or(to))
                    })
                    .collect();
                assert!(depths.iter().all(|depth| *depth == depths[0]));
                depths[0] + 1
            }
        }
    }

    #[test]
    fn heads_are_in_the_order_of_their_keys() {
        let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
        for len in 1..10 {
            keys.extend((0..1u32 << len).map(|bits| {
                (0..len)
                    .map(|n| [0, 200][(bits >> n & 1) as usize])
                    .collect()
            }));
        }
        keys.sort();
        assert!(keys.is_sorted_by_key(|key| super::head(key)));
        for key in keys.iter().filter(|key| key.len() <= 8) {
            assert!(super::head(key).to_be_bytes().starts_with(key), "{key:?}");
        }
    }

    fn same(tree: &Tree<u32>, model: &Model) {
        check(&tree.root, None, None);
        let rows = tree.from(Bound::Unbounded);
        assert!(
            rows.map(|(key, value)| (&**key, value))
                .eq(model.iter().map(|(key, value)| (&key[..], value)))
        );
    }

    /// Writes of a run of keys: up, down or scattered.
    fn write(
        tree: &mut Tree<u32>,
        model: &mut Model,
        (form, first, count, stride, value): (u8, u16, u16, u16, Option<u32>),
    ) {
        tree.write((0..count).map(|n| {
            let key = key(form, first.wrapping_add(n.wrapping_mul(stride)));
            let value = value.filter(|_| n % 7 > 0);
            match value {
                Some(value) => model.insert(key.clone(), value),
                None => model.remove(&key),
            };
            (key[..].into(), value)
        }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_tree_and_its_clones_are_the_maps_that_they_were_made_as(
            runs in prop::collection::vec(
                (0..3u8, any::<u16>(), 0..4_000u16, prop_oneof![Just(1), Just(u16::MAX), Just(40_503)], any::<Option<u32>>()),
                1..8,
            ),
            asked in prop::collection::vec((0..3u8, any::<u16>()), 20),
        ) {
            let (mut tree, mut model) = (Tree::default(), Model::new());
            let mut clones = Vec::new();
            for run in runs {
                clones.push((tree.clone(), model.clone()));
                write(&mut tree, &mut model, run);
            }
            clones.push((tree, model));
            for (tree, model) in &clones {
                same(tree, model);
                for (form, n) in &asked {
                    let key = key(*form, *n);
                    prop_assert_eq!(tree.get(&key), model.get(&key));
                    for start in [Bound::Included(&key[..]), Bound::Excluded(&key[..])] {
                        let expected = model.range::<[u8], _>((start, Bound::Unbounded)).next();
                        let expected = expected.map(|(key, value)| (&key[..], value));
                        let found = tree.from(start).next().map(|(key, value)| (&**key, value));
                        prop_assert_eq!(found, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_come_in_order_fill_their_leaves() {
        let mut tree = Tree::default();
        for n in 0..60_000u16 {
            tree.set(n.to_be_bytes()[..].into(), 0);
        }
        // Three levels hold all; leaves that are half full would need a fourth.
        assert_eq!(check(&tree.root, None, None), 2);
    }

    #[test]
    fn a_tree_that_was_emptied_is_as_a_new_one() {
        for reversed in [false, true] {
            let mut keys: Vec<u16> = (0..20_000).collect();
            let mut tree = Tree::default();
            for n in &keys {
                tree.set(n.to_be_bytes()[..].into(), 0);
            }
            if reversed {
                keys.reverse();
            }
            for n in keys {
                assert_eq!(tree.remove(&n.to_be_bytes()), Some(0));
                if n % 1_000 == 0 {
                    check(&tree.root, None, None);
                }
            }
            assert!(matches!(tree.root, Node::Leaf(rows) if rows.len() == 0));
        }
    }
}
