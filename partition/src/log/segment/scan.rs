//! Reading the records of one segment, a window of the file at a time.

use std::path::{Path, PathBuf};

use super::header::{BROKEN, HEADER, Header, file_name};
use super::record::{self, HEAD, Head};
use crate::log::{LogError, Owner};
use crate::platform::{Access, File, Files};

/// How much of a file is read at once, in bytes, where no record is larger.
const WINDOW: usize = 64 << 10;

/// What stands at a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record, whose payload is [`Scanner::payload`].
    Record(Head),
    /// No record that is whole.
    Broken {
        what: &'static str,
        /// The position after the record, if its head can still be read.
        end: Option<u64>,
    },
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Scanner {
    file: Box<dyn File>,
    pub(super) path: PathBuf,
    pub(super) header: Header,
    window: Vec<u8>,
    /// The offset in the file of the window's first byte.
    window_at: u64,
    /// Where in the window the last payload found is.
    payload: std::ops::Range<usize>,
}

impl Scanner {
    /// Opens the segment that begins at `first`, and checks its header.
    pub(super) fn open(files: &dyn Files, folder: &Path, first: u64) -> Result<Self, LogError> {
        let mut scanner = Self::open_unchecked(files, folder, first)?;
        scanner.check_header()?;
        Ok(scanner)
    }

    /// As [`open`](Self::open), but nothing can be found before
    /// [`check_header`](Self::check_header).
    pub(super) fn open_unchecked(
        files: &dyn Files,
        folder: &Path,
        first: u64,
    ) -> Result<Self, LogError> {
        let path = folder.join(file_name(first));
        let file = files
            .open(&path, Access::Read)
            .map_err(LogError::io("open", &path))?;
        Ok(Self {
            file,
            path,
            header: Header {
                first,
                previous: first,
                epoch: 0,
                salt: 0,
                owner: Owner::NOBODY,
            },
            window: Vec::new(),
            window_at: 0,
            payload: 0..0,
        })
    }

    /// Reads the header.
    pub(super) fn check_header(&mut self) -> Result<(), LogError> {
        let at = self.fill(0, HEADER, HEADER as u64)?;
        let header = match self.window[at..].first_chunk() {
            Some(bytes) => Header::parse(bytes),
            None => Err(BROKEN),
        };
        let header = header.map_err(|what| self.corrupt(0, what))?;
        if header.first != self.header.first {
            return Err(self.corrupt(0, "the segment has the name of another"));
        }
        self.header = header;
        Ok(())
    }

    /// Whether this is a segment whose making was interrupted: broken at the
    /// header, with nothing after it. A segment's header is durable before
    /// anything is written after it.
    pub(super) fn is_unfinished(&mut self) -> Result<bool, LogError> {
        match self.check_header() {
            Err(LogError::Corrupt { what: BROKEN, .. }) => {
                Ok(self.last_nonzero(HEADER as u64)?.is_none())
            }
            Err(LogError::Corrupt { .. }) | Ok(()) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Looks for a record at the position `start`. Nothing at or after the
    /// position `limit` is read.
    pub(super) fn find(&mut self, start: u64, limit: u64) -> Result<Found, LogError> {
        let offset = self.header.offset(start);
        let limit = self.header.offset(limit);
        let broken = |what, end| Ok(Found::Broken { what, end });
        let at = self.fill(offset, HEAD, limit)?;
        let Some(bytes) = self.window[at..].first_chunk() else {
            return broken("the segment ends inside a record's head", None);
        };
        let Some(head) = record::head(bytes, self.header.salt, start) else {
            return broken("no record begins here", None);
        };
        if self.header.offset(head.end) > limit {
            return broken("the segment ends inside a record", Some(head.end));
        }
        let at = self.fill(offset, HEAD + head.len, limit)?;
        match self.window[at..].get(..HEAD + head.len) {
            None => broken("the segment ends inside a record", Some(head.end)),
            Some(record) if !record::is_whole(record) => {
                broken("a record's checksum is wrong", Some(head.end))
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

    /// Whether anything was written after the broken record at `start`, up to
    /// `limit`. Then it is damage and was not torn by a crash: a record is
    /// begun only when all before it is durable, on nothing but zeros.
    pub(super) fn is_followed(
        &mut self,
        start: u64,
        end: Option<u64>,
        limit: u64,
    ) -> Result<bool, LogError> {
        if let Some(end) = end
            && self.last_nonzero(self.header.offset(end))?.is_some()
        {
            return Ok(true);
        }
        // A head is not all zeros, so the last one begins before the last byte that is none.
        let Some(last) = self.last_nonzero(self.header.offset(start + 1))? else {
            return Ok(false);
        };
        let limit = limit.min(self.header.position(last + HEAD as u64));
        Ok(self.next_head(start + 1, limit)?.is_some())
    }

    /// The first position from `start` on where bytes look like the head of a
    /// record. They cannot by chance.
    pub(super) fn next_head(&mut self, start: u64, limit: u64) -> Result<Option<u64>, LogError> {
        let end = self.header.offset(limit);
        let mut offset = self.header.offset(start);
        while offset.saturating_add(HEAD as u64) <= end {
            let at = self.fill(offset, HEAD, end)?;
            let found = self.window[at..]
                .windows(HEAD)
                .zip(offset..)
                .find(|(bytes, offset)| {
                    let position = self.header.position(*offset);
                    bytes.first_chunk().is_some_and(|bytes| {
                        record::head(bytes, self.header.salt, position).is_some()
                    })
                });
            if let Some((_, offset)) = found {
                return Ok(Some(self.header.position(offset)));
            }
            let held = self.window.len() - at;
            if held < HEAD {
                break;
            }
            offset += (held - HEAD + 1) as u64;
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
            // Faster than a search, for a file that ends in zeros.
            let is_zero = bytes.iter().fold(0, |all, byte| all | byte) == 0;
            if !is_zero && let Some(index) = bytes.iter().rposition(|byte| *byte != 0) {
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

    /// The bytes of a record that was found whole, by where it begins and ends.
    pub(super) fn record(&mut self, start: u64, end: u64) -> Result<&[u8], LogError> {
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let (offset, limit) = (self.header.offset(start), self.header.offset(end));
        let at = self.fill(offset, len, limit)?;
        Ok(self.window[at..].get(..len).unwrap_or_default())
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
