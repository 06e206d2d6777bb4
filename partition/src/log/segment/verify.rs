//! Walking a whole folder of segments for damage.

use std::path::Path;
use std::sync::Arc;

use super::lock;
use super::record::Kind;
use super::recover::{MISSING, TORN, list, may_be_unfinished};
use super::scan::{Found, Scanner};
use crate::log::{Finding, LogError, Verification};
use crate::platform::{Files, Platform};

/// Reads the whole log in a folder that no writer has open, and reports all
/// damage. Changes nothing; this works on a log that does not open.
///
/// Damage to the very last record cannot be told from a crash, and is a notice.
///
/// # Errors
/// `Locked`; `Io` where the log cannot be read at all.
pub fn verify(platform: &Arc<dyn Platform>, folder: &Path) -> Result<Verification, LogError> {
    let files = platform.files();
    let _lock = lock(files, folder)?;
    walk(files, folder, None)
}

/// Reads all segments, the last one up to `durable`, or else as far as records reach.
pub(super) fn walk(
    files: &dyn Files,
    folder: &Path,
    durable: Option<u64>,
) -> Result<Verification, LogError> {
    let mut found = Verification::default();
    let segments = list(files, folder)?;
    let nexts = segments.iter().skip(1).map(Some).chain([None]);
    for (&first, next) in segments.iter().zip(nexts) {
        let mut scanner = Scanner::open_unchecked(files, folder, first)?;
        let mut end = match next {
            Some(next) => Some(*next),
            None => durable,
        };
        if let Some(next) = next {
            let mut next = Scanner::open_unchecked(files, folder, *next)?;
            if next.check_header().is_ok() && next.header.previous != first {
                found.damage.push(at(&next, 0, MISSING));
                end = None;
            }
        }
        match scanner.check_header() {
            Ok(()) => walk_segment(&mut scanner, end, &mut found)?,
            Err(LogError::Corrupt { what, .. }) => {
                let may_be = next.is_none() && may_be_unfinished(&segments);
                let list = match may_be && scanner.is_unfinished()? {
                    true => &mut found.notices,
                    false => &mut found.damage,
                };
                list.push(at(&scanner, 0, what));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// Reads one segment up to `end`, or, where that is not known, as far as records reach.
fn walk_segment(
    scanner: &mut Scanner,
    end: Option<u64>,
    found: &mut Verification,
) -> Result<(), LogError> {
    let limit = match end {
        Some(end) => end,
        None => scanner.header.position(scanner.size()?),
    };
    let mut position = scanner.header.first;
    while position < limit {
        match scanner.find(position, limit)? {
            Found::Record(head) => {
                if head.kind == Kind::Group {
                    found.groups += 1;
                    found.bytes += head.len as u64;
                }
                position = head.end;
            }
            Found::Broken { what, end: after } => {
                let offset = scanner.header.offset(position);
                if end.is_some() || scanner.is_followed(position, after, limit)? {
                    found.damage.push(at(scanner, offset, what));
                } else if scanner.last_nonzero(offset)?.is_some() {
                    found.notices.push(at(scanner, offset, TORN));
                }
                let next = scanner.next_head(position + 1, limit)?;
                position = next.unwrap_or(limit);
            }
        }
    }
    Ok(())
}

fn at(scanner: &Scanner, offset: u64, what: &'static str) -> Finding {
    Finding {
        path: scanner.path.clone(),
        offset,
        what,
    }
}
