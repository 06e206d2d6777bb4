//! Durable commands a second of one partition, beside a bare log with a hash map, on this machine's disk.
//!
//! The command is an order: it reads an item {stock, price} and a customer {balance}, writes both back and inserts an
//! order row. Its extension is native and trivial, so that what is measured is the partition. Every round runs each
//! question once, and the bare log beside it in groups of the size that the partition made; the medians are printed.
//!
//! Goals: one at a time at most 1.3 × the bare append and `fdatasync`, saturated at least half of the bare log's speed.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

mod order;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Instant;

use order::{Draw, ROWS};
use partition::application::os_platform;
use partition::verify::verify;

/// Commands of a round, and how many of them wait at a time.
const QUESTIONS: [(&str, u64, usize); 3] = [
    ("one at a time", 1_000, 1),
    ("pipelined 64", 20_000, 64),
    ("saturated", 100_000, 1_000),
];

/// Microseconds a command of a partition, and commands a group.
fn partition(commands: u64, waiting: usize) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let application = order::open(folder.path());
    order::fill(&application);
    let start = Instant::now();
    order::order(&application, commands, waiting);
    let took = start.elapsed();
    application.close().unwrap();
    let found = verify(&os_platform().unwrap(), folder.path()).unwrap();
    let groups = found.groups - ROWS / 1000;
    (
        took.as_secs_f64() * 1e6 / commands as f64,
        commands as f64 / groups as f64,
    )
}

/// A log that is only appended to, above a hash map.
struct Bare {
    file: File,
    group: Vec<u8>,
    rows: HashMap<(u8, u64), [i64; 4]>,
}

impl Bare {
    /// What an order does, on native rows.
    fn order(&mut self, id: u64, item: u64, customer: u64, quantity: i64) {
        let [stock, price, ..] = self.rows[&(0, item)];
        let [balance, ..] = self.rows[&(1, customer)];
        let total = price * quantity;
        for (storage, key, row) in [
            (0, item, [stock - quantity, price, 0, 0]),
            (1, customer, [balance - total, 0, 0, 0]),
            (2, id, [customer as i64, item as i64, quantity, total]),
        ] {
            self.rows.insert((storage, key), row);
            self.group.push(storage);
            self.group.extend_from_slice(&key.to_le_bytes());
            for field in row {
                self.group.extend_from_slice(&field.to_le_bytes());
            }
        }
    }
}

/// Microseconds a command of the bare log, in groups of a size.
fn bare(commands: u64, size: f64) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true);
    let mut bare = Bare {
        file: file.open(folder.path().join("log")).unwrap(),
        group: Vec::new(),
        rows: (0..2)
            .flat_map(|storage| (0..ROWS).map(move |id| ((storage, id), [1 << 40, 3, 0, 0])))
            .collect(),
    };
    let mut draw = Draw::new();
    let start = Instant::now();
    let mut groups = 0.0;
    for id in 0..commands {
        bare.order(id, draw.next(), draw.next(), 1 + (id % 3) as i64);
        if (id + 1) as f64 >= (groups + 1.0) * size || id + 1 == commands {
            bare.file.write_all(&bare.group).unwrap();
            bare.file.sync_data().unwrap();
            bare.group.clear();
            groups += 1.0;
        }
    }
    start.elapsed().as_secs_f64() * 1e6 / commands as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Takes the beginning of a question and a number of rounds, or asks every question in five rounds.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments = arguments.iter().filter(|a| !a.starts_with('-'));
    let asked = arguments.next().map_or("", String::as_str);
    let rounds = arguments.next().map_or(5, |rounds| rounds.parse().unwrap());
    let questions: Vec<_> = QUESTIONS
        .iter()
        .filter(|q| q.0.starts_with(asked))
        .collect();
    let mut measured = vec![Vec::new(); questions.len()];
    for _ in 0..rounds {
        for (measured, (_, commands, waiting)) in measured.iter_mut().zip(&questions) {
            let (partition, size) = partition(*commands, *waiting);
            measured.push((partition, size, bare(*commands, size)));
        }
    }
    for (measured, (question, ..)) in measured.into_iter().zip(questions) {
        let of = |what: fn(&(f64, f64, f64)) -> f64| median(measured.iter().map(what).collect());
        println!(
            "{question:>14}: {:9.0} commands/s, {:6.1} a group; bare log {:9.0}/s; {:.2} times the bare log's time",
            1e6 / of(|m| m.0),
            of(|m| m.1),
            1e6 / of(|m| m.2),
            of(|m| m.0 / m.2),
        );
    }
}
