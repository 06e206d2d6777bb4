//! Opening a folder of segments after whatever happened to it.
//!
//! A crash can leave four things: a spare that no segment was made of, a last
//! segment without a whole header, a record at the end that is not whole, and
//! content that is seen but not yet durable. All are put right here. Whatever else is wrong was not a
//! crash, and is an error that changes no record.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::header::parse_file_name;
use super::record::Kind;
use super::scan::{Found, Scanner};
use super::spare;
use super::tail::Tail;
use crate::log::{Finding, LogError, Owner};
use crate::platform::Files;

/// A folder of segments that can be appended to.
pub(super) struct Recovered {
    /// Where each segment begins.
    pub(super) segments: BTreeSet<u64>,
    /// The last segment, unless there is none.
    pub(super) last: Option<Last>,
    /// What a crash had left behind.
    pub(super) notices: Vec<Finding>,
}

/// The last segment.
pub(super) struct Last {
    pub(super) tail: Tail,
    /// The position after its last record.
    pub(super) end: u64,
    /// The epoch of the last writer.
    pub(super) epoch: u64,
}

/// Where each segment in a folder begins.
pub(super) fn list(files: &dyn Files, folder: &Path) -> Result<BTreeSet<u64>, LogError> {
    let names = files.list(folder).map_err(LogError::io("list", folder))?;
    Ok(names.iter().filter_map(|n| parse_file_name(n)).collect())
}

/// Whether there is a segment that was made whole once.
pub(super) fn is_begun(files: &dyn Files, folder: &Path) -> Result<bool, LogError> {
    let segments = list(files, folder)?;
    match segments.first() {
        Some(&first) if may_be_unfinished(&segments) => {
            Ok(!Scanner::open_unchecked(files, folder, first)?.is_unfinished()?)
        }
        first => Ok(first.is_some()),
    }
}

/// Finds the tail of an owner's log in a locked folder and makes all before it durable.
pub(super) fn recover(
    files: &dyn Files,
    folder: &Path,
    owner: Owner,
) -> Result<Recovered, LogError> {
    spare::remove(files, folder)?;
    let mut segments = list(files, folder)?;
    let mut notices = Vec::new();
    let unfinished = take_unfinished(files, folder, &mut segments)?;
    if let Some(Unfinished { path, .. }) = &unfinished {
        notices.push(Finding {
            path: path.clone(),
            offset: 0,
            what: "a crash interrupted the making of this segment; it was empty and is removed",
        });
    }
    let scanner = check_chain(files, folder, &segments, Some(owner))?;
    let last = match scanner {
        None => None,
        Some(scanner) => Some(recover_last(files, scanner, &unfinished, &mut notices)?),
    };
    if let Some(Unfinished { path, .. }) = unfinished {
        files.remove(&path).map_err(LogError::io("remove", &path))?;
    }
    // A process that was killed may have made the last segment and not synced its name.
    files
        .sync_dir(folder)
        .map_err(LogError::io("sync", folder))?;
    Ok(Recovered {
        segments,
        last,
        notices,
    })
}

/// Where the segments of a log begin that is left as it is, and the position of its last record.
pub(super) fn survey(
    files: &dyn Files,
    folder: &Path,
    owner: Option<Owner>,
) -> Result<(BTreeSet<u64>, u64), LogError> {
    let mut segments = list(files, folder)?;
    let unfinished = take_unfinished(files, folder, &mut segments)?;
    let end = match check_chain(files, folder, &segments, owner)? {
        None => 0,
        Some(mut scanner) => find_end(&mut scanner, &unfinished)?.end,
    };
    Ok((segments, end))
}

/// A last segment that was never finished; there is no record in it.
struct Unfinished {
    /// Where it would have begun.
    first: u64,
    path: PathBuf,
}

/// Whether a crash may have interrupted the making of the last of these segments: a lone one that is not the log's first had
/// others before it forgotten, which needs groups in it.
pub(super) fn may_be_unfinished(segments: &BTreeSet<u64>) -> bool {
    segments.len() > 1 || segments.contains(&0)
}

/// Takes the last segment out of the set if a crash interrupted its making.
fn take_unfinished(
    files: &dyn Files,
    folder: &Path,
    segments: &mut BTreeSet<u64>,
) -> Result<Option<Unfinished>, LogError> {
    let Some(&last) = segments.last() else {
        return Ok(None);
    };
    let mut scanner = Scanner::open_unchecked(files, folder, last)?;
    if !may_be_unfinished(segments) || !scanner.is_unfinished()? {
        return Ok(None);
    }
    segments.remove(&last);
    Ok(Some(Unfinished {
        first: last,
        path: scanner.path,
    }))
}

/// Checks that no segment is missing or another owner's, and opens the last one.
fn check_chain(
    files: &dyn Files,
    folder: &Path,
    segments: &BTreeSet<u64>,
    owner: Option<Owner>,
) -> Result<Option<Scanner>, LogError> {
    let mut last: Option<Scanner> = None;
    for first in segments {
        let scanner = Scanner::open(files, folder, *first)?;
        let found = scanner.header.owner;
        if let Some(expected) = owner.filter(|owner| *owner != found) {
            return Err(LogError::Owner {
                path: scanner.path,
                found,
                expected,
            });
        }
        if last.is_some_and(|last| last.header.first != scanner.header.previous) {
            return Err(scanner.corrupt(0, MISSING));
        }
        last = Some(scanner);
    }
    Ok(last)
}

/// What is wrong with a segment that names another one as its predecessor than there is.
pub(super) const MISSING: &str = "the segment before this one is missing";

/// Where the whole records of the last segment end.
struct End {
    /// The position after the last record.
    end: u64,
    /// Where the last record begins, unless there is none.
    last: Option<u64>,
    /// The epoch of the last writer.
    epoch: u64,
}

/// Finds the end of the last segment, which is where the next one was to begin if that was never finished: a segment is made
/// only when all before it is durable.
fn find_end(scanner: &mut Scanner, next: &Option<Unfinished>) -> Result<End, LogError> {
    let limit = scanner.header.position(scanner.size()?);
    let mut epoch = scanner.header.epoch;
    let mut end = scanner.header.first;
    let mut last = None;
    while end < limit {
        match scanner.find(end, limit)? {
            Found::Record(head) => {
                if let (Kind::Takeover, Ok(bytes)) = (head.kind, scanner.payload().try_into()) {
                    epoch = epoch.max(u64::from_le_bytes(bytes));
                }
                last = Some(end);
                end = head.end;
            }
            Found::Broken { what, end: after } => {
                if scanner.is_followed(end, after, limit)? {
                    return Err(scanner.corrupt(scanner.header.offset(end), what));
                }
                break;
            }
        }
    }
    if next.as_ref().is_some_and(|next| next.first != end) {
        let what = "the segment ends before the next one was made";
        return Err(scanner.corrupt(scanner.header.offset(end), what));
    }
    Ok(End { end, last, epoch })
}

/// Finds the end of the last segment's records, cuts what is torn after it,
/// and makes the rest durable.
fn recover_last(
    files: &dyn Files,
    mut scanner: Scanner,
    next: &Option<Unfinished>,
    notices: &mut Vec<Finding>,
) -> Result<Last, LogError> {
    let size = scanner.size()?;
    let End { end, last, epoch } = find_end(&mut scanner, next)?;
    let offset = scanner.header.offset(end);
    let tail = Tail::open(files, &scanner, size)?;
    if let Some(torn) = scanner.last_nonzero(offset)? {
        tail.zeros.zero(offset, torn + 1)?;
        notices.push(Finding {
            path: scanner.path.clone(),
            offset,
            what: TORN,
        });
    }
    // What was written last may be seen and not be durable: its writer was
    // killed before the sync, or the sync failed. After a failed sync another
    // one proves nothing, unless the bytes are written again.
    match last {
        Some(start) => {
            let offset = scanner.header.offset(start);
            tail.zeros.write(scanner.record(start, end)?, offset)?;
        }
        None => tail.zeros.write(&scanner.header.encode(), 0)?,
    }
    tail.zeros.sync()?;
    Ok(Last { tail, end, epoch })
}

/// What a crash leaves of an append.
pub(super) const TORN: &str = "a crash interrupted an append; the torn record is cut";
