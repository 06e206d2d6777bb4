//! The state hash: of the rows, and of nothing else.

use std::sync::Arc;

use engine_core::catalog::StorageId;
use partition::application::Application;
use partition::rows;
use partition::store::Snapshot;
use serde_json::{Value as Json, json};

use crate::app::{App, hash, ops, put, run};

fn by(name: &str, args: Json) -> Json {
    json!({"ops": args["ops"], "by": name})
}

/// The hash of the rows that do not depend on the number of partitions.
fn hash_of_rows(application: &Application) -> String {
    let catalog = &application.spec().catalog;
    let storages = ["row", "mirror"].map(|name| catalog.id(name).unwrap());
    let snapshots = application.snapshots().unwrap();
    let snapshots: Vec<Arc<dyn Snapshot>> = snapshots.into_iter().map(|(_, rows)| rows).collect();
    rows::hash_of(catalog, &snapshots, &storages).unwrap()
}

#[test]
fn the_same_rows_have_the_same_hash_whatever_their_history_and_their_partitions() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let mut hashes = Vec::new();
    for partitions in [1, 3] {
        let straight = App::new().partitions(partitions).open();
        for (id, name) in names.iter().enumerate() {
            run(&straight, &by(name, put(id as i64, 5))).unwrap();
        }
        let winding = App::new().partitions(partitions).volatile().open();
        for (id, name) in names.iter().enumerate().rev() {
            let id = id as i64;
            run(&winding, &by(name, put(id, 1))).unwrap();
            run(
                &winding,
                &by(name, ops(&[("put", 100, 1), ("delete", id, 0)])),
            )
            .unwrap();
            run(
                &winding,
                &by(name, ops(&[("insert", id, 5), ("delete", 100, 0)])),
            )
            .unwrap();
        }
        hashes.extend([hash_of_rows(&straight), hash_of_rows(&winding)]);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 1, "{hashes:?}");
}

#[test]
fn rows_that_stand_on_two_partitions_count_in_no_order() {
    let mut hashes = Vec::new();
    for (first, second) in [(1, 2), (2, 1)] {
        let application = App::new().partitions(3).open();
        let mut on = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f"] {
            let number = if on.is_empty() { first } else { second };
            let accepted = application.run("Do", &by(name, put(7, number)), None);
            let partition = accepted.unwrap().partition;
            if on.contains(&partition) {
                run(&application, &by(name, put(7, first))).unwrap();
                continue;
            }
            on.push(partition);
            if on.len() == 2 {
                break;
            }
        }
        hashes.push(hash_of_rows(&application));
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn different_rows_have_different_hashes() {
    let application = App::new().open();
    let mut hashes = vec![hash(&application)];
    for args in [put(1, 1), put(1, 2), put(2, 2), ops(&[("delete", 1, 0)])] {
        run(&application, &args).unwrap();
        hashes.push(hash_of_rows(&application));
    }
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn the_host_s_own_storages_are_outside_the_hash() {
    let application = App::new().open();
    let catalog = &application.spec().catalog;
    let system = catalog.storages().filter(|(id, _)| id.is_system());
    assert_eq!(system.count(), 4);
    let declared: Vec<StorageId> = catalog
        .storages()
        .map(|(id, _)| id)
        .filter(|id| !id.is_system())
        .collect();
    run(&application, &put(1, 1)).unwrap();
    application.settle().unwrap();
    let snapshots = application.snapshots().unwrap();
    let snapshots: Vec<_> = snapshots.into_iter().map(|(_, rows)| rows).collect();
    let only_declared = rows::hash_of(catalog, &snapshots, &declared).unwrap();
    assert_eq!(only_declared, hash(&application));
}
