//! Bare parts: hash maps and a log of the rows that were written, synced once for each group.
//!
//! Nothing checks, names or recovers anything here: this is what the disk and the machine allow.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::measure::{Contender, Measured, Outcome, repeat};
use crate::work::{NUMBERS, Orders, PLENTY, price};

/// Bytes of a log that is filled with zeros before, and written from its start again when it is full.
const PREALLOCATED: u64 = 64 << 20;

/// The log, growing and preallocated, with groups of 1, 64 and 1,024 orders.
pub fn contenders(data: &Path) -> Vec<Box<dyn Contender>> {
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for (preallocated, log) in [(false, "bare-append"), (true, "bare-preallocated")] {
        for (group, load) in [(1, "alone"), (64, "64"), (1024, "saturated")] {
            contenders.push(Box::new(Bare {
                below: data.to_owned(),
                preallocated,
                log,
                group,
                load,
            }));
        }
    }
    contenders
}

struct Bare {
    below: PathBuf,
    preallocated: bool,
    log: &'static str,
    group: u64,
    load: &'static str,
}

impl Contender for Bare {
    fn name(&self) -> String {
        format!("{}/in-process/{}", self.log, self.load)
    }

    fn settings(&self) -> String {
        format!(
            "bare log in Rust: std's hash maps, one write and fdatasync a group of 1, 64 or 1,024 orders; the file \
             grows, or {} MiB of it were written before",
            PREALLOCATED >> 20
        )
    }

    fn measure(&mut self, time: Duration) -> Outcome<Measured> {
        let mut file = tempfile::tempfile_in(&self.below)?;
        if self.preallocated {
            let zeros = vec![0; 1 << 20];
            for _ in 0..PREALLOCATED >> 20 {
                file.write_all(&zeros)?;
            }
            file.sync_all()?;
            file.rewind()?;
        }
        let mut state = State::stocked();
        let (mut orders, mut bytes) = (Orders::new(), Vec::new());
        repeat(time, || {
            bytes.clear();
            for _ in 0..self.group {
                state.order(&mut orders, &mut bytes)?;
            }
            if self.preallocated && file.stream_position()? + bytes.len() as u64 > PREALLOCATED {
                file.seek(SeekFrom::Start(0))?;
            }
            write(&mut file, &bytes)?;
            Ok(self.group)
        })
    }
}

fn write(file: &mut File, bytes: &[u8]) -> Outcome {
    file.write_all(bytes)?;
    Ok(file.sync_data()?)
}

struct State {
    /// Stock and price.
    items: HashMap<u64, (i64, i64)>,
    balances: HashMap<u64, i64>,
    /// Customer, item, quantity and total.
    orders: HashMap<u64, (u64, u64, i64, i64)>,
}

impl State {
    fn stocked() -> Self {
        Self {
            items: (0..NUMBERS)
                .map(|item| (item, (PLENTY, price(item))))
                .collect(),
            balances: (0..NUMBERS).map(|customer| (customer, PLENTY)).collect(),
            orders: HashMap::new(),
        }
    }

    /// Applies an order, and writes its three rows.
    fn order(&mut self, orders: &mut Orders, log: &mut Vec<u8>) -> Outcome {
        let order = orders.next();
        let quantity = 1;
        let (stock, price) = self.items.get_mut(&order.item).ok_or("no such item")?;
        let balance = self
            .balances
            .get_mut(&order.customer)
            .ok_or("no such customer")?;
        let total = quantity * *price;
        if quantity < 1 || quantity > *stock || total > *balance {
            return Err("an order was refused".into());
        }
        *stock -= quantity;
        *balance -= total;
        let (customer, item) = (order.customer as i64, order.item as i64);
        let rows: [&[i64]; 3] = [
            &[1, item, *stock, *price],
            &[2, customer, *balance],
            &[3, order.order as i64, customer, item, quantity, total],
        ];
        for number in rows.into_iter().flatten() {
            log.extend(number.to_le_bytes());
        }
        self.orders
            .insert(order.order, (order.customer, order.item, quantity, total));
        Ok(())
    }
}
