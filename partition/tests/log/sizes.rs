//! How large files get.

use std::path::Path;
use std::sync::Arc;

use partition::log::{CommandLog, SegmentLog, SegmentOptions};
use partition::platform::Platform;
use partition::platform::sim::SimPlatform;

use crate::{FOLDER, append};

#[test]
fn a_segment_grows_in_steps_up_to_its_size_and_a_large_group_has_its_own() {
    let platform = SimPlatform::new(1);
    let options = SegmentOptions {
        segment_size: 1000,
        fill: 300,
        max_group: 10_000,
    };
    let shared = Arc::new(platform.clone());
    let (mut log, _) = SegmentLog::open(shared, Path::new(FOLDER), options).unwrap();
    let sizes = || -> Vec<u64> {
        let files = platform.files();
        let names = files.list(Path::new(FOLDER)).unwrap();
        let logs = names.iter().filter(|name| name.ends_with(".log"));
        logs.map(|name| files.read(&Path::new(FOLDER).join(name)).unwrap().len() as u64)
            .collect()
    };
    // 48 of the header, 24 of the takeover and 16 of each group's head.
    assert_eq!(sizes(), [300]);
    append(&mut log, &[1; 212]);
    assert_eq!(sizes(), [300]);
    append(&mut log, &[1; 1]);
    assert_eq!(sizes(), [600]);
    append(&mut log, &[1; 600]);
    assert_eq!(sizes(), [1000]);
    append(&mut log, &[1; 100]);
    assert_eq!(sizes(), [1000, 300]);
    append(&mut log, &[1; 5000]);
    assert_eq!(sizes(), [1000, 300, 5064]);
    append(&mut log, &[1; 1]);
    assert_eq!(sizes(), [1000, 300, 5064, 300]);
    assert!(log.verify().unwrap().damage.is_empty());
}
