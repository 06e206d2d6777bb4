//! The rows of the shop in memory: the same for all engines and for the raw runtimes.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Bound;
use std::sync::LazyLock;

use engine_core::catalog::StorageId;
use engine_core::error::Result;
use engine_core::host::{Host, TakeRow};
use engine_core::key;
use engine_core::value::{self, Value};

use crate::application::{self, ITEMS, STORAGES};

/// How many rows the groups of blobs have; a group has the number of its rows.
pub const GROUPS: [i64; 3] = [1, 100, 10_000];

/// Bytes of data that make the value of a blob 100 bytes long.
const BLOB: usize = 97;

/// Keeps no secret, so that instructions can be counted again.
type Rows = HashMap<Vec<u8>, Vec<u8>, BuildHasherDefault<DefaultHasher>>;

/// All rows; a hash map for each storage, and the blobs in order as well.
#[derive(Debug)]
pub struct World {
    /// The id of the first storage; the others follow.
    first: u16,
    storages: [Rows; STORAGES.len()],
    blobs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    /// The one world, which nothing changes.
    pub fn get() -> &'static Self {
        static WORLD: LazyLock<World> = LazyLock::new(World::new);
        &WORLD
    }

    fn new() -> Self {
        let mut world = Self {
            first: application::storage(0).0,
            storages: Default::default(),
            blobs: BTreeMap::new(),
        };
        for id in 0..ITEMS {
            // Enough of all for every order that is ever made.
            world.insert(
                0,
                &[id],
                &[Value::Int(1_000 + id), Value::Int(1 + id % 500)],
            );
            world.insert(1, &[id], &[Value::Int(1_000_000 + id)]);
        }
        for group in GROUPS {
            for n in 0..group {
                let data = (0..BLOB).map(|at| (n as usize + at) as u8).collect();
                world.insert(3, &[group, n], &[Value::Bytes(data)]);
            }
        }
        world
    }

    fn insert(&mut self, storage: usize, key: &[i64], value: &[Value]) {
        let key: Vec<_> = key.iter().copied().map(Value::Int).collect();
        let (key, value) = (
            key::encode(&key).expect("a key of the benches"),
            value::encode(value),
        );
        if STORAGES[storage].0 == "blob" {
            self.blobs.insert(key.clone(), value.clone());
        }
        self.storages[storage].insert(key, value);
    }

    /// The value of a row, in the storage of this place in [`STORAGES`].
    pub fn row(&self, storage: usize, key: &[u8]) -> Option<&[u8]> {
        self.storages.get(storage)?.get(key).map(Vec::as_slice)
    }

    /// The blobs whose keys begin with `prefix`, behind the key `after`.
    pub fn blobs(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&[u8], &[u8])> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let rows = self.blobs.range::<[u8], _>((start, Bound::Unbounded));
        rows.map(|(key, value)| (key.as_slice(), value.as_slice()))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}

impl Host for World {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let place = storage.0.wrapping_sub(self.first);
        let row = self.row(place.into(), key);
        value.extend_from_slice(row.unwrap_or_default());
        Ok(row.is_some())
    }

    fn scan(
        &self,
        _: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        for (key, value) in self.blobs(prefix, after) {
            if !take(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn log(&self, _: &str, _: &str) {}
}
