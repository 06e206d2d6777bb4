//! What an invocation has used so far, counted against its limits.

use std::cell::Cell;

use crate::error::{Error, Result};
use crate::limits::{Ledger, Limit};

/// The counters of the ledger.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) memory: Cell<u64>,
    pub(super) fuel: Cell<Option<u64>>,
    pub(super) host_reads: Cell<u64>,
    pub(super) rows_read: Cell<u64>,
    pub(super) bytes_read: Cell<u64>,
    pub(super) intents: Cell<u64>,
    pub(super) intent_bytes: Cell<u64>,
    pub(super) result_bytes: Cell<u64>,
    pub(super) log_lines: Cell<u64>,
    pub(super) log_bytes: Cell<u64>,
    pub(super) foreign_calls: Cell<u64>,
    pub(super) foreign_bytes: Cell<u64>,
}

/// Adds to a counter.
///
/// # Errors
/// The limit, once the counter is above what is allowed.
#[inline]
pub(super) fn count(
    counter: &Cell<u64>,
    more: usize,
    limit: Limit,
    allowed: impl Into<u64>,
) -> Result<()> {
    let used = counter.get().saturating_add(more as u64);
    counter.set(used);
    let allowed = allowed.into();
    if used <= allowed {
        return Ok(());
    }
    Err(Error::limit(limit, allowed))
}

impl Meter {
    pub(super) fn reset(&self) {
        let Self {
            memory,
            fuel,
            host_reads,
            rows_read,
            bytes_read,
            intents,
            intent_bytes,
            result_bytes,
            log_lines,
            log_bytes,
            foreign_calls,
            foreign_bytes,
        } = self;
        fuel.set(None);
        for counter in [
            memory,
            host_reads,
            rows_read,
            bytes_read,
            intents,
            intent_bytes,
            result_bytes,
            log_lines,
            log_bytes,
            foreign_calls,
            foreign_bytes,
        ] {
            counter.set(0);
        }
    }

    #[inline]
    pub(super) fn ledger(&self, elapsed_ms: u64) -> Ledger {
        Ledger {
            elapsed_ms,
            fuel: self.fuel.get(),
            memory: self.memory.get(),
            host_reads: self.host_reads.get(),
            rows_read: self.rows_read.get(),
            bytes_read: self.bytes_read.get(),
            intents: self.intents.get(),
            intent_bytes: self.intent_bytes.get(),
            result_bytes: self.result_bytes.get(),
            log_lines: self.log_lines.get(),
            log_bytes: self.log_bytes.get(),
            foreign_calls: self.foreign_calls.get(),
            foreign_bytes: self.foreign_bytes.get(),
        }
    }
}
