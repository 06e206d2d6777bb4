//! The segment driver on a disk that fails, fills up or loses power, at every single operation.

use std::path::Path;
use std::sync::Arc;

use partition::log::{Append, CommandLog, LogError, Position, SegmentLog};
use partition::platform::sim::{Fault, SimPlatform};
use partition::platform::{Access, Platform};

use crate::{FOLDER, append, append_after, group, open_sim, read};

/// What a run of appends was told.
#[derive(Debug, Default)]
struct Told {
    /// Groups that were answered `Appended`, with their positions, since the last `forget`.
    appended: Vec<(Position, Vec<u8>)>,
    /// The group whose fate was answered `Unknown`.
    unknown: Option<Vec<u8>>,
    /// A position that was forgotten below, as far as anybody knows.
    forgot: Position,
    /// The epoch and the takeover's position of the last opening that went well.
    opened: (u64, Position),
    finished: bool,
}

/// Opens the log, and checks that this writer comes after the last one.
fn open(platform: &SimPlatform, told: &mut Told) -> Result<SegmentLog, LogError> {
    let (mut log, _) = open_sim(platform)?;
    let opened = (log.epoch(), log.tail()?);
    assert!(opened.0 > told.opened.0 && opened.1 > told.opened.1);
    told.opened = opened;
    Ok(log)
}

/// Opens the log, appends across several segments and forgets some, until something fails.
fn run(platform: &SimPlatform, numbers: std::ops::Range<u64>, told: &mut Told) {
    let Ok(mut log) = open(platform, told) else {
        return;
    };
    let mut tail = log.tail().unwrap();
    for number in numbers {
        match append_after(&mut log, tail, &group(number)) {
            Ok(Append::Appended(position)) => {
                told.appended.push((position, group(number)));
                tail = position;
            }
            Ok(Append::Unknown(_)) => {
                told.unknown = Some(group(number));
                return assert_poisoned(&mut log, tail);
            }
            Ok(Append::Stale) => panic!("stale at the tail"),
            Err(_) => return assert_poisoned(&mut log, tail),
        }
        if number % 8 == 7
            && let Some(kept) = told.appended.len().checked_sub(6)
        {
            told.forgot = told.appended[kept].0;
            if log.forget(told.forgot, 0).is_err() {
                return assert_poisoned(&mut log, tail);
            }
        }
    }
    told.finished = true;
}

/// The fault was one single failure: whatever fails from here on is the driver's doing.
fn assert_poisoned(log: &mut dyn CommandLog, tail: Position) {
    assert!(matches!(log.tail(), Err(LogError::Poisoned)));
    let answer = append_after(log, tail, b"x");
    assert!(matches!(answer, Err(LogError::Poisoned)));
    assert!(matches!(log.forget(tail, 0), Err(LogError::Poisoned)));
    assert_eq!(log.reader().tail(), tail);
}

/// Opens the log again and checks that it has what was appended, in order, and no more than
/// that and the unknown group.
fn check(platform: &SimPlatform, told: &mut Told, context: &str) {
    let log = open(platform, told).unwrap_or_else(|e| panic!("{context}: {e}"));
    let reader = log.reader();
    let groups = read(&*reader, reader.oldest());
    let told_last = told.appended.last().map(|group| group.0);
    if let Some(unknown) = told.unknown.take()
        && let Some(last) = groups.last()
        && Some(last.0) > told_last
    {
        assert_eq!(last.1, unknown, "{context}");
        told.appended.push(last.clone());
    }
    assert!(told.appended.ends_with(&groups), "{context}: {groups:?}");
    let kept = told.appended.iter().filter(|group| group.0 >= told.forgot);
    assert!(groups.len() >= kept.count(), "{context}: {groups:?}");
    assert_eq!(log.verify().unwrap().damage, [], "{context}");
}

/// Runs the script with one fault at each operation, crashes, checks, and does so again.
fn fail_everywhere(fault: Fault, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        for at in 0.. {
            let platform = SimPlatform::new(seed * 1000 + at);
            let mut told = Told::default();
            platform.fail_after(at, fault);
            run(&platform, 0..20, &mut told);
            // What makes the next segment ahead does without it where it fails.
            let finished = told.finished && platform.operations() <= at;
            for round in 1..4 {
                let context = format!("{fault:?} at {at}, seed {seed}, round {round}");
                let crash = || match fault == Fault::PowerCut || (round + seed) % 2 == 0 {
                    true => platform.power_loss(),
                    false => platform.kill(),
                };
                crash();
                // A second fault, in the recovery from the first.
                platform.fail_after((at + seed) % 23, fault);
                run(&platform, 0..0, &mut told);
                crash();
                check(&platform, &mut told, &context);
                run(&platform, round * 20..round * 20 + 3, &mut told);
                platform.power_loss();
                check(&platform, &mut told, &context);
                platform.fail_after((at * 7 + round) % 37, fault);
                run(&platform, round * 20 + 3..round * 20 + 6, &mut told);
            }
            if finished {
                assert!(at > 80, "the script met only {at} operations");
                break;
            }
        }
    }
}

#[test]
fn nothing_is_lost_by_an_error_at_any_operation() {
    fail_everywhere(Fault::Io, 0..8);
}

#[test]
fn nothing_is_lost_by_a_full_disk_at_any_operation() {
    fail_everywhere(Fault::Full, 0..8);
}

#[test]
fn nothing_is_lost_by_power_loss_at_any_operation() {
    fail_everywhere(Fault::PowerCut, 0..8);
}

#[test]
fn a_short_write_at_any_operation_is_made_good() {
    for at in 0..400 {
        let platform = SimPlatform::new(at);
        let mut told = Told::default();
        platform.fail_after(at, Fault::ShortWrite);
        run(&platform, 0..20, &mut told);
        assert!(told.finished);
        platform.power_loss();
        check(&platform, &mut told, &format!("short write at {at}"));
    }
}

#[test]
fn a_killed_writer_leaves_its_unsynced_group_durable_once_read() {
    for seed in 0..50 {
        let platform = SimPlatform::new(seed);
        let mut log = open_sim(&platform).unwrap().0;
        append(&mut log, b"first");
        // Write, then sync: the second operation fails, and the group is seen or not.
        platform.fail_after(1, Fault::Io);
        let tail = log.tail().unwrap();
        let answer = append_after(&mut log, tail, b"second").unwrap();
        assert!(matches!(answer, Append::Unknown(LogError::Io { .. })));
        platform.kill();
        let seen = read(&*open_sim(&platform).unwrap().0.reader(), Position::START);
        platform.power_loss();
        let kept = read(&*open_sim(&platform).unwrap().0.reader(), Position::START);
        assert_eq!(seen, kept, "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_an_error_of_its_own_and_loses_nothing() {
    let platform = SimPlatform::new(1);
    let mut log = open_sim(&platform).unwrap().0;
    append(&mut log, b"first");
    // Larger than what is filled with zeros: the group needs more space first.
    platform.fail_after(0, Fault::Full);
    let tail = log.tail().unwrap();
    let full = append_after(&mut log, tail, &[1; 700]);
    assert!(matches!(full, Err(LogError::Full { .. })));
    assert_eq!(read(&*log.reader(), Position::START).len(), 1);
    drop(log);
    let mut log = open_sim(&platform).unwrap().0;
    append(&mut log, b"second");
    assert_eq!(read(&*log.reader(), Position::START).len(), 2);
}

#[test]
fn a_simulated_power_loss_takes_only_what_was_not_synced() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..50 {
        let platform = Arc::new(SimPlatform::new(seed));
        let files = platform.files();
        let path = Path::new(FOLDER).join("file");
        files.create_dir_all(Path::new(FOLDER)).unwrap();
        let file = files.open(&path, Access::CreateNew).unwrap();
        file.write_all_at(&[1; 2048], 0).unwrap();
        file.sync_data().unwrap();
        files.sync_dir(Path::new(FOLDER)).unwrap();
        file.write_all_at(&[2; 2048], 1024).unwrap();
        platform.power_loss();
        assert!(file.size().is_err(), "a handle outlived its process");
        let bytes = files.read(&path).unwrap();
        assert_eq!(bytes[..1024], [1; 1024]);
        assert!(bytes[1024..].iter().all(|byte| *byte <= 2));
        kept += bytes.iter().filter(|byte| **byte == 2).count();
        lost += bytes[1024..2048].iter().filter(|byte| **byte == 1).count();
        let unsynced = path.with_file_name("unsynced");
        files.open(&unsynced, Access::CreateNew).unwrap();
        platform.power_loss();
        kept += usize::from(files.exists(&unsynced).unwrap());
    }
    assert!(kept > 0 && lost > 0);
}
