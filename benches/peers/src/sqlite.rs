//! SQLite: prepared statements in this process, with a write-ahead log that is synced at each commit.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::measure::{Contender, Measured, Outcome, repeat};
use crate::work::{NUMBERS, Order, Orders, PLENTY, price};

const SETTINGS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -262144;";

const TABLES: &str = "
    CREATE TABLE item (item INTEGER PRIMARY KEY, stock INTEGER NOT NULL, price INTEGER NOT NULL);
    CREATE TABLE customer (customer INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE orders (
        number INTEGER PRIMARY KEY, customer INTEGER NOT NULL, item INTEGER NOT NULL,
        quantity INTEGER NOT NULL, total INTEGER NOT NULL);";

/// SQLite, with one and with 64 orders a transaction.
///
/// # Errors
/// Where a database cannot be made.
pub fn contenders(data: &Path) -> Outcome<Vec<Box<dyn Contender>>> {
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for (batch, load) in [(1, "alone"), (64, "64")] {
        let folder = tempfile::tempdir_in(data)?;
        let mut database = Connection::open(folder.path().join("orders.db"))?;
        database.execute_batch(SETTINGS)?;
        database.execute_batch(TABLES)?;
        let transaction = database.transaction()?;
        for number in 0..NUMBERS as i64 {
            let item = params![number, PLENTY, price(number as u64)];
            transaction.execute("INSERT INTO item VALUES (?, ?, ?)", item)?;
            transaction.execute(
                "INSERT INTO customer VALUES (?, ?)",
                params![number, PLENTY],
            )?;
        }
        transaction.commit()?;
        contenders.push(Box::new(Sqlite {
            database,
            orders: Orders::new(),
            batch,
            load,
            _folder: folder,
        }));
    }
    Ok(contenders)
}

struct Sqlite {
    database: Connection,
    orders: Orders,
    batch: u64,
    load: &'static str,
    _folder: TempDir,
}

impl Contender for Sqlite {
    fn name(&self) -> String {
        format!("sqlite/in-process/{}", self.load)
    }

    fn settings(&self) -> String {
        let version = rusqlite::version();
        format!("SQLite {version}\n{SETTINGS}\nprepared statements, one or 64 orders a transaction")
    }

    fn measure(&mut self, time: Duration) -> Outcome<Measured> {
        let (database, orders, batch) = (&self.database, &mut self.orders, self.batch);
        repeat(time, || {
            database.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for _ in 0..batch {
                order(database, orders.next())?;
            }
            database.prepare_cached("COMMIT")?.execute([])?;
            Ok(batch)
        })
    }
}

fn order(database: &Connection, order: Order) -> Outcome {
    let (number, customer, item) = (order.order as i64, order.customer as i64, order.item as i64);
    let quantity = 1;
    let (stock, price): (i64, i64) = database
        .prepare_cached("SELECT stock, price FROM item WHERE item = ?")?
        .query_row([item], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let balance: i64 = database
        .prepare_cached("SELECT balance FROM customer WHERE customer = ?")?
        .query_row([customer], |row| row.get(0))?;
    let total = quantity * price;
    if quantity < 1 || quantity > stock || total > balance {
        return Err("an order was refused".into());
    }
    database
        .prepare_cached("UPDATE item SET stock = ? WHERE item = ?")?
        .execute([stock - quantity, item])?;
    database
        .prepare_cached("UPDATE customer SET balance = ? WHERE customer = ?")?
        .execute([balance - total, customer])?;
    database
        .prepare_cached("INSERT INTO orders VALUES (?, ?, ?, ?, ?)")?
        .execute([number, customer, item, quantity, total])?;
    Ok(())
}
