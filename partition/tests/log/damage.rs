//! Segments that are cut, flipped, missing, locked or made up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use partition::log::{
    self, CommandLog, LogError, Owner, Position, SegmentLog, SegmentOptions, Verification,
};
use partition::platform::sim::SimPlatform;
use partition::platform::{Access, Platform};

use crate::{FOLDER, SMALL, append, group, open_sim, read};

const HEADER: usize = 64;
const HEAD: usize = 16;
/// A takeover record, which every opening appends.
const TAKEOVER: usize = HEAD + 8;

fn segments(platform: &SimPlatform) -> Vec<PathBuf> {
    let names = platform.files().list(Path::new(FOLDER)).unwrap();
    let logs = names.iter().filter(|name| name.ends_with(".log"));
    logs.map(|name| Path::new(FOLDER).join(name)).collect()
}

fn content(platform: &SimPlatform, path: &Path) -> Vec<u8> {
    platform.files().read(path).unwrap()
}

/// Puts a file in place, durably.
fn replace(platform: &SimPlatform, path: &Path, bytes: &[u8]) {
    let file = platform.files().open(path, Access::Truncate).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    platform.files().sync_dir(Path::new(FOLDER)).unwrap();
}

fn flip(platform: &SimPlatform, path: &Path, offset: usize, bit: u8) {
    let mut bytes = content(platform, path);
    bytes[offset] ^= 1 << bit;
    replace(platform, path, &bytes);
}

fn verify(platform: &SimPlatform) -> Verification {
    let platform: Arc<dyn Platform> = Arc::new(platform.clone());
    log::verify(&platform, Path::new(FOLDER)).unwrap()
}

fn is_damaged_in(platform: &SimPlatform, path: &Path) -> bool {
    let before: Vec<_> = segments(platform)
        .iter()
        .map(|p| content(platform, p))
        .collect();
    let refused = match open_sim(platform) {
        Err(LogError::Corrupt { path: at, .. }) => at == path,
        _ => false,
    };
    let after: Vec<_> = segments(platform)
        .iter()
        .map(|p| content(platform, p))
        .collect();
    let found = verify(platform).damage;
    refused && before == after && found.iter().all(|f| f.path == path) && !found.is_empty()
}

/// A log in one segment, of some groups, and where each record ends in the file.
fn one_segment(platform: &SimPlatform, groups: &[&[u8]]) -> (PathBuf, Vec<usize>) {
    let mut log = open_sim(platform).unwrap().0;
    let mut ends = vec![HEADER + TAKEOVER];
    for group in groups {
        append(&mut log, group);
        ends.push(ends[ends.len() - 1] + HEAD + group.len());
    }
    let [path] = &segments(platform)[..] else {
        panic!("the groups are too large for one segment");
    };
    (path.clone(), ends)
}

#[test]
fn an_append_torn_at_any_byte_is_cut_and_reported() {
    let (first, last) = ([7; 30], *b"the last group, which is torn \0\0\0");
    for hole in [false, true] {
        for keep in 0..HEAD + last.len() {
            let platform = SimPlatform::new(2);
            let (path, ends) = one_segment(&platform, &[&first, &last]);
            let mut bytes = content(&platform, &path);
            let cut = ends[1] + keep;
            match hole {
                // The rest of the record did not reach the zeros that it overwrites.
                false => bytes[cut..].fill(0),
                // The file did not grow.
                true => bytes.truncate(cut),
            }
            replace(&platform, &path, &bytes);
            // A group that ends in zeros is whole before they are written.
            let is_whole = !hole && keep >= HEAD + last.len() - 3;
            assert!(verify(&platform).damage.is_empty());
            let (mut log, report) = open_sim(&platform).unwrap();
            assert_eq!(
                report.notices.len(),
                usize::from(!is_whole && keep > 0),
                "{keep}"
            );
            let groups = read(&*log.reader(), Position::START);
            assert_eq!(groups.len(), if is_whole { 2 } else { 1 }, "{keep}");
            assert_eq!(groups[0].1, first);
            append(&mut log, b"next");
            drop(log);
            let (log, report) = open_sim(&platform).unwrap();
            assert_eq!(report.notices, []);
            assert_eq!(
                read(&*log.reader(), groups[groups.len() - 1].0)[0].1,
                b"next"
            );
        }
    }
}

#[test]
fn any_bit_flipped_before_the_last_record_is_damage() {
    let platform = SimPlatform::new(3);
    let (path, ends) = one_segment(&platform, &[b"", b"one", &[0; 20], b"last"]);
    for offset in 0..ends[3] {
        for bit in [0, 3, 7] {
            flip(&platform, &path, offset, bit);
            assert!(is_damaged_in(&platform, &path), "byte {offset}, bit {bit}");
            flip(&platform, &path, offset, bit);
        }
    }
    assert_eq!(verify(&platform).groups, 4);
    assert!(open_sim(&platform).is_ok());
}

#[test]
fn zeros_in_place_of_a_record_before_the_last_one_are_damage() {
    let platform = SimPlatform::new(3);
    let (path, ends) = one_segment(&platform, &[b"one", b"two", b"three"]);
    let whole = content(&platform, &path);
    for (from, to) in [(ends[0], ends[1]), (ends[0], ends[2]), (ends[1], ends[2])] {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0);
        replace(&platform, &path, &bytes);
        assert!(is_damaged_in(&platform, &path));
        let damage = &verify(&platform).damage[0];
        assert_eq!(damage.offset, from as u64);
    }
}

#[test]
fn damage_into_the_head_of_the_last_record_is_still_damage() {
    let platform = SimPlatform::new(3);
    let (path, ends) = one_segment(&platform, &[b"one", b"two", b"three"]);
    let mut bytes = content(&platform, &path);
    bytes[ends[2] - 2..ends[2] + HEAD].fill(0xff);
    replace(&platform, &path, &bytes);
    assert!(is_damaged_in(&platform, &path));
}

#[test]
fn a_damaged_sealed_segment_is_reported_where_it_is_read() {
    let platform = SimPlatform::new(4);
    let mut log = open_sim(&platform).unwrap().0;
    let positions: Vec<_> = (0..30).map(|n| append(&mut log, &group(n))).collect();
    drop(log);
    let paths = segments(&platform);
    assert!(paths.len() > 4);
    flip(&platform, &paths[1], HEADER + 5, 2);
    let found = verify(&platform);
    assert_eq!((found.damage.len(), found.groups), (1, 29));
    assert_eq!(
        (&found.damage[0].path, found.damage[0].offset),
        (&paths[1], HEADER as u64)
    );

    let log = open_sim(&platform).unwrap().0;
    let mut cursor = log.reader().read(Position::START).unwrap();
    let mut seen = 0;
    let error = loop {
        match cursor.next_group() {
            Ok(group) => assert_eq!(group.unwrap().position, positions[seen]),
            Err(e) => break e,
        }
        seen += 1;
    };
    assert!(matches!(error, LogError::Corrupt { path, offset, .. }
        if path == paths[1] && offset == HEADER as u64));
    assert!(seen > 0);
    assert_eq!(log.verify().unwrap().damage, found.damage);
    let rest = read(&*log.reader(), positions[seen]);
    assert_eq!(rest.len(), positions.len() - seen - 1);
}

#[test]
fn a_missing_segment_is_damage() {
    let platform = SimPlatform::new(5);
    let mut log = open_sim(&platform).unwrap().0;
    for n in 0..30 {
        append(&mut log, &group(n));
    }
    drop(log);
    let paths = segments(&platform);
    platform.files().remove(&paths[2]).unwrap();
    assert!(is_damaged_in(&platform, &paths[3]));
}

#[test]
fn a_segment_under_another_name_is_damage() {
    let platform = SimPlatform::new(5);
    let (path, _) = one_segment(&platform, &[b"one"]);
    let other = path.with_file_name("00000000000000000007.log");
    platform.files().rename(&path, &other).unwrap();
    assert!(is_damaged_in(&platform, &other));
}

#[test]
fn the_log_of_another_owner_is_refused_and_says_whose_it_is() {
    for (owner, whose) in [
        (Owner::new("ledger", 6), "partition 7, not to partition 6"),
        (Owner::new("shop", 7), "another application"),
    ] {
        let platform = SimPlatform::new(5);
        let open = |owner| {
            let options = SegmentOptions { owner, ..SMALL };
            SegmentLog::open(Arc::new(platform.clone()), Path::new(FOLDER), options).map(drop)
        };
        let theirs = Owner::new("ledger", 7);
        open(theirs).unwrap();
        let path = segments(&platform).remove(0);
        let before = content(&platform, &path);
        let shared = Arc::new(platform.clone());
        let read = SegmentLog::open_to_read(shared, Path::new(FOLDER), Some(owner)).map(drop);
        for refused in [open(owner), read] {
            let refused = refused.unwrap_err();
            assert!(matches!(&refused, LogError::Owner { path: at, .. } if *at == path));
            assert!(refused.to_string().contains(whose), "{refused}");
        }
        assert_eq!(content(&platform, &path), before);
        open(theirs).unwrap();
    }
}

#[test]
fn a_format_of_the_future_is_refused() {
    let platform = SimPlatform::new(5);
    let (path, _) = one_segment(&platform, &[]);
    let mut bytes = content(&platform, &path);
    bytes.truncate(HEADER);
    bytes[8] += 1;
    let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    replace(&platform, &path, &bytes);
    assert!(is_damaged_in(&platform, &path));
}

#[test]
fn a_segment_that_was_never_finished_is_made_again() {
    for len in [0, 1, HEADER - 1, HEADER, HEADER + 100] {
        let platform = SimPlatform::new(6);
        let (path, _) = one_segment(&platform, &[b"one"]);
        let tail = open_sim(&platform).unwrap().0.tail().unwrap();
        let next = format!("{:020}.log", tail.to_u64());
        replace(&platform, &path.with_file_name(next), &vec![0; len]);
        assert_eq!(verify(&platform).notices.len(), 1);
        let (log, report) = open_sim(&platform).unwrap();
        assert_eq!(report.notices.len(), 1);
        assert_eq!(read(&*log.reader(), Position::START)[0].1, b"one");
    }
}

#[test]
fn a_segment_that_ends_before_the_next_one_was_made_is_damage() {
    let platform = SimPlatform::new(6);
    let (path, _) = one_segment(&platform, &[b"one"]);
    let tail = open_sim(&platform).unwrap().0.tail().unwrap().to_u64();
    let next = format!("{tail:020}.log");
    replace(&platform, &path.with_file_name(next), &[0; HEADER]);
    // The last record was durable before the next segment was begun, so no crash has torn it.
    flip(&platform, &path, HEADER + tail as usize - 1, 0);
    assert!(is_damaged_in(&platform, &path));
}

#[test]
fn a_lone_segment_that_is_not_the_first_has_a_header() {
    let platform = SimPlatform::new(6);
    open_sim(&platform).unwrap();
    let [path] = &segments(&platform)[..] else {
        panic!("one segment");
    };
    platform.files().remove(path).unwrap();
    let path = path.with_file_name(format!("{:020}.log", 1));
    replace(&platform, &path, &[0; HEADER]);
    assert!(is_damaged_in(&platform, &path));
}

#[test]
fn bytes_of_another_log_are_not_mistaken_for_records() {
    let (ours, theirs) = (SimPlatform::new(7), SimPlatform::new(8));
    let (path, ends) = one_segment(&ours, &[b"ours"]);
    one_segment(&theirs, &[b"them", b"more"]);
    let mut bytes = content(&ours, &path);
    bytes[ends[1]..].copy_from_slice(&content(&theirs, &path)[ends[1]..]);
    replace(&ours, &path, &bytes);
    let (log, report) = open_sim(&ours).unwrap();
    assert_eq!(report.notices.len(), 1);
    assert_eq!(read(&*log.reader(), Position::START).len(), 1);
}

#[test]
fn a_second_opening_is_refused_while_the_first_lives() {
    let platform = SimPlatform::new(9);
    let first = open_sim(&platform).unwrap().0;
    let second = open_sim(&platform);
    assert!(matches!(second, Err(LogError::Locked { path }) if path == Path::new(FOLDER)));
    drop(first);
    assert!(open_sim(&platform).is_ok());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_bytes_in_a_segment_never_panic(
        at in 0..600_usize, noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let platform = SimPlatform::new(10);
        let (path, ends) = one_segment(&platform, &[&[1; 100], &[2; 200], b"last"]);
        let mut bytes = content(&platform, &path);
        bytes.resize(bytes.len().max(at + noise.len()), 0);
        bytes[at..at + noise.len()].copy_from_slice(&noise);
        replace(&platform, &path, &bytes);
        let found = verify(&platform);
        match open_sim(&platform) {
            Ok((log, _)) => {
                let kept = read(&*log.reader(), Position::START).len();
                // Nothing is cut unless noise met the last record.
                assert!(kept == 3 || at + noise.len() > ends[2]);
                assert_eq!(found.groups, kept as u64);
            }
            Err(LogError::Corrupt { .. }) => assert!(!found.damage.is_empty()),
            Err(e) => panic!("{e}"),
        }
    }
}
