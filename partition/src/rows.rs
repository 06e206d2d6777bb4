//! The rows of an application's state: in order, as JSON, and as one hash.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::catalog::{Catalog, Storage, StorageId};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::{RowChunk, TakeRow};
use engine_core::json::row_to_json;
use serde_json::{Map, Value as Json};

use crate::store::Snapshot;

/// Hands every row of a storage to `each` with its partition, in key order over all partitions, then by partition.
///
/// # Errors
/// Those of the views and of `each`.
pub fn for_each_row(
    snapshots: &[Arc<dyn Snapshot>],
    storage: StorageId,
    mut each: impl FnMut(u32, &[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let mut cursors: Vec<_> = snapshots
        .iter()
        .map(|view| Cursor::new(view, storage))
        .collect();
    // The next row of each partition, by key; the partition settles ties.
    let mut next = BTreeMap::new();
    for (partition, cursor) in cursors.iter_mut().enumerate() {
        if let Some((key, value)) = cursor.next()? {
            next.insert((key, partition), value);
        }
    }
    while let Some(((key, partition), value)) = next.pop_first() {
        each(partition as u32, &key, &value)?;
        if let Some((key, value)) = cursors[partition].next()? {
            next.insert((key, partition), value);
        }
    }
    Ok(())
}

type Row = (Vec<u8>, Vec<u8>);

struct Cursor<'a> {
    view: &'a Arc<dyn Snapshot>,
    storage: StorageId,
    rows: std::vec::IntoIter<Row>,
    after: Option<Vec<u8>>,
    done: bool,
}

impl<'a> Cursor<'a> {
    fn new(view: &'a Arc<dyn Snapshot>, storage: StorageId) -> Self {
        Self {
            view,
            storage,
            rows: Vec::new().into_iter(),
            after: None,
            done: false,
        }
    }

    fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            if self.done {
                return Ok(None);
            }
            let mut chunk = RowChunk::default();
            let take: &mut TakeRow<'_> = &mut |key, value| chunk.push(key, value);
            self.view
                .scan(self.storage, &[], self.after.as_deref(), take)?;
            self.done = !chunk.is_cut();
            let rows: Vec<Row> = chunk
                .rows()
                .map(|(k, v)| (k.to_vec(), v.to_vec()))
                .collect();
            self.after = rows.last().map(|(key, _)| key.clone());
            self.rows = rows.into_iter();
        }
    }
}

fn damaged(storage: &Storage, error: &Error) -> Error {
    let message = format!("a row of storage `{}`: {}", storage.name, error.message());
    Error::new(ErrorKind::Corrupt, message)
}

/// A row as one flat JSON object: the key's fields, then the value's.
///
/// # Errors
/// `corrupt` where the row does not fit its schemas.
pub fn to_json(
    catalog: &Catalog,
    storage: StorageId,
    key: &[u8],
    value: &[u8],
) -> Result<Map<String, Json>> {
    let storage = catalog.storage(storage);
    let damaged = |error: Error| damaged(storage, &error);
    let mut row = row_to_json(&storage.key.decode_key(key).map_err(damaged)?, &storage.key);
    row.extend(row_to_json(
        &storage.value.decode(value).map_err(damaged)?,
        &storage.value,
    ));
    Ok(row)
}

/// One hash of all rows that depends on nothing but the rows: not on their history, their partitions or their drivers.
///
/// Rows are normalised to today's schemas. The hash is BLAKE3 over every storage in order of its name, with its name
/// and every row in key order, each text, key and value preceded by its length as u64, little-endian.
///
/// # Errors
/// `corrupt` where a row does not fit its schemas, `io`.
pub fn hash(catalog: &Catalog, snapshots: &[Arc<dyn Snapshot>]) -> Result<String> {
    let storages = catalog.storages().filter(|(id, _)| !id.is_system());
    let storages: Vec<_> = storages.map(|(id, _)| id).collect();
    hash_of(catalog, snapshots, &storages)
}

/// The same hash over some storages only.
///
/// # Errors
/// As [`hash`].
pub fn hash_of(
    catalog: &Catalog,
    snapshots: &[Arc<dyn Snapshot>],
    storages: &[StorageId],
) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let mut storages: Vec<_> = storages
        .iter()
        .map(|id| (*id, catalog.storage(*id)))
        .collect();
    storages.sort_by_key(|(_, storage)| &storage.name);
    for (id, storage) in storages {
        put(storage.name.as_bytes());
        // Rows of one key on several partitions count in the order of their values.
        let mut last: Option<(Vec<u8>, Vec<Vec<u8>>)> = None;
        let mut settle = |(key, mut values): (Vec<u8>, Vec<Vec<u8>>)| {
            values.sort();
            for value in values {
                put(&key);
                put(&value);
            }
        };
        for_each_row(snapshots, id, |_, key, value| {
            let value = storage
                .value
                .normalise(value)
                .map_err(|error| damaged(storage, &error))?;
            let value = value.into_owned();
            match &mut last {
                Some((same, values)) if same == key => values.push(value),
                _ => {
                    let before = last.replace((key.to_vec(), vec![value]));
                    before.into_iter().for_each(&mut settle);
                }
            }
            Ok(())
        })?;
        last.into_iter().for_each(settle);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
