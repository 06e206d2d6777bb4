//! What a function of our own contract may ask of its host: time, randomness and the log.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use engine_core::catalog::{StorageId, random_index};
use engine_core::error::{Error, Result};
use engine_core::host::{Host, TakeRow};
use engine_core::value::Writer;

use crate::vm::{LogLine, Logger};

/// Time, randomness and log of one sandbox's calls, one after another.
///
/// The time is when the call first asked, and stands still then. Random bytes are the same within one call, and never
/// again.
pub(crate) struct Surroundings {
    pub(crate) plugin: Arc<str>,
    pub(crate) logger: Arc<Logger>,
    seed: Cell<Option<[u8; 32]>>,
    call: Cell<u64>,
    time: Cell<Option<i64>>,
}

impl Surroundings {
    pub(crate) fn new(plugin: &Arc<str>, logger: &Arc<Logger>) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            logger: Arc::clone(logger),
            seed: Cell::new(None),
            call: Cell::new(0),
            time: Cell::new(None),
        }
    }

    /// Forgets the call before.
    pub(crate) fn begin(&self) {
        self.call.set(self.call.get() + 1);
        self.time.set(None);
    }

    /// Microseconds since 1970.
    pub(crate) fn time(&self) -> i64 {
        if let Some(time) = self.time.get() {
            return time;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = since.map_or(0, |since| since.as_micros() as i64);
        self.time.set(Some(time));
        time
    }

    /// The call's random bytes of this number.
    pub(crate) fn random(&self, index: i64) -> [u8; 32] {
        let seed = self.seed.get().unwrap_or_else(|| {
            let mut seed = [0; 32];
            // Without the system's randomness, what follows differs by call and sandbox no more, and no worse.
            let _ = getrandom::fill(&mut seed);
            self.seed.set(Some(seed));
            seed
        });
        let mut hasher = blake3::Hasher::new_keyed(&seed);
        hasher.update(&self.call.get().to_le_bytes());
        hasher.update(&index.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    pub(crate) fn log(&self, function: &str, level: &str, message: &str) {
        (self.logger)(&LogLine {
            plugin: &self.plugin,
            function,
            level,
            message,
        });
    }
}

/// The host of calls of one function.
pub(crate) struct FunctionHost<'a> {
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) function: &'a str,
}

impl FunctionHost<'_> {
    /// Names the function in an error.
    #[cold]
    pub(crate) fn place(&self, error: Error) -> Error {
        error.at(|| format!("{}/{}", self.surroundings.plugin, self.function))
    }
}

impl Host for FunctionHost<'_> {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let mut row = Writer(value);
        match storage {
            StorageId::CONTEXT => {
                row.list(4);
                row.int(self.surroundings.time());
                row.null();
                row.int(0);
                row.int(0);
            }
            StorageId::RANDOM => {
                let Some(index) = random_index(key) else {
                    return Ok(false);
                };
                row.list(1);
                row.bytes(&self.surroundings.random(index));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        let mut value = Vec::new();
        let only = storage == StorageId::CONTEXT && after.is_none() && prefix.is_empty();
        if only && self.get(storage, prefix, &mut value)? {
            take(prefix, &value);
        }
        Ok(())
    }

    fn log(&self, level: &str, message: &str) {
        self.surroundings.log(self.function, level, message);
    }
}
