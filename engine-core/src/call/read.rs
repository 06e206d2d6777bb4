//! Reads of a running invocation: permitted, counted, and handed on without a look inside.

use std::mem;

use super::Call;
use super::packed::{Filled, PackedRows};
use crate::catalog::StorageId;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Party;
use crate::key::Extent;
use crate::limits::{Limit, READ_DEPTH};
use crate::manifest::Verb;
use crate::value::{Reader, Token};

impl Call<'_> {
    fn before_read(&self, storage: StorageId, key: &[u8], extent: Extent) -> Result<()> {
        self.check()?;
        let most = self.package.limits.host_reads;
        self.permit(Verb::Read, storage)
            .and_then(|()| self.count(|ledger| &mut ledger.host_reads, 1, Limit::HostReads, most))
            .map_err(|error| self.fail(error))?;
        let storage = self.package.catalog.storage(storage);
        storage.key.check_key(key, extent).map_err(|error| {
            let message = format!("storage `{}`: {}", storage.name, error.message());
            Error::new(error.kind(), message)
        })
    }

    fn count_rows(&self, rows: usize, len: usize) -> Result<()> {
        let limits = &self.package.limits;
        let (limit, most) = (Limit::RowsRead, limits.rows_read);
        self.count(|ledger| &mut ledger.rows_read, rows, limit, most)
            .and_then(|()| {
                let (limit, most) = (Limit::BytesRead, limits.bytes_read);
                self.count(|ledger| &mut ledger.bytes_read, len, limit, most)
            })
            .map_err(|error| self.fail(error))
    }

    /// Appends the value of a row to `value` and answers true, or answers false where there is no such row.
    ///
    /// # Errors
    /// `bad_key` and `io`, which the guest may handle; `denied` and limits, which are sticky.
    pub fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.before_read(storage, key, Extent::Full)?;
        self.trace(Party::Instance, Party::HostState, || {
            format!("get {}", self.show_key(storage, key))
        });
        let before = value.len();
        let found = self.host.get(storage, key, value)?;
        self.trace(Party::HostState, Party::Instance, || {
            if found {
                format!("row of {} bytes", value.len() - before)
            } else {
                "no such row".to_owned()
            }
        });
        if found {
            self.count_rows(1, key.len() + (value.len() - before))?;
        }
        Ok(found)
    }

    /// Opens a range read over the rows whose keys begin with `prefix`, and answers its number.
    ///
    /// # Errors
    /// As [`Call::get`], and `read_depth`, sticky, where four are open.
    pub fn open(&self, storage: StorageId, prefix: &[u8]) -> Result<usize> {
        self.before_read(storage, prefix, Extent::Prefix)?;
        let cursor = self.buffers.open(storage, prefix);
        let cursor = cursor.ok_or_else(|| self.fail(Error::limit(Limit::ReadDepth, READ_DEPTH)))?;
        self.trace(Party::Instance, Party::HostState, || {
            format!("read {}", self.show_key(storage, prefix))
        });
        Ok(cursor)
    }

    /// Copies the next rows of a range read to where they are wanted, in key order, as many as fit, packed: each is
    /// `{u32 key_len, u32 value_len, key, value}`, little-endian.
    ///
    /// # Errors
    /// `io`, which the guest may handle; `abi` where no range read of this number is open; limits, which are sticky.
    pub fn fill(&self, cursor: usize, buffer: &mut [u8]) -> Result<Filled> {
        let cursor = &mut *self.buffers.cursor(cursor)?;
        let mut rows = PackedRows::new(buffer);
        while cursor.more && rows.filled.needed == 0 {
            self.check()?;
            rows.begin();
            cursor.scan(self.host, &mut |key, value| rows.push(key, value))?;
            cursor.more = rows.cut || cursor.has_failed();
            self.count_rows(rows.rows, rows.bytes)?;
            if let Some(key) = rows.last_key() {
                cursor.go_on_behind(key);
            }
            if self.is_traced() {
                rows.keys()
                    .for_each(|key| self.trace_row(cursor.storage, key));
            }
            if cursor.has_failed() && rows.filled.used > 0 {
                break;
            }
        }
        Ok(rows.filled)
    }

    /// Closes a range read.
    pub fn close(&self, cursor: usize) {
        self.buffers.close(cursor);
    }

    /// Hands the rows whose keys begin with `prefix` to `each`, in key order, and stops at its first error.
    ///
    /// `each` may read in turn, four deep at most: rows are copied in chunks, and nothing of the host is borrowed while it
    /// runs.
    ///
    /// # Errors
    /// As [`Call::open`] and [`Call::fill`].
    pub fn read(
        &self,
        storage: StorageId,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let cursor = self.open(storage, prefix)?;
        let read = self.read_chunks(cursor, &mut each);
        self.close(cursor);
        read
    }

    fn read_chunks(
        &self,
        cursor: usize,
        each: &mut impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let cursor = &mut *self.buffers.cursor(cursor)?;
        let mut chunk = mem::take(&mut cursor.chunk);
        while cursor.more {
            self.check()?;
            chunk.clear();
            cursor.scan(self.host, &mut |key, value| chunk.push(key, value))?;
            cursor.more = chunk.is_cut() || cursor.has_failed();
            for (key, value) in chunk.rows() {
                self.count_rows(1, key.len() + value.len())?;
                self.trace_row(cursor.storage, key);
                each(key, value)?;
            }
            if let Some((key, _)) = chunk.last() {
                cursor.go_on_behind(key);
            }
        }
        cursor.chunk = chunk;
        Ok(())
    }

    fn trace_row(&self, storage: StorageId, key: &[u8]) {
        self.trace(Party::HostState, Party::Instance, || {
            format!("row {}", self.show_key(storage, key))
        });
    }

    /// The time of the invocation in microseconds since the Unix epoch, as `sys.context` has it.
    ///
    /// # Errors
    /// `io` where the host cannot say.
    pub fn time(&self) -> Result<i64> {
        let mut row = Vec::new();
        self.host.get(StorageId::CONTEXT, &[], &mut row)?;
        let mut reader = Reader::new(&row);
        reader.token()?;
        match reader.token()? {
            Token::Int(time) => Ok(time),
            _ => Err(Error::new(ErrorKind::Io, "sys.context has no time")),
        }
    }

    /// The random bytes of an index, as `sys.random` has them.
    ///
    /// # Errors
    /// `io` where the host has none.
    pub fn random(&self, index: i64) -> Result<Vec<u8>> {
        let mut key = Vec::new();
        crate::key::KeyWriter(&mut key).int(index);
        let mut row = Vec::new();
        self.host.get(StorageId::RANDOM, &key, &mut row)?;
        let mut reader = Reader::new(&row);
        reader.token()?;
        match reader.token()? {
            Token::Bytes(bytes) => Ok(bytes.to_owned()),
            _ => Err(Error::new(ErrorKind::Io, "sys.random has no bytes")),
        }
    }
}
