//! How large files get.

use std::path::Path;
use std::sync::Arc;

use partition::log::{CommandLog, Position, SegmentLog, SegmentOptions};
use partition::platform::sim::SimPlatform;
use partition::platform::{Access, Platform};

use crate::{FOLDER, append, group, open_sim, read};

#[test]
fn a_segment_grows_in_steps_up_to_its_size_and_a_large_group_has_its_own() {
    let platform = SimPlatform::new(1);
    let options = SegmentOptions {
        segment_size: 1000,
        fill: 300,
        max_group: 10_000,
        ..SegmentOptions::default()
    };
    let shared = Arc::new(platform.clone());
    let (mut log, _) = SegmentLog::open(shared, Path::new(FOLDER), options).unwrap();
    let sizes = || sizes(&platform, ".log");
    // 64 of the header, 24 of the takeover and 16 of each group's head.
    assert_eq!(sizes(), [300]);
    append(&mut log, &[1; 196]);
    assert_eq!(sizes(), [300]);
    append(&mut log, &[1; 1]);
    assert_eq!(sizes(), [600]);
    append(&mut log, &[1; 600]);
    assert_eq!(sizes(), [1000]);
    append(&mut log, &[1; 100]);
    let steps = [300, 600, 900, 1000];
    assert!(matches!(sizes()[..], [1000, second] if steps.contains(&second)));
    append(&mut log, &[1; 5000]);
    assert_eq!(sizes()[2..], [5080]);
    append(&mut log, &[1; 1]);
    assert!(matches!(sizes()[3..], [last] if steps.contains(&last)));
    assert!(log.verify().unwrap().damage.is_empty());
}

fn sizes(platform: &SimPlatform, name: &str) -> Vec<u64> {
    let files = platform.files();
    let names = files.list(Path::new(FOLDER)).unwrap();
    let names = names.iter().filter(|found| found.ends_with(name));
    names
        .map(|name| files.read(&Path::new(FOLDER).join(name)).unwrap().len() as u64)
        .collect()
}

#[test]
fn the_next_segment_is_made_ahead_whole_and_leaves_nothing_behind() {
    let platform = SimPlatform::new(1);
    let mut log = open_sim(&platform).unwrap().0;
    append(&mut log, &[1; 300]);
    assert!(sizes(&platform, "spare").is_empty());
    append(&mut log, &[1; 300]);
    while sizes(&platform, "spare") != [1024] {
        std::thread::yield_now();
    }
    append(&mut log, &[1; 400]);
    assert_eq!(sizes(&platform, ".log"), [768, 1024]);
    assert!(sizes(&platform, "spare").is_empty());
    append(&mut log, &[1; 300]);
    drop(log);
    assert!(sizes(&platform, "spare").is_empty());
    let log = open_sim(&platform).unwrap().0;
    assert_eq!(read(&*log.reader(), Position::START).len(), 4);
}

#[test]
fn what_a_crash_left_of_a_spare_is_never_a_segment() {
    let platform = SimPlatform::new(1);
    append(&mut open_sim(&platform).unwrap().0, b"first");
    let files = platform.files();
    let spare = Path::new(FOLDER).join("spare");
    let file = files.open(&spare, Access::CreateNew).unwrap();
    file.write_all_at(&[7; 1024], 0).unwrap();
    let mut log = open_sim(&platform).unwrap().0;
    for n in 0..20 {
        append(&mut log, &group(n));
    }
    drop(log);
    let (log, report) = open_sim(&platform).unwrap();
    assert_eq!(report.notices, []);
    assert_eq!(read(&*log.reader(), Position::START).len(), 21);
}
