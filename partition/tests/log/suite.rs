//! What every driver of a command log does, whatever it keeps the log on.
//!
//! Each case takes a function that opens the same log again and again.

use std::thread;

use partition::log::{Append, CommandLog, LogError, Position};

use crate::{append, append_after, group, read};

pub(crate) type Open<'a> = &'a dyn Fn() -> Box<dyn CommandLog>;

/// Makes a test of each case for one driver; `$open` makes a fresh log's opener.
macro_rules! log_suite {
    ($driver:ident, $open:expr) => {
        $crate::suite::cases!($driver, $open,
            groups_come_back_in_order
            a_reader_starts_after_any_group
            an_append_elsewhere_than_at_the_tail_is_stale
            groups_survive_reopening
            each_writer_has_a_greater_epoch_and_moves_the_tail
            a_group_that_is_too_large_is_refused_and_the_largest_is_kept
            an_empty_group_is_a_group
            a_cursor_follows_the_log
            readers_on_other_threads_see_every_group_once
            forgetting_keeps_what_it_must
            forgetting_keeps_as_many_bytes_as_it_is_told_in_any_opening
            forgotten_and_future_positions_are_out_of_range
            verification_counts_groups
        );
    };
}

macro_rules! cases {
    ($driver:ident, $open:expr, $($case:ident)*) => {
        mod $driver {
            #[allow(unused_imports, reason = "each driver needs other imports")]
            use super::*;
            $(#[test] fn $case() { let open = $open; $crate::suite::$case(&open); })*
        }
    };
}
pub(crate) use cases;

pub(crate) fn groups_come_back_in_order(open: Open<'_>) {
    let mut log = open();
    let expected: Vec<_> = (0..50)
        .map(|n| (append(&mut *log, &group(n)), group(n)))
        .collect();
    assert!(expected.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(read(&*log.reader(), Position::START), expected);
    assert_eq!(log.tail().unwrap(), expected[49].0);
}

pub(crate) fn a_reader_starts_after_any_group(open: Open<'_>) {
    let mut log = open();
    let positions: Vec<_> = (0..20).map(|n| append(&mut *log, &group(n))).collect();
    for (done, position) in positions.iter().enumerate() {
        let rest = read(&*log.reader(), *position);
        let expected: Vec<_> = positions[done + 1..].to_vec();
        assert_eq!(rest.iter().map(|g| g.0).collect::<Vec<_>>(), expected);
    }
}

pub(crate) fn an_append_elsewhere_than_at_the_tail_is_stale(open: Open<'_>) {
    let mut log = open();
    let first = append(&mut *log, b"first");
    let second = append(&mut *log, b"second");
    let wrong = [Position::START, first, Position::from_u64(u64::MAX)];
    for expected in wrong {
        let answer = append_after(&mut *log, expected, b"x").unwrap();
        assert!(matches!(answer, Append::Stale));
    }
    assert_eq!(log.tail().unwrap(), second);
    append(&mut *log, b"third");
    assert_eq!(read(&*log.reader(), second).len(), 1);
}

pub(crate) fn groups_survive_reopening(open: Open<'_>) {
    let mut expected = Vec::new();
    for round in 0..5 {
        let mut log = open();
        assert_eq!(read(&*log.reader(), Position::START), expected);
        for n in 0..7 {
            let group = group(round * 7 + n);
            expected.push((append(&mut *log, &group), group));
        }
    }
    assert_eq!(read(&*open().reader(), Position::START), expected);
}

pub(crate) fn each_writer_has_a_greater_epoch_and_moves_the_tail(open: Open<'_>) {
    let (mut epoch, mut tail) = (0, Position::START);
    for _ in 0..100 {
        let mut log = open();
        assert!(log.epoch() > epoch);
        assert!(log.tail().unwrap() > tail);
        (epoch, tail) = (log.epoch(), log.tail().unwrap());
    }
}

pub(crate) fn a_group_that_is_too_large_is_refused_and_the_largest_is_kept(open: Open<'_>) {
    let mut log = open();
    let max = log.max_group();
    let tail = log.tail().unwrap();
    let refused = append_after(&mut *log, tail, &vec![1; max + 1]);
    assert!(
        matches!(refused, Err(LogError::TooLarge { len, max: m }) if (len, m) == (max + 1, max))
    );
    append(&mut *log, &vec![2; max]);
    append(&mut *log, b"after");
    drop(log);
    let groups = read(&*open().reader(), Position::START);
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].1, vec![2; max]);
    assert_eq!(groups[1].1, b"after");
}

pub(crate) fn an_empty_group_is_a_group(open: Open<'_>) {
    let mut log = open();
    let positions = [append(&mut *log, b""), append(&mut *log, b"")];
    drop(log);
    let expected = positions.map(|position| (position, Vec::new()));
    assert_eq!(read(&*open().reader(), Position::START), expected);
}

pub(crate) fn a_cursor_follows_the_log(open: Open<'_>) {
    let mut log = open();
    let mut cursor = log.reader().read(Position::START).unwrap();
    assert_eq!(cursor.next_group().unwrap(), None);
    for n in 0..40 {
        let position = append(&mut *log, &group(n));
        let read = cursor.next_group().unwrap().unwrap();
        assert_eq!((read.position, read.bytes), (position, &*group(n)));
        assert_eq!(cursor.next_group().unwrap(), None);
        assert_eq!(cursor.position(), position);
    }
}

pub(crate) fn readers_on_other_threads_see_every_group_once(open: Open<'_>) {
    const GROUPS: u64 = 200;
    let mut log = open();
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = log.reader();
            scope.spawn(move || {
                let mut cursor = reader.read(Position::START).unwrap();
                let mut seen = 0;
                while seen < GROUPS {
                    match cursor.next_group().unwrap() {
                        Some(found) => {
                            assert_eq!(found.bytes, group(seen));
                            seen += 1;
                        }
                        None => thread::yield_now(),
                    }
                }
                assert_eq!(cursor.next_group().unwrap(), None);
            });
        }
        for n in 0..GROUPS {
            append(&mut *log, &group(n));
        }
    });
}

pub(crate) fn forgetting_keeps_what_it_must(open: Open<'_>) {
    let mut log = open();
    let all: Vec<_> = (0..60)
        .map(|n| (append(&mut *log, &group(n)), group(n)))
        .collect();
    for kept in [0, 1, 13, 30, 59] {
        log.forget(all[kept].0, 0).unwrap();
        let reader = log.reader();
        assert!(reader.oldest() < all[kept].0);
        let rest = read(&*reader, reader.oldest());
        assert!(rest.ends_with(&all[kept..]) && all.ends_with(&rest));
    }
    let oldest = log.reader().oldest();
    assert!(oldest > all[20].0, "nothing was forgotten");
    let last = append(&mut *log, b"after");
    drop(log);
    let reader = open().reader();
    assert_eq!(reader.oldest(), oldest);
    assert_eq!(read(&*reader, all[59].0), [(last, b"after".to_vec())]);
}

pub(crate) fn forgetting_keeps_as_many_bytes_as_it_is_told_in_any_opening(open: Open<'_>) {
    let mut log = open();
    let all: Vec<_> = (0..60).map(|n| append(&mut *log, &group(n))).collect();
    let bytes: usize = (30..59).map(|n| group(n).len()).sum();
    drop(log);
    let mut log = open();
    log.forget(all[59], u64::MAX).unwrap();
    assert_eq!(log.reader().oldest(), Position::START);
    log.forget(all[59], bytes as u64).unwrap();
    let reader = log.reader();
    let kept = read(&*reader, reader.oldest());
    // A driver may count what it stores with each group.
    let stored: usize = kept.iter().map(|(_, group)| group.len() + 16).sum();
    assert!(stored >= bytes && kept.len() < 50, "{} groups", kept.len());
    log.forget(all[59], 0).unwrap();
    assert!(reader.oldest() > all[50]);
}

pub(crate) fn forgotten_and_future_positions_are_out_of_range(open: Open<'_>) {
    let mut log = open();
    let positions: Vec<_> = (0..60).map(|n| append(&mut *log, &group(n))).collect();
    let reader = log.reader();
    let mut behind = reader.read(positions[0]).unwrap();
    log.forget(positions[59], 0).unwrap();
    assert!(matches!(
        behind.next_group(),
        Err(LogError::OutOfRange { .. })
    ));
    let future = Position::from_u64(positions[59].to_u64() + 1);
    for wrong in [Position::START, positions[0], future] {
        match reader.read(wrong) {
            Err(LogError::OutOfRange {
                position,
                oldest,
                tail,
            }) => {
                assert_eq!((position, oldest), (wrong, reader.oldest()));
                assert_eq!(tail, positions[59]);
            }
            other => panic!("reading after {wrong} gave {other:?}"),
        }
    }
}

pub(crate) fn verification_counts_groups(open: Open<'_>) {
    let mut log = open();
    let bytes: usize = (0..30).map(|n| group(n).len()).sum();
    for n in 0..30 {
        append(&mut *log, &group(n));
    }
    let found = log.verify().unwrap();
    assert_eq!((found.groups, found.bytes), (30, bytes as u64));
    assert!(found.damage.is_empty() && found.notices.is_empty());
    drop(log);
    assert_eq!(open().verify().unwrap(), found);
}
