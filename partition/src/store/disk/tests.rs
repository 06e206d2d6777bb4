//! The store on disk keeps the contract, through flushes, compactions, openings and damage.

use std::path::Path;
use std::time::{Duration, Instant};

use engine_core::catalog::StorageId;
use engine_core::error::ErrorKind;
use lsm_tree::AbstractTree;
use proptest::prelude::*;

use super::files::tree_folder;
use super::keeper::RUNS;
use super::{DiskStore, locked};
use crate::log::Position;
use crate::platform::OsPlatform;
use crate::store::suite::{self, Model, STORAGES, check, keeps_the_contract, writes};
use crate::store::{StateStore, View, Write};

const NAMES: [&str; STORAGES] = ["a", "b"];

/// Opens a store with so little memory that the suite's rows do not fit.
fn open_as(folder: &Path, names: &[&str]) -> engine_core::error::Result<DiskStore> {
    let platform = OsPlatform::new().unwrap();
    DiskStore::open(&platform, folder, names.iter().copied(), 1)
}

fn open(folder: &Path) -> DiskStore {
    open_as(folder, &NAMES).unwrap()
}

fn row(key: u16, value: &[u8]) -> Write {
    Write {
        storage: StorageId(0),
        key: suite::key(key).into(),
        value: Some(value.into()),
    }
}

#[test]
fn the_store_on_disk_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    keeps_the_contract(|storages| {
        assert_eq!(storages, NAMES.len());
        count.set(count.get() + 1);
        Box::new(open(&folder.path().join(count.get().to_string())))
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_store_that_is_opened_again_has_the_rows_of_the_position_that_it_says(
        groups in prop::collection::vec((writes(), any::<bool>()), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut states = vec![Model::default()];
        let mut persisted = 0;
        for (group, persist) in groups {
            let mut model = states[states.len() - 1].clone();
            let position = states.len() as u64;
            store.apply(Position::from_u64(position), &mut group.iter().cloned()).unwrap();
            group.into_iter().for_each(|write| model.write(write));
            states.push(model);
            if persist {
                prop_assert!(store.snapshot().unwrap().persist().unwrap());
                persisted = position;
            }
        }
        drop(store);
        let store = open(folder.path());
        let position = store.position().to_u64();
        prop_assert!(position >= persisted);
        check(&store, &states[position as usize])?;
    }
}

#[test]
fn a_snapshot_stays_as_it_is_over_flushes_and_compactions() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store
        .apply(Position::from_u64(1), &mut [row(1, b"then")].into_iter())
        .unwrap();
    let snapshot = store.snapshot().unwrap();
    for n in 2..400 {
        let group = (0..100).map(|key| row(key, &[n as u8; 100]));
        store.apply(Position::from_u64(n), &mut { group }).unwrap();
    }
    store.snapshot().unwrap().persist().unwrap();
    store.rows.tidy().unwrap();
    let mut value = Vec::new();
    assert!(
        snapshot
            .get(StorageId(0), &suite::key(1), &mut value)
            .unwrap()
    );
    assert_eq!(value, b"then");
    assert!(
        !snapshot
            .get(StorageId(0), &suite::key(2), &mut value)
            .unwrap()
    );
}

#[test]
fn rows_that_are_written_again_and_again_take_no_more_and_more_space() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for n in 1..2_000 {
        let group = (0..100).map(|key| row(key, &[n as u8; 100]));
        store.apply(Position::from_u64(n), &mut { group }).unwrap();
    }
    store.rows.persist().unwrap();
    store.rows.tidy().unwrap();
    // Twenty megabytes were written; ten kilobytes are the state.
    let space = store.rows.tree.disk_space();
    assert!(space < 2 << 20, "{space}");
}

/// Waits for the keeper.
fn comes_true(what: &str, is_true: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As many checkpoints as files that they leave would be too many, each behind a row of few.
fn checkpoints(store: &mut DiskStore, count: u64) {
    for n in 1..=count {
        let group = &mut [row((n % 7) as u16, &n.to_be_bytes())].into_iter();
        store.apply(Position::from_u64(n), group).unwrap();
        store.snapshot().unwrap().persist().unwrap();
    }
}

#[test]
fn checkpoints_of_little_each_leave_few_tables() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    checkpoints(&mut store, 300);
    comes_true("the tables are merged", || {
        store.rows.tree.table_count() < 8
    });
    drop(store);
    assert_eq!(open(folder.path()).position(), Position::from_u64(300));
}

#[test]
fn a_store_without_its_keeper_never_has_more_runs_of_tables_than_it_can_say() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    *locked(&store.rows.wake) = None;
    checkpoints(&mut store, 300);
    let runs = store.rows.tree.l0_run_count();
    // Or the keeper was there all the same.
    assert!((50..=RUNS).contains(&runs), "{runs}");
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.position(), Position::from_u64(300));
    comes_true("the tables are merged", || {
        store.rows.tree.table_count() < 8
    });
}

#[test]
fn checkpoints_of_rows_that_are_written_again_and_again_take_no_more_and_more_space() {
    let folder = tempfile::tempdir().unwrap();
    let platform = OsPlatform::new().unwrap();
    // So much memory that only checkpoints write files.
    let store = DiskStore::open(&platform, folder.path(), NAMES.into_iter(), 64 << 20);
    let mut store = store.unwrap();
    let mut first = 0;
    for n in 1..100 {
        let group = (0..100).map(|key| row(key, &[(key + n) as u8; 1_000]));
        store
            .apply(Position::from_u64(n.into()), &mut { group })
            .unwrap();
        store.snapshot().unwrap().persist().unwrap();
        if n == 1 {
            first = store.rows.tree.disk_space();
        }
    }
    comes_true("the store is small", || {
        store.rows.tree.disk_space() < 5 * first
    });
}

#[test]
fn storages_are_known_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store
        .apply(Position::from_u64(1), &mut [row(1, b"in a")].into_iter())
        .unwrap();
    store.rows.persist().unwrap();
    drop(store);
    let store = open_as(folder.path(), &["new", "b", "a"]).unwrap();
    for (storage, expected) in [(0, false), (1, false), (2, true)] {
        let found = store.get(StorageId(storage), &suite::key(1), &mut Vec::new());
        assert_eq!(found.unwrap(), expected, "{storage}");
    }
}

#[test]
fn a_store_that_another_has_open_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let refused = open_as(folder.path(), &NAMES).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    // Compaction would remove files under a snapshot's feet.
    let snapshot = store.snapshot().unwrap();
    drop(store);
    let refused = open_as(folder.path(), &NAMES).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    drop(snapshot);
    open(folder.path());
}

#[test]
fn a_folder_whose_tree_is_gone_or_says_no_position_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    std::fs::remove_file(tree_folder(folder.path()).join("current")).unwrap();
    let refused = open_as(folder.path(), &NAMES).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_key_that_is_longer_than_any_row_has_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let key = vec![1; 70_000];
    assert!(!store.get(StorageId(0), &key, &mut Vec::new()).unwrap());
    let take = &mut |_: &[u8], _: &[u8]| panic!("there is no row");
    store.scan(StorageId(0), &key, None, take).unwrap();
}
