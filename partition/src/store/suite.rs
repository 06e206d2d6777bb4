//! What every store and every view above one must do, against a plain map.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests fail as tests do, by a panic"
)]

use std::collections::BTreeMap;

use engine_core::catalog::StorageId;
use engine_core::host::{RowChunk, TakeRow};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::{StateStore, View, Write};
use crate::log::Position;

/// How many storages the suite writes to.
pub(crate) const STORAGES: usize = 2;

/// What a store is compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model(BTreeMap<(StorageId, Vec<u8>), Vec<u8>>);

impl Model {
    pub(crate) fn write(&mut self, write: Write) {
        let key = (write.storage, write.key.to_vec());
        match write.value {
            Some(value) => self.0.insert(key, value.to_vec()),
            None => self.0.remove(&key),
        };
    }

    fn rows(&self, storage: StorageId, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.0.iter().filter(|((id, _), _)| *id == storage);
        let rows = rows.filter(|((_, key), _)| key.starts_with(prefix));
        rows.map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// A key of two bytes; like the codes of tuples, none is 255, with which ranges end.
pub(crate) fn key(n: u16) -> Vec<u8> {
    vec![(n / 200) as u8, (n % 200) as u8]
}

/// Writes to few enough keys that they meet, and to more than fit a chunk.
pub(crate) fn writes() -> impl Strategy<Value = Vec<Write>> {
    let keys = prop_oneof![
        prop::collection::vec(0u8..3, 0..4),
        (0u16..600).prop_map(key),
    ];
    let value = prop_oneof![
        16 => prop::collection::vec(any::<u8>(), 0..4).prop_map(Some),
        7 => Just(None),
        // So large that few of them fill a chunk.
        1 => (20_000usize..70_000).prop_map(|len| Some(vec![7; len])),
    ];
    let write = (0..STORAGES as u16, keys, value).prop_map(|(storage, key, value)| Write {
        storage: StorageId(storage),
        key: key.into(),
        value: value.map(Into::into),
    });
    let many = |rows| prop::collection::vec(write.clone(), rows);
    prop_oneof![many(0..20), many(200..700)]
}

/// Everything that a view can be asked must be as the model has it.
pub(crate) fn check(view: &dyn View, model: &Model) -> TestCaseResult {
    for storage in (0..STORAGES as u16).map(StorageId) {
        for prefix in [&[][..], &[0], &[1], &[2], &[1, 1], &[0, 0, 0], &[9]] {
            let expected = model.rows(storage, prefix);
            prop_assert_eq!(scan(view, storage, prefix), expected);
        }
        for n in 0..600u16 {
            let key = key(n);
            let mut value = b"kept".to_vec();
            let found = view.get(storage, &key, &mut value).unwrap();
            match model.0.get(&(storage, key)) {
                Some(expected) => {
                    prop_assert!(found);
                    prop_assert_eq!(&value[4..], &expected[..]);
                }
                None => prop_assert!(!found && value == b"kept"),
            }
        }
    }
    Ok(())
}

/// A whole range, chunk by chunk as a host reads it.
fn scan(view: &dyn View, storage: StorageId, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let mut chunk = RowChunk::default();
        let after = rows.last().map(|(key, _)| key.clone());
        let take: &mut TakeRow<'_> = &mut |key, value| chunk.push(key, value);
        view.scan(storage, prefix, after.as_deref(), take).unwrap();
        let found = chunk.rows().map(|(k, v)| (k.to_vec(), v.to_vec()));
        rows.extend(found);
        if !chunk.is_cut() {
            return rows;
        }
    }
}

/// Tests a driver: `make` gives an empty store of so many storages.
pub(crate) fn keeps_the_contract(make: impl Fn(usize) -> Box<dyn StateStore>) {
    let groups = prop::collection::vec(writes(), 1..4);
    let config = ProptestConfig::with_cases(48);
    proptest!(config, |(groups in groups)| {
        let mut store = make(STORAGES);
        let mut model = Model::default();
        let mut snapshots = vec![(store.snapshot().unwrap(), model.clone())];
        for (n, group) in groups.into_iter().enumerate() {
            let position = Position::from_u64(n as u64 + 1);
            store.apply(position, &mut group.iter().cloned()).unwrap();
            prop_assert_eq!(store.position(), position);
            group.into_iter().for_each(|write| model.write(write));
            check(&*store, &model)?;
            snapshots.push((store.snapshot().unwrap(), model.clone()));
        }
        for (snapshot, model) in snapshots {
            check(&*snapshot, &model)?;
        }
    });
}
