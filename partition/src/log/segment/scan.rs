//! Reading the records of one segment, a window of the file at a time.

use std::path::{Path, PathBuf};

use super::header::{HEADER, Header, file_name};
use super::record::{self, HEAD, Head};
use crate::log::LogError;
use crate::platform::{Access, File, Files};

/// How much of a file is read at once, in bytes, where no record is larger.
const WINDOW: usize = 64 << 10;

/// What stands at a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record, whose payload is [`Scanner::payload`].
    Record(Head),
    /// No record that is whole.
    Broken(&'static str),
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) file: Box<dyn File>,
    pub(super) path: PathBuf,
    pub(super) header: Header,
    window: Vec<u8>,
    /// The offset in the file of the window's first byte.
    window_at: u64,
    /// Where in the window the last payload found is.
    payload: std::ops::Range<usize>,
}

impl Scanner {
    /// Opens the segment that begins at `first`.
    pub(super) fn open(
        files: &dyn Files,
        folder: &Path,
        first: u64,
        access: Access,
    ) -> Result<Self, LogError> {
        let path = folder.join(file_name(first));
        let file = files
            .open(&path, access)
            .map_err(LogError::io("open", &path))?;
        let mut scanner = Self {
            file,
            path,
            header: Header {
                first,
                previous: first,
                epoch: 0,
                salt: 0,
            },
            window: Vec::new(),
            window_at: 0,
            payload: 0..0,
        };
        scanner.fill(0, HEADER, HEADER as u64)?;
        let header = match scanner.window.first_chunk() {
            Some(bytes) => Header::parse(bytes),
            None => Err("the segment ends in its header"),
        };
        scanner.header = header.map_err(|what| scanner.corrupt(0, what))?;
        if scanner.header.first != first {
            return Err(scanner.corrupt(0, "the segment has the name of another"));
        }
        Ok(scanner)
    }

    /// Looks for a record at the position `start`. Nothing at or after the
    /// position `limit` is read.
    pub(super) fn find(&mut self, start: u64, limit: u64) -> Result<Found, LogError> {
        let offset = self.header.offset(start);
        let limit = self.header.offset(limit);
        let at = self.fill(offset, HEAD, limit)?;
        let Some(bytes) = self.window[at..].first_chunk() else {
            return Ok(Found::Broken("the segment ends inside a record's head"));
        };
        let Some(head) = record::head(bytes, self.header.salt, start) else {
            return Ok(Found::Broken("no record begins here"));
        };
        if self.header.offset(head.end) > limit {
            return Ok(Found::Broken("the segment ends inside a record"));
        }
        let at = self.fill(offset, HEAD + head.len, limit)?;
        match self.window[at..].get(..HEAD + head.len) {
            None => Ok(Found::Broken("the segment ends inside a record")),
            Some(record) if !record::is_whole(record) => {
                Ok(Found::Broken("a record's checksum is wrong"))
            }
            Some(_) => {
                self.payload = at + HEAD..at + HEAD + head.len;
                Ok(Found::Record(head))
            }
        }
    }

    /// The payload of the record that was found last.
    pub(super) fn payload(&self) -> &[u8] {
        self.window.get(self.payload.clone()).unwrap_or_default()
    }

    /// The first position from `start` on where bytes look like the head of a
    /// record. They cannot by chance, so a record was begun there, and so
    /// everything before it had been durable.
    pub(super) fn next_head(&mut self, start: u64, limit: u64) -> Result<Option<u64>, LogError> {
        let end = self.header.offset(limit);
        let mut offset = self.header.offset(start);
        while offset.saturating_add(HEAD as u64) <= end {
            let at = self.fill(offset, HEAD, end)?;
            let found = self.window[at..].windows(HEAD).zip(offset..).find(|(bytes, offset)| {
                let position = self.header.position(*offset);
                bytes
                    .first_chunk()
                    .is_some_and(|bytes| record::head(bytes, self.header.salt, position).is_some())
            });
            if let Some((_, offset)) = found {
                return Ok(Some(self.header.position(offset)));
            }
            let Some(searched) = (self.window.len() - at).checked_sub(HEAD - 1) else {
                break;
            };
            offset += searched as u64;
        }
        Ok(None)
    }

    /// The offset of the last byte from `offset` on that is not zero.
    pub(super) fn last_nonzero(&mut self, mut offset: u64) -> Result<Option<u64>, LogError> {
        let mut last = None;
        loop {
            let at = self.fill(offset, 1, u64::MAX)?;
            let bytes = &self.window[at..];
            if bytes.is_empty() {
                return Ok(last);
            }
            if let Some(index) = bytes.iter().rposition(|byte| *byte != 0) {
                last = Some(offset + index as u64);
            }
            offset += bytes.len() as u64;
        }
    }

    /// The size of the file, in bytes.
    pub(super) fn size(&self) -> Result<u64, LogError> {
        self.file
            .size()
            .map_err(LogError::io("read the size of", &self.path))
    }

    /// Damage in this segment at an offset in its file.
    pub(super) fn corrupt(&self, offset: u64, what: &'static str) -> LogError {
        LogError::Corrupt {
            path: self.path.clone(),
            offset,
            what,
        }
    }

    /// Makes the window hold `len` bytes from `offset`, or all up to `limit` or
    /// the end of the file where that is less. Returns where in the window they begin.
    fn fill(&mut self, offset: u64, len: usize, limit: u64) -> Result<usize, LogError> {
        let held = offset
            .checked_sub(self.window_at)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| self.window.len().checked_sub(*at).is_some_and(|n| n >= len));
        if let Some(at) = held {
            return Ok(at);
        }
        let room = usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.window.resize(len.max(WINDOW).min(room), 0);
        self.window_at = offset;
        let mut filled = 0;
        while filled < self.window.len() {
            let read = self
                .file
                .read_at(&mut self.window[filled..], offset + filled as u64);
            match read {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.window.clear();
                    return Err(LogError::io("read", &self.path)(e));
                }
            }
        }
        self.window.truncate(filled);
        Ok(0)
    }
}
