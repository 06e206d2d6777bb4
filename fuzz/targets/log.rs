//! The command log on a disk that was damaged, or that holds whatever it likes under right checksums: what is verified is what
//! is read, nothing that was never appended is read, and a log that opens is whole from then on.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use fuzz::disk::{damage, files, put};
use fuzz::input::Input;
use libfuzzer_sys::fuzz_target;
use partition::log::{
    self, Append, CommandLog, GroupBuffer, LogError, LogReader, Owner, SegmentLog, SegmentOptions,
};
use partition::platform::Platform;
use partition::platform::sim::SimPlatform;

const FOLDER: &str = "/log";

const OPTIONS: SegmentOptions = SegmentOptions {
    segment_size: 512,
    fill: 128,
    max_group: 300,
    owner: Owner::NOBODY,
};

fn open(platform: &SimPlatform) -> Result<SegmentLog, LogError> {
    let (log, _) = SegmentLog::open(Arc::new(platform.clone()), Path::new(FOLDER), OPTIONS)?;
    Ok(log)
}

fn append(log: &mut SegmentLog, group: &[u8]) {
    let tail = log.tail().expect("a tail");
    let appended = log.append(tail, &mut GroupBuffer::from(group));
    assert!(
        matches!(appended, Ok(Append::Appended(at)) if at > tail),
        "{appended:?}"
    );
}

fn read(reader: &dyn LogReader) -> Result<Vec<Vec<u8>>, LogError> {
    let mut cursor = reader.read(reader.oldest())?;
    let mut groups = Vec::new();
    let mut last = reader.oldest();
    while let Some(group) = cursor.next_group()? {
        assert!(group.position > last && group.position <= reader.tail());
        last = group.position;
        groups.push(group.bytes.to_vec());
    }
    assert_eq!(cursor.position(), reader.tail());
    Ok(groups)
}

/// Looks at a log in every way, and opens it; gives what it holds.
fn check(platform: &SimPlatform) -> Option<Vec<Vec<u8>>> {
    let shared: Arc<dyn Platform> = Arc::new(platform.clone());
    let verify = || log::verify(&shared, Path::new(FOLDER)).expect("a log that can be read");
    let found = verify();
    let survey = SegmentLog::open_to_read(Arc::clone(&shared), Path::new(FOLDER), None);
    let groups = survey.and_then(|(reader, _lock)| read(&*reader));
    let groups = match groups {
        Ok(groups) => groups,
        Err(error) => {
            assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
            assert!(!found.damage.is_empty(), "{error} was not found");
            // Opening may find less: it looks at no record but those of the last segment.
            drop(open(platform));
            return None;
        }
    };
    assert!(found.damage.is_empty(), "{:?} was not read", found.damage);
    assert_eq!(found.groups, groups.len() as u64);
    assert_eq!(
        found.bytes,
        groups.iter().map(Vec::len).sum::<usize>() as u64
    );
    let mut log = open(platform).expect("what can be read");
    assert_eq!(read(&*log.reader()).expect("what was read before"), groups);
    append(&mut log, b"behind");
    drop(log);
    let found = verify();
    assert_eq!((found.damage, found.notices), (Vec::new(), Vec::new()));
    assert_eq!(found.groups, groups.len() as u64 + 1);
    Some(groups)
}

/// A log of groups, and what happened to its files then.
fn damaged(input: &mut Input<'_>) {
    let platform = SimPlatform::new(input.byte().into());
    let mut log = open(&platform).expect("a new log");
    let mut groups = Vec::new();
    for _ in 0..input.below(9) {
        let group = input.bytes();
        append(&mut log, group);
        groups.push(group.to_vec());
    }
    drop(log);
    match input.flag() {
        true => platform.kill(),
        false => platform.power_loss(),
    }
    let damages = input.below(4);
    for _ in 0..damages {
        damage(&platform, &files(&platform, &[Path::new(FOLDER)]), input);
    }
    let found = check(&platform);
    // A log without its first segments is one that forgot them.
    let whole = |found: &Vec<Vec<u8>>| {
        found.is_empty() || groups.windows(found.len()).any(|some| some == found)
    };
    match damages {
        0 => assert_eq!(found, Some(groups)),
        _ => assert!(found.as_ref().is_none_or(whole), "{found:?} of {groups:?}"),
    }
}

/// The header of a segment.
fn header(first: u64, previous: u64, epoch: u64, salt: u64) -> Vec<u8> {
    let numbers = [first, previous, epoch, salt]
        .map(u64::to_le_bytes)
        .concat();
    let mut header = [&b"extg.log\x01\0\0\0"[..], &numbers].concat();
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    header
}

/// A record that begins at a position.
fn record(start: u64, salt: u64, flags: u32, payload: &[u8]) -> Vec<u8> {
    let end = start + 16 + payload.len() as u64;
    let len = (payload.len() as u32 | flags).to_le_bytes();
    let framed = [&len[..], &(end ^ salt).to_le_bytes(), payload].concat();
    [&crc32c::crc32c(&framed).to_le_bytes()[..], &framed].concat()
}

/// Files that hold what the fuzzer likes, most of it under right checksums.
fn made_up(input: &mut Input<'_>) {
    let platform = SimPlatform::new(0);
    let mut previous = 0;
    for _ in 0..=input.below(3) {
        let first = match input.below(4) {
            0 => 0,
            1 => input.wide() >> 2,
            _ => previous + u64::from(input.byte()),
        };
        let salt = input.byte().into();
        let epoch = if input.flag() { input.wide() } else { 1 };
        let before = if input.flag() { first } else { previous };
        let mut bytes = header(first, before, epoch, salt);
        let mut position = first;
        for _ in 0..input.below(5) {
            let payload = input.bytes();
            match input.below(4) {
                0 => bytes.extend(payload),
                kind => {
                    let flags = if kind == 1 { 1 << 31 } else { 0 };
                    bytes.extend(record(position, salt, flags, payload));
                    position += 16 + payload.len() as u64;
                }
            }
        }
        bytes.truncate(bytes.len() - input.below(3));
        bytes.extend(vec![0; input.below(40)]);
        previous = position;
        put(
            &platform,
            &Path::new(FOLDER).join(format!("{first:020}.log")),
            &bytes,
        );
    }
    check(&platform);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.flag() {
        true => damaged(&mut input),
        false => made_up(&mut input),
    }
});
