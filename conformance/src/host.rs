//! A host in memory whose every answer a case decides: rows, the clock, randomness, failures and waiting.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::{Host, TakeRow};
use engine_core::key::{self, KeyWriter};
use engine_core::value::{self, Value};
use serde_json::Value as Json;

use crate::suite;

/// The time that every test host tells: microseconds since the Unix epoch.
pub const TIME: i64 = 1_700_000_000_123_456;

/// When the row of the storage `gate` appears.
#[derive(Clone, Debug)]
pub enum Gate {
    /// It never does.
    Shut,
    /// At the read with this number, the first being 1. Every earlier read takes a millisecond, so that a deadline
    /// passes in it, and the number makes sure that even a guest that ignores its deadline ends.
    AtRead(u32),
    /// It never does, and each read takes so many milliseconds.
    Slow(u64),
    /// Once the flag is set. Every read before takes a millisecond, and the first counts the host as waiting.
    When {
        /// Whether the row is there.
        open: Arc<AtomicBool>,
        /// How many hosts wait, or have waited.
        waiting: Arc<AtomicUsize>,
    },
}

/// A host in memory.
#[derive(Debug)]
pub struct TestHost {
    rows: HashMap<StorageId, BTreeMap<Vec<u8>, Vec<u8>>>,
    gate: Gate,
    seed: u8,
    reads: Cell<u32>,
    gate_reads: Cell<u32>,
    log: RefCell<Vec<(String, String)>>,
}

impl Default for TestHost {
    fn default() -> Self {
        let context = value::encode(&[
            Value::Int(TIME),
            Value::Text("command-7".into()),
            Value::Int(3),
            Value::Int(41),
        ]);
        Self {
            rows: HashMap::from([(StorageId::CONTEXT, BTreeMap::from([(Vec::new(), context)]))]),
            gate: Gate::Shut,
            seed: 1,
            reads: Cell::new(0),
            gate_reads: Cell::new(0),
            log: RefCell::default(),
        }
    }
}

impl TestHost {
    /// Makes a host without rows of the application.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row from JSON objects of its key's and its value's fields.
    #[must_use]
    pub fn row(self, storage: &str, key: Json, value: Json) -> Self {
        let catalog = suite::catalog();
        let declared = catalog.storage(suite::storage(storage));
        let key = suite::row(&key, &declared.key);
        let value = suite::row(&value, &declared.value);
        self.values(storage, &key, &value)
    }

    /// Adds a row of values.
    #[must_use]
    pub fn values(mut self, storage: &str, key: &[Value], value: &[Value]) -> Self {
        let key = key::encode(key).expect("a key of the suite");
        let rows = self.rows.entry(suite::storage(storage)).or_default();
        rows.insert(key, value::encode(value));
        self
    }

    /// Adds the rows (`group`, 0) to (`group`, n - 1) to a shelf, each with its number as text.
    #[must_use]
    pub fn shelf(self, storage: &str, group: &str, n: i64) -> Self {
        (0..n).fold(self, |host, i| {
            let key = [Value::Text(group.into()), Value::Int(i)];
            host.values(storage, &key, &[Value::Text(i.to_string())])
        })
    }

    /// Makes `sys.event` the command that a validator or projector runs for.
    #[must_use]
    pub fn event(mut self, command: &str, args: Vec<Value>, results: Vec<Value>) -> Self {
        let row = value::encode(&[
            Value::Text(command.into()),
            Value::List(args),
            Value::List(results),
        ]);
        self.rows
            .insert(StorageId::EVENT, BTreeMap::from([(Vec::new(), row)]));
        self
    }

    /// Chooses when the row of the storage `gate` appears.
    #[must_use]
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// Chooses other random bytes.
    #[must_use]
    pub fn seed(mut self, seed: u8) -> Self {
        self.seed = seed;
        self
    }

    /// The random bytes of an index.
    pub fn random(&self, index: i64) -> Vec<u8> {
        let mut state = u64::from(self.seed) << 56 ^ index as u64;
        (0..32)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect()
    }

    /// How often any storage was asked.
    pub fn reads(&self) -> u32 {
        self.reads.get()
    }

    /// How often the storage `gate` was asked.
    pub fn gate_reads(&self) -> u32 {
        self.gate_reads.get()
    }

    /// The lines logged: level and message each.
    pub fn log_lines(&self) -> Vec<(String, String)> {
        self.log.borrow().clone()
    }

    fn gate_row(&self) -> Option<Vec<u8>> {
        let read = self.gate_reads.get() + 1;
        self.gate_reads.set(read);
        let open = match &self.gate {
            Gate::Shut => false,
            Gate::AtRead(n) => read >= *n,
            Gate::Slow(ms) => {
                thread::sleep(Duration::from_millis(*ms));
                return None;
            }
            Gate::When { open, waiting } => {
                if read == 1 {
                    waiting.fetch_add(1, Ordering::SeqCst);
                }
                open.load(Ordering::SeqCst)
            }
        };
        if !open {
            thread::sleep(Duration::from_millis(1));
        }
        open.then(|| value::encode(&[Value::Text("open".into())]))
    }

    fn asked(&self, storage: StorageId) -> Result<()> {
        self.reads.set(self.reads.get() + 1);
        if storage == suite::storage("broken") {
            return Err(Error::new(ErrorKind::Io, "the disk is on fire"));
        }
        Ok(())
    }
}

impl Host for TestHost {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.asked(storage)?;
        let row = if storage == StorageId::RANDOM {
            let schema = &suite::catalog().storage(storage).key;
            match schema.decode_key(key)?.as_slice() {
                [Value::Int(index)] => Some(value::encode(&[Value::Bytes(self.random(*index))])),
                _ => None,
            }
        } else if storage == suite::storage("gate") {
            self.gate_row()
        } else {
            let rows = self.rows.get(&storage);
            rows.and_then(|rows| rows.get(key)).cloned()
        };
        value.extend_from_slice(row.as_deref().unwrap_or_default());
        Ok(row.is_some())
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        self.asked(storage)?;
        if storage == suite::storage("endless") {
            let row = value::encode(&[Value::Text(String::new())]);
            let mut key = Vec::new();
            for n in 0.. {
                key.clear();
                let mut writer = KeyWriter(&mut key);
                writer.text("endless");
                writer.int(i64::from(self.reads.get()) * 1_000 + n);
                if !take(&key, &row) {
                    return Ok(());
                }
            }
        }
        let Some(rows) = self.rows.get(&storage) else {
            return Ok(());
        };
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let end = [prefix, &[key::RANGE_END]].concat();
        for (key, value) in rows.range::<[u8], _>((start, Bound::Excluded(end.as_slice()))) {
            if !take(key, value) {
                return Ok(());
            }
        }
        // A store that fails in the middle of a range: what is behind its rows cannot be read.
        if storage == suite::storage("torn") {
            return Err(Error::new(ErrorKind::Io, "the rest of the disk is on fire"));
        }
        Ok(())
    }

    fn log(&self, level: &str, message: &str) {
        let line = (level.to_owned(), message.to_owned());
        self.log.borrow_mut().push(line);
    }
}
