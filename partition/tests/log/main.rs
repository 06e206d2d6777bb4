//! The command log's drivers, each against one suite, and the segment driver against a bad disk.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[macro_use]
mod suite;
mod damage;
mod faults;
mod sizes;

use std::path::Path;
use std::sync::Arc;

use partition::log::{
    Append, CommandLog, LogError, LogReader, MemoryLog, MemoryStore, OpenReport, Owner, Position,
    SegmentLog, SegmentOptions,
};
use partition::platform::sim::SimPlatform;
use partition::platform::{OsPlatform, Platform};

/// The folder that the segment driver's tests keep a log in.
const FOLDER: &str = "/data/log";

/// Segments so small that a test fills several.
const SMALL: SegmentOptions = SegmentOptions {
    segment_size: 1024,
    fill: 256,
    max_group: 5000,
    owner: Owner::NOBODY,
};

fn open_sim(platform: &SimPlatform) -> Result<(SegmentLog, OpenReport), LogError> {
    SegmentLog::open(Arc::new(platform.clone()), Path::new(FOLDER), SMALL)
}

/// Appends after the record at a position.
fn append_after(
    log: &mut dyn CommandLog,
    position: Position,
    group: &[u8],
) -> Result<Append, LogError> {
    log.append(position, &mut group.into())
}

/// Appends at the tail, and expects it to go well.
fn append(log: &mut dyn CommandLog, group: &[u8]) -> Position {
    let tail = log.tail().unwrap();
    match append_after(log, tail, group).unwrap() {
        Append::Appended(position) => position,
        other => panic!("append at the tail answered {other:?}"),
    }
}

/// Everything that a reader finds after a position.
fn read(reader: &dyn LogReader, after: Position) -> Vec<(Position, Vec<u8>)> {
    let mut cursor = reader.read(after).unwrap();
    let mut groups = Vec::new();
    while let Some(group) = cursor.next_group().unwrap() {
        groups.push((group.position, group.bytes.to_vec()));
    }
    assert_eq!(cursor.position(), reader.tail());
    groups
}

/// Content of a length between 0 and 399 that differs from group to group.
fn group(number: u64) -> Vec<u8> {
    let len = number * 131 % 400;
    (0..len).map(|i| (number * 7 + i * 3) as u8).collect()
}

log_suite!(memory, {
    let store = MemoryStore::default();
    move || -> Box<dyn CommandLog> { Box::new(MemoryLog::open(&store)) }
});

log_suite!(simulated, {
    let platform = SimPlatform::new(1);
    move || -> Box<dyn CommandLog> { Box::new(open_sim(&platform).unwrap().0) }
});

log_suite!(files, {
    let folder = tempfile::tempdir().unwrap();
    let platform: Arc<dyn Platform> = Arc::new(OsPlatform::new().unwrap());
    move || -> Box<dyn CommandLog> {
        let log = SegmentLog::open(platform.clone(), folder.path(), SMALL);
        Box::new(log.unwrap().0)
    }
});
