//! Reads of a running invocation: permitted, counted, and handed on without a look inside.

use super::Call;
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

    fn count_row(&self, len: usize) -> Result<()> {
        let (rows, bytes) = (
            self.package.limits.rows_read,
            self.package.limits.bytes_read,
        );
        self.count(|ledger| &mut ledger.rows_read, 1, Limit::RowsRead, rows)
            .and_then(|()| {
                self.count(
                    |ledger| &mut ledger.bytes_read,
                    len,
                    Limit::BytesRead,
                    bytes,
                )
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
            self.count_row(key.len() + (value.len() - before))?;
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

    /// Hands the next rows of a range read to `take`, in key order, until it answers false for one, which then comes
    /// again next time, or there is none left. Answers whether rows are left.
    ///
    /// Rows are copied in chunks: nothing of the host is borrowed while `take` runs.
    ///
    /// # Errors
    /// `io`, which the guest may handle; `abi` where no range read of this number is open; limits, which are sticky; and
    /// those of `take`.
    pub fn rows(
        &self,
        cursor: usize,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        let cursor = &mut *self.buffers.cursor(cursor)?;
        loop {
            while let Some((key, value)) = cursor.chunk.row(cursor.next) {
                if !cursor.counted {
                    self.count_row(key.len() + value.len())?;
                    cursor.counted = true;
                    self.trace(Party::HostState, Party::Instance, || {
                        format!("row {}", self.show_key(cursor.storage, key))
                    });
                }
                if !take(key, value)? {
                    return Ok(true);
                }
                cursor.next += 1;
                cursor.counted = false;
            }
            if !cursor.more {
                return Ok(false);
            }
            self.check()?;
            if let Some((key, _)) = cursor.chunk.last() {
                cursor.after.clear();
                cursor.after.extend_from_slice(key);
                cursor.begun = true;
            }
            cursor.chunk.clear();
            cursor.next = 0;
            let after = cursor.begun.then_some(&*cursor.after);
            self.host
                .scan(cursor.storage, &cursor.prefix, after, &mut cursor.chunk)?;
            cursor.more = cursor.chunk.is_full();
        }
    }

    /// Closes a range read.
    pub fn close(&self, cursor: usize) {
        self.buffers.close(cursor);
    }

    /// Hands the rows whose keys begin with `prefix` to `each`, in key order, and stops at its first error.
    ///
    /// `each` may read in turn, four deep at most.
    ///
    /// # Errors
    /// As [`Call::open`] and [`Call::rows`].
    pub fn read(
        &self,
        storage: StorageId,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let cursor = self.open(storage, prefix)?;
        let read = self.rows(cursor, |key, value| each(key, value).map(|()| true));
        self.close(cursor);
        read.map(drop)
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
