//! The stores, side by side: what a group of orders costs on each, and a state four times the memory that it may use.
//!
//! `cargo bench -p partition --features disk --bench store` takes less than a minute and 400 MB of disk. Its last part
//! sets the memory of the store on disk to a quarter of the bytes of its rows, and shows what the process took more for
//! it, by the operating system's account (`VmRSS`, on Linux).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine_core::catalog::StorageId;
use partition::log::Position;
use partition::platform::OsPlatform;
use partition::store::{Bytes, DiskStore, MemoryStore, StateStore, View, Write};

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

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn side_by_side(size: u64, groups: u64) -> Outcome<()> {
    let (mut memory, mut on_disk) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        let mut stores: [(Box<dyn StateStore>, _); 2] = [
            (Box::new(MemoryStore::new(NAMES.len())), &mut memory),
            (Box::new(disk(folder.path(), 128 << 20)?), &mut on_disk),
        ];
        for (store, times) in &mut stores {
            for storage in [ITEMS, CUSTOMERS] {
                fill(&mut **store, storage, THINGS, 16)?;
            }
            let took = orders(&mut **store, groups, size, THINGS)?;
            times.push(took.as_secs_f64() * 1e6 / (groups * size) as f64);
        }
    }
    let (memory, on_disk) = (median(&mut memory), median(&mut on_disk));
    println!(
        "orders/{size:<5} memory {memory:6.2} µs, disk {on_disk:6.2} µs a command: disk is {:.2} × memory",
        on_disk / memory
    );
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
    let mut report = |what: &str, count: u64, begun: Instant| {
        most = most.max(resident());
        let per_second = count as f64 / begun.elapsed().as_secs_f64();
        println!("larger/{what:<8} {per_second:9.0} a second");
    };
    let begun = Instant::now();
    for storage in [ITEMS, CUSTOMERS] {
        fill(&mut store, storage, things, BYTES)?;
    }
    report("fill", things * 2, begun);
    let begun = Instant::now();
    store.snapshot()?.persist()?;
    println!("larger/persist  {:9.3} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let mut random = Random(1);
    let mut value = Vec::new();
    for _ in 0..100_000 {
        value.clear();
        assert!(store.get(ITEMS, &key(random.below(things)), &mut value)?);
    }
    report("read", 100_000, begun);
    let begun = Instant::now();
    let mut rows = 0;
    store.scan(CUSTOMERS, &[], None, &mut |_, _| {
        rows += 1;
        rows < 200_000
    })?;
    report("scan", rows, begun);
    let begun = Instant::now();
    orders(&mut store, 800, 64, things)?;
    report("orders", 800 * 64, begun);
    println!(
        "larger: rows of {} MiB, memory set to {} MiB, the process took {} MiB more",
        (things * 2 * (BYTES as u64 + 8)) >> 20,
        MEMORY >> 20,
        (most - before) >> 20
    );
    Ok(())
}

fn main() -> Outcome<()> {
    larger_than_memory()?;
    side_by_side(64, 1_000)?;
    side_by_side(1_024, 100)
}
