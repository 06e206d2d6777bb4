//! A command log in a folder of files.
//!
//! The log is a sequence of records, cut into segments. A position is the
//! number of bytes of records up to and including a group, so a segment's name
//! says what it holds and a reader finds its place without an index.
//! `header.rs` and `record.rs` define the format.
//!
//! A group overwrites zeros: one write and one sync, for which the file system
//! has nothing to allocate. The first segment grows in steps of written zeros,
//! so a small log has a small file. Once a segment is half full, the next one is
//! made ahead, whole, beside the writer (`spare.rs`).
//!
//! One append is under way at a time, so a crash can leave at most the last
//! record torn. A broken record with a later one after it is damage, and never
//! dropped. Damage to the very last record cannot be told from a crash, nor
//! can damage that takes the heads of a record and of all after it: there the
//! log is cut, and [`OpenReport::notices`] says so.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use self::cursor::{SegmentReader, Shared};
use self::header::{HEADER, Header};
use self::record::{HEAD, Kind};
use self::spare::Spare;
use self::tail::Tail;
use super::{
    Append, CommandLog, Finding, GroupBuffer, LogError, LogReader, Owner, Position, Verification,
};
use crate::platform::{Files, FolderLock, Platform};

mod cursor;
mod header;
mod record;
mod recover;
mod scan;
mod spare;
mod tail;
mod verify;

pub use verify::verify;

/// The sizes of a [`SegmentLog`], which may differ from one opening to the next, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct SegmentOptions {
    /// Bytes after which a new segment is begun. A group that is larger gets a
    /// segment of its own.
    pub segment_size: u64,
    /// Bytes of zeros by which a segment grows when a group needs more room.
    pub fill: u64,
    /// The largest group, in bytes; at most 2^31 - 1.
    pub max_group: usize,
    /// Whose the log is; every segment says it.
    pub owner: Owner,
}

impl Default for SegmentOptions {
    /// Segments of 64 MiB that grow by 1 MiB, and groups of up to 16 MiB.
    fn default() -> Self {
        Self {
            segment_size: 64 << 20,
            fill: 1 << 20,
            max_group: 16 << 20,
            owner: Owner::NOBODY,
        }
    }
}

/// What an opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// What a crash had left behind, and was put right.
    pub notices: Vec<Finding>,
}

/// The writer of a log in a folder of files.
#[derive(Debug)]
pub struct SegmentLog {
    shared: Arc<Shared>,
    options: SegmentOptions,
    tail: Tail,
    /// The next segment, once the last one is half full.
    spare: Option<Spare>,
    epoch: u64,
    /// Whether an operation failed, or is under way.
    poisoned: bool,
    _lock: FolderLock,
}

impl SegmentLog {
    /// Opens the log in `folder`, made if missing, and takes it over.
    ///
    /// # Errors
    /// `Locked` while another process, or another opening in this one, has the
    /// log; `Owner` where it is another's; `Corrupt` where it is damaged in a
    /// way that no crash explains; `Io`; `Full`.
    pub fn open(
        platform: Arc<dyn Platform>,
        folder: &Path,
        options: SegmentOptions,
    ) -> Result<(Self, OpenReport), LogError> {
        let files = platform.files();
        files
            .create_dir_all(folder)
            .map_err(LogError::io("create", folder))?;
        let lock = lock(files, folder)?;
        let recovered = recover::recover(files, folder, options.owner)?;
        let mut segments = recovered.segments;
        let (tail, end, epoch) = match recovered.last {
            Some(last) => (last.tail, last.end, last.epoch.saturating_add(1)),
            None => {
                let header = header(&*platform, 0, 0, 1, options.owner);
                let fill = options.fill.min(options.segment_size);
                let tail = Tail::create(files, folder, header, None, fill)?;
                (tail, 0, 1)
            }
        };
        segments.insert(tail.header.first);
        let mut log = Self {
            shared: Arc::new(Shared::new(platform, folder.to_owned(), segments, end)),
            options,
            tail,
            spare: None,
            epoch,
            poisoned: false,
            _lock: lock,
        };
        match log.write(Kind::Takeover, &mut epoch.to_le_bytes()[..].into())? {
            Append::Unknown(e) => Err(e),
            Append::Appended(_) | Append::Stale => Ok((
                log,
                OpenReport {
                    notices: recovered.notices,
                },
            )),
        }
    }

    /// Whether a log was ever opened in `folder`, and is still there.
    ///
    /// # Errors
    /// `Io`.
    pub fn is_there(platform: &dyn Platform, folder: &Path) -> Result<bool, LogError> {
        let files = platform.files();
        let exists = files.exists(folder);
        Ok(exists.map_err(LogError::io("look for", folder))? && recover::is_begun(files, folder)?)
    }

    /// Opens the log in `folder` for reading alone, and changes nothing: what
    /// a crash left at its end is passed over. No writer opens it while the
    /// lock is held. Without an owner, anybody's log is read.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_to_read(
        platform: Arc<dyn Platform>,
        folder: &Path,
        owner: Option<Owner>,
    ) -> Result<(Arc<dyn LogReader>, FolderLock), LogError> {
        let files = platform.files();
        let lock = lock(files, folder)?;
        let (segments, end) = recover::survey(files, folder, owner)?;
        let shared = Shared::new(platform, folder.to_owned(), segments, end);
        Ok((Arc::new(SegmentReader(Arc::new(shared))), lock))
    }

    /// Appends one record of this payload, durably.
    fn write(&mut self, kind: Kind, record: &mut GroupBuffer) -> Result<Append, LogError> {
        self.begin()?;
        let start = self.shared.durable();
        let len = (HEAD + record.len()) as u64;
        let used = self.tail.header.offset(start);
        if used > HEADER as u64 && used + len > self.options.segment_size {
            self.begin_segment(start)?;
        }
        let offset = self.tail.header.offset(start);
        self.make_room(offset + len)?;
        record::frame(record, self.tail.header.salt, start, kind);
        let zeros = &self.tail.zeros;
        let written = zeros.write(record.bytes(), offset);
        let written = written.and_then(|()| zeros.sync());
        if let Err(e) = written {
            return Ok(Append::Unknown(e));
        }
        self.shared.set_durable(start + len);
        self.poisoned = false;
        let half_full = offset + len > self.options.segment_size / 2;
        if kind == Kind::Group && half_full && self.spare.is_none() {
            let Shared {
                platform, folder, ..
            } = &*self.shared;
            let SegmentOptions {
                segment_size, fill, ..
            } = self.options;
            self.spare = Spare::begin(platform, folder, segment_size, fill);
        }
        Ok(Append::Appended(Position(start + len)))
    }

    /// Marks an operation as under way, so that any way out before its end poisons the log.
    fn begin(&mut self) -> Result<(), LogError> {
        match std::mem::replace(&mut self.poisoned, true) {
            true => Err(LogError::Poisoned),
            false => Ok(()),
        }
    }

    fn begin_segment(&mut self, first: u64) -> Result<(), LogError> {
        let Shared {
            platform, folder, ..
        } = &*self.shared;
        let files = platform.files();
        let previous = self.tail.header.first;
        let owner = self.options.owner;
        let header = header(&**platform, first, previous, self.epoch, owner);
        let spare = self.spare.take().and_then(Spare::take);
        if spare.is_none() {
            spare::remove(files, folder)?;
        }
        let fill = self.options.fill.min(self.options.segment_size);
        self.tail = Tail::create(files, folder, header, spare, fill)?;
        self.shared.segments(|segments| segments.insert(first));
        Ok(())
    }

    /// Fills the segment with zeros in whole steps, so that it has at least `size` bytes.
    fn make_room(&mut self, size: u64) -> Result<(), LogError> {
        if size <= self.tail.zeros.filled() {
            return Ok(());
        }
        let step = self.options.fill.max(1);
        let stepped = size.div_ceil(step).saturating_mul(step);
        self.tail
            .zeros
            .fill(stepped.min(self.options.segment_size).max(size))
    }
}

impl CommandLog for SegmentLog {
    fn max_group(&self) -> usize {
        self.options.max_group.min(record::MAX_PAYLOAD)
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned);
        }
        Ok(Position(self.shared.durable()))
    }

    fn append(&mut self, expected: Position, group: &mut GroupBuffer) -> Result<Append, LogError> {
        let max = self.max_group();
        if group.len() > max {
            let len = group.len();
            return Err(LogError::TooLarge { len, max });
        }
        if self.tail()? != expected {
            return Ok(Append::Stale);
        }
        self.write(Kind::Group, group)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(SegmentReader(Arc::clone(&self.shared)))
    }

    fn forget(&mut self, below: Position, retain: u64) -> Result<(), LogError> {
        self.begin()?;
        let Shared {
            platform, folder, ..
        } = &*self.shared;
        let files = platform.files();
        let below = Position(below.0.saturating_sub(retain));
        // One name at a time, from the oldest on: a crash must not leave a gap.
        while let Some(first) = self.shared.segments(|s| forget_first(s, below)) {
            let path = folder.join(header::file_name(first));
            files.remove(&path).map_err(LogError::io("remove", &path))?;
            files
                .sync_dir(folder)
                .map_err(LogError::io("sync", folder))?;
        }
        self.poisoned = false;
        Ok(())
    }

    fn verify(&self) -> Result<Verification, LogError> {
        let Shared {
            platform, folder, ..
        } = &*self.shared;
        verify::walk(platform.files(), folder, Some(self.shared.durable()))
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.take() {
            drop(spare.take());
            // The next opening removes it otherwise.
            let files = self.shared.platform.files();
            drop(spare::remove(files, &self.shared.folder));
        }
    }
}

/// Takes the first segment out of the set if all its groups are below a position.
fn forget_first(segments: &mut BTreeSet<u64>, below: Position) -> Option<u64> {
    let end = *segments.iter().nth(1)?;
    if end < below.0 {
        segments.pop_first()
    } else {
        None
    }
}

/// The header of a new segment, with a salt of its own.
fn header(platform: &dyn Platform, first: u64, previous: u64, epoch: u64, owner: Owner) -> Header {
    let [a, b, c, d, e, f, g, h, ..] = platform.random();
    Header {
        first,
        previous,
        epoch,
        salt: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        owner,
    }
}

fn lock(files: &dyn Files, folder: &Path) -> Result<FolderLock, LogError> {
    files.lock(folder).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => LogError::Locked {
            path: folder.to_owned(),
        },
        _ => LogError::io("lock", folder)(e),
    })
}
