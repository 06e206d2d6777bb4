//! The stores, side by side: what a group of orders costs on each, and a state four times the memory that it may use.
//!
//! `cargo bench -p partition --features disk --bench store` takes less than a minute and 400 MB of disk. Its first part
//! sets the memory of the store on disk to a quarter of the bytes of its rows, and shows what the process took more for
//! it, by the operating system's account (`VmRSS`, on Linux). Prints a JSON object a line: `question`, `engine` (the store,
//! `memory` or `disk`), `round` where there are several, and what was measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine_core::catalog::StorageId;
use partition::log::Position;
use partition::platform::OsPlatform;
use partition::store::{Bytes, DiskStore, MemoryStore, StateStore, View, Write};
use serde_json::json;

const ITEMS: StorageId = StorageId(0);
const CUSTOMERS: StorageId = StorageId(1);
const ORDERS: StorageId = StorageId(2);
const NAMES: [&str; 3] = ["item", "customer", "order"];
/// Items, and customers.
const THINGS: u64 = 10_000;
const ROUNDS: usize = 5;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn key(number: u64) -> Bytes {
    // Seven bytes behind a code, as the numbers of keys are.
    [&[0x1b][..], &number.to_be_bytes()[1..]].concat().into()
}

fn write(storage: StorageId, number: u64, value: &[u8]) -> Write {
    Write {
        storage,
        key: key(number),
        value: Some(value.into()),
    }
}

fn disk(folder: &std::path::Path, memory: u64) -> Outcome<DiskStore> {
    let platform = OsPlatform::new()?;
    Ok(DiskStore::open(
        &platform,
        folder,
        NAMES.into_iter(),
        memory,
    )?)
}

/// Fills a storage with rows of so many bytes.
fn fill(store: &mut dyn StateStore, storage: StorageId, rows: u64, bytes: usize) -> Outcome<()> {
    let value = vec![7; bytes];
    for begin in (0..rows).step_by(1_000) {
        let group = begin..rows.min(begin + 1_000);
        let mut group = group.map(|number| write(storage, number, &value));
        store.apply(next(store), &mut group)?;
    }
    Ok(())
}

fn next(store: &dyn StateStore) -> Position {
    Position::from_u64(store.position().to_u64() + 1)
}

/// Runs groups of orders: each reads an item and a customer, writes both back and inserts itself.
fn orders(store: &mut dyn StateStore, groups: u64, size: u64, things: u64) -> Outcome<Duration> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut value = Vec::new();
    let begun = Instant::now();
    for group in 0..groups {
        // As the overlay has it: what a group changed is read from there.
        let mut pending: BTreeMap<(StorageId, u64), Vec<u8>> = BTreeMap::new();
        for order in 0..size {
            for storage in [ITEMS, CUSTOMERS] {
                let number = random.below(things);
                let row = match pending.get(&(storage, number)) {
                    Some(row) => row.clone(),
                    None => {
                        value.clear();
                        assert!(store.get(storage, &key(number), &mut value)?);
                        value.clone()
                    }
                };
                let changed = row.iter().map(|byte| byte.wrapping_add(1)).collect();
                pending.insert((storage, number), changed);
            }
            pending.insert((ORDERS, group * size + order), vec![1; 28]);
        }
        let mut writes = pending
            .iter()
            .map(|((storage, number), value)| write(*storage, *number, value));
        store.apply(next(store), &mut writes)?;
    }
    Ok(begun.elapsed())
}

fn side_by_side(size: u64, groups: u64) -> Outcome<()> {
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        let stores: [(&str, Box<dyn StateStore>); 2] = [
            ("memory", Box::new(MemoryStore::new(NAMES.len()))),
            ("disk", Box::new(disk(folder.path(), 128 << 20)?)),
        ];
        for (name, mut store) in stores {
            for storage in [ITEMS, CUSTOMERS] {
                fill(&mut *store, storage, THINGS, 16)?;
            }
            let took = orders(&mut *store, groups, size, THINGS)?;
            let rate = (groups * size) as f64 / took.as_secs_f64();
            let question = format!("store/orders_{size}");
            println!(
                "{}",
                json!({"question": question, "engine": name, "rate": rate.round(), "round": round})
            );
        }
    }
    Ok(())
}

/// Bytes of memory that the process has now.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    number.unwrap_or_default() << 10
}

fn larger_than_memory() -> Outcome<()> {
    const MEMORY: u64 = 32 << 20;
    const BYTES: usize = 100;
    let things = MEMORY * 4 / 2 / (BYTES as u64 + 8);
    let folder = tempfile::tempdir()?;
    let before = resident();
    let mut store = disk(folder.path(), MEMORY)?;
    let mut most = before;
    let say = |what: &str, measure: &str, number: f64| {
        let mut line = json!({"question": format!("store/larger/{what}"), "engine": "disk"});
        line[measure] = number.into();
        println!("{line}");
    };
    let mut report = |what: &str, measure: &str, count: u64, begun: Instant| {
        most = most.max(resident());
        let per_second = count as f64 / begun.elapsed().as_secs_f64();
        say(what, measure, per_second.round());
    };
    let begun = Instant::now();
    for storage in [ITEMS, CUSTOMERS] {
        fill(&mut store, storage, things, BYTES)?;
    }
    report("fill", "rows", things * 2, begun);
    let begun = Instant::now();
    store.snapshot()?.persist()?;
    say("persist", "seconds", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let mut random = Random(1);
    let mut value = Vec::new();
    for _ in 0..100_000 {
        value.clear();
        assert!(store.get(ITEMS, &key(random.below(things)), &mut value)?);
    }
    report("read", "rows", 100_000, begun);
    let begun = Instant::now();
    let mut rows = 0;
    store.scan(CUSTOMERS, &[], None, &mut |_, _| {
        rows += 1;
        rows < 200_000
    })?;
    report("scan", "rows", rows, begun);
    let begun = Instant::now();
    orders(&mut store, 800, 64, things)?;
    report("orders", "rate", 800 * 64, begun);
    // Beside its rows' bytes and the memory that it was given.
    say("rows", "bytes", (things * 2 * (BYTES as u64 + 8)) as f64);
    say("given", "bytes", MEMORY as f64);
    say("taken", "bytes", (most - before) as f64);
    Ok(())
}

fn main() -> Outcome<()> {
    larger_than_memory()?;
    side_by_side(64, 1_000)?;
    side_by_side(1_024, 100)
}
