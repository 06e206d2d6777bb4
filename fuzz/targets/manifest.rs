//! Texts of `app.toml`: every problem has its place in the text, in order; what is accepted is consistent with itself, and its
//! schedules go forwards.
#![no_main]

use std::path::Path;

use engine_core::error::ErrorKind;
use fuzz::report;
use libfuzzer_sys::fuzz_target;
use partition::manifest::{AppSpec, Schedule};

/// The year 1970 and one far off, in microseconds.
const TIMES: [i64; 4] = [0, 1_700_000_000_123_456, -1, 1 << 57];

fn check(spec: &AppSpec) {
    assert!((1..=1024).contains(&spec.partitions));
    for (position, package) in spec.packages.iter().enumerate() {
        for (number, extension) in package.extensions.iter().enumerate() {
            let extension = &spec.extensions[*extension];
            assert_eq!((extension.package, extension.number), (position, number));
        }
    }
    for (position, extension) in spec.extensions.iter().enumerate() {
        assert_eq!(spec.extension(&extension.decl.name), Some(position));
        assert_eq!(
            spec.packages[extension.package].extensions[extension.number],
            position
        );
        if let Some(route) = extension.route {
            assert!(extension.decl.args.fields()[route].ty.is_scalar());
        }
        for command in &extension.on {
            let command = spec.extension(command).expect("a command");
            assert!(
                spec.catalog
                    .command(&spec.extensions[command].decl.name)
                    .is_some()
            );
        }
        extension.schedule.iter().for_each(forwards);
    }
}

fn forwards(schedule: &Schedule) {
    for time in TIMES {
        let latest = schedule.latest(time);
        assert!(
            latest.is_none_or(|latest| latest <= time),
            "{schedule:?} {time}"
        );
        if let Some(next) = schedule.next(time) {
            assert!(next > time, "{schedule:?} {time}");
            assert_eq!(schedule.latest(next), Some(next), "{schedule:?} {time}");
            assert_eq!(schedule.latest(next - 1), latest, "{schedule:?} {time}");
        }
    }
}

fuzz_target!(|text: &str| {
    match AppSpec::parse(text, Path::new("app")) {
        Ok(spec) => check(&spec),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Manifest);
            report::check(error.message(), "app.toml", text);
        }
    }
});
